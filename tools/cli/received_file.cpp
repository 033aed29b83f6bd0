#include "tools/cli/received_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <thread>
#include <utility>

#include "tools/cli/commands.h"
#include "tools/cli/progress_display.h"
#include "tools/cli/stream.h"

namespace stellarium::cli {

Result<ReceivedFile> ReceivedFile::open(const std::string& name, const std::string& what) {
  ReceivedFile file;
  if (name == "-") {
    if (::isatty(STDOUT_FILENO) == 1)
      return fail(Errc::invalid_argument, what + " is not for a terminal: redirect the output or name a file");
    file.fd_ = UniqueFd{::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)};
    if (!file.fd_) return fail_errno("standard output");
    return file;
  }
  struct stat status {};
  const bool exists = ::stat(name.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode))
    return fail(Errc::invalid_argument, name + " is a directory: name a file in it");
  file.name_ = name;
  if (!exists || S_ISREG(status.st_mode)) file.partial_ = name + ".partial-" + std::to_string(::getpid());
  const std::string& opened = file.partial_.empty() ? name : file.partial_;
  file.fd_ = UniqueFd{::open(opened.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
  if (!file.fd_) {
    file.partial_.clear();
    return fail_errno(name);
  }
  return file;
}

ReceivedFile::~ReceivedFile() {
  if (fd_ && !partial_.empty()) ::unlink(partial_.c_str());
}

Result<void> ReceivedFile::finish() {
  if (!partial_.empty() && ::rename(partial_.c_str(), name_.c_str()) != 0) return fail_errno(name_);
  partial_.clear();
  return {};
}

int receive(Connection& connection, const Invocation& invocation, std::vector<std::string> words,
            const std::function<Result<void>(int from)>& write) {
  auto pipe = make_pipe();
  if (!pipe) return complain(pipe.error());
  const int writer = pipe->write_end.get();
  const bool progress = !invocation.global.quiet && ProgressDisplay::wanted(invocation.global.progress);
  if (auto sent = connection.request(words_for(invocation, std::move(words)), progress, {&writer, 1}); !sent)
    return complain(sent.error());
  pipe->write_end.reset();

  Result<void> written;
  std::thread reader{[&] {
    written = write(pipe->read_end.get());
    pipe->read_end.reset();  // a server that still writes is told so
  }};
  const int code = follow(connection, invocation.global, {});
  reader.join();
  if (!written && written.error().sys_errno != 0) return complain(written.error());
  if (code != 0) return code;
  return written ? 0 : 1;  // our reader went away, as `head` does
}

}  // namespace stellarium::cli
