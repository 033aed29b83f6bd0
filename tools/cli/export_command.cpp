#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <thread>

#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/progress_display.h"
#include "tools/cli/stream.h"

// `stellarium export`: the server writes the archive into a pipe, this process writes the user's file. The file gets
// its name when it is complete.
namespace stellarium::cli {
namespace {

class Target {
 public:
  static Result<Target> open(const std::string& name) {
    Target target;
    if (name == "-") {
      if (::isatty(STDOUT_FILENO) == 1)
        return fail(Errc::invalid_argument, "a tar archive is not for a terminal: redirect the output or name a file");
      target.fd_ = UniqueFd{::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)};
      if (!target.fd_) return fail_errno("standard output");
      return target;
    }
    struct stat status {};
    const bool exists = ::stat(name.c_str(), &status) == 0;
    if (exists && S_ISDIR(status.st_mode))
      return fail(Errc::invalid_argument, name + " is a directory: name a file in it");
    target.name_ = name;
    if (!exists || S_ISREG(status.st_mode)) target.partial_ = name + ".partial-" + std::to_string(::getpid());
    const std::string& opened = target.partial_.empty() ? name : target.partial_;
    target.fd_ = UniqueFd{::open(opened.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
    if (!target.fd_) {
      target.partial_.clear();
      return fail_errno(name);
    }
    return target;
  }
  Target(Target&&) = default;
  Target& operator=(Target&&) = delete;
  ~Target() {
    if (fd_ && !partial_.empty()) ::unlink(partial_.c_str());
  }

  int fd() const { return fd_.get(); }
  Result<void> finish() {
    if (!partial_.empty() && ::rename(partial_.c_str(), name_.c_str()) != 0) return fail_errno(name_);
    partial_.clear();
    return {};
  }

 private:
  Target() = default;
  UniqueFd fd_;
  std::string name_, partial_;
};

}  // namespace

int run_export(const Invocation& invocation, const std::filesystem::path& store) {
  const auto& options = std::get<ExportOptions>(invocation.command);
  auto connection = Connection::open(store, Start::if_store);
  if (!connection) return complain(connection.error());
  auto target = Target::open(options.target);
  if (!target) return complain(target.error());
  auto pipe = make_pipe();
  if (!pipe) return complain(pipe.error());

  const int writer = pipe->write_end.get();
  const bool progress = !invocation.global.quiet && ProgressDisplay::wanted(invocation.global.progress);
  if (auto sent = connection->request(words_for(invocation, {"--", options.ref, "-"}), progress, {&writer, 1}); !sent)
    return complain(sent.error());
  pipe->write_end.reset();

  Result<void> written;
  std::thread reader{[&] {
    written = relay(pipe->read_end.get(), target->fd(), options.target);
    pipe->read_end.reset();  // a server that still writes is told so
  }};
  const int code = follow(*connection, invocation.global, {});
  reader.join();
  if (!written && written.error().sys_errno != 0) return complain(written.error());
  if (code != 0) return code;
  if (!written) return 1;  // our reader went away, as `head` does
  if (auto finished = target->finish(); !finished) return complain(finished.error());
  return 0;
}

}  // namespace stellarium::cli
