#include "tools/cli/stream.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

namespace stellarium::cli {
namespace {

constexpr int kPipeBytes = 1 << 20;

Result<void> copy(int from, int to, const std::string& what, std::atomic<std::uint64_t>* moved) {
  std::vector<std::byte> buffer(256u << 10);
  PipeOutput out{to};
  for (;;) {
    const ssize_t got = ::read(from, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(what);
    if (got == 0) return {};
    if (auto written = out.write(ByteSpan{buffer}.first(static_cast<std::size_t>(got))); !written)
      return fail(written.error(), what);
    if (moved != nullptr) *moved += static_cast<std::uint64_t>(got);
  }
}

}  // namespace

Result<Pipe> make_pipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe");
  Pipe pipe{UniqueFd{ends[0]}, UniqueFd{ends[1]}};
  ::fcntl(pipe.write_end.get(), F_SETPIPE_SZ, kPipeBytes);  // the limit for users may be lower: then it stays as it is
  return pipe;
}

Result<void> PipeOutput::write(ByteSpan data) {
  while (!data.empty()) {
    const ssize_t written = ::write(fd_, data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0 && errno == EPIPE) return fail(Errc::cancelled, "the other side stopped reading");
    if (written < 0) return fail_errno("writing");
    data = data.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

/// The pages of the file go into the pipe, without a copy in between.
Result<std::uint64_t> PipeOutput::send(int file, std::uint64_t size) {
  off_t at = 0;
  while (static_cast<std::uint64_t>(at) < size) {
    const auto sent = static_cast<std::uint64_t>(at);
    const ssize_t spliced = ::splice(file, &at, fd_, nullptr, size - sent, SPLICE_F_MOVE | SPLICE_F_MORE);
    if (spliced < 0 && errno == EINTR) continue;
    if (spliced < 0 && errno == EPIPE) return fail(Errc::cancelled, "the other side stopped reading");
    if (spliced < 0 && errno == EINVAL) {  // a file system that cannot
      const auto rest = send_from(file, sent, size - sent);
      return rest ? Result<std::uint64_t>{sent + *rest} : rest;
    }
    if (spliced < 0) return fail_errno("reading");
    if (spliced == 0) break;
  }
  return static_cast<std::uint64_t>(at);
}

Result<void> relay(int from, int to, const std::string& what, std::atomic<std::uint64_t>* moved) {
  for (;;) {
    const ssize_t spliced = ::splice(from, nullptr, to, nullptr, kPipeBytes, SPLICE_F_MOVE | SPLICE_F_MORE);
    if (spliced < 0 && errno == EINTR) continue;
    if (spliced < 0 && errno == EINVAL)
      return copy(from, to, what, moved);  // an end that cannot splice, such as a terminal or an append-only file
    if (spliced < 0 && errno == EPIPE) return fail(Errc::cancelled, what + ": the other side stopped reading");
    if (spliced < 0) return fail_errno(what);
    if (spliced == 0) return {};
    if (moved != nullptr) *moved += static_cast<std::uint64_t>(spliced);
  }
}

}  // namespace stellarium::cli
