#include "tools/server/stream.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace stellarium::server {
namespace {

Result<UniqueFd> take_non_blocking(CommandIo& io) {
  auto stream = io.take_stream();
  if (!stream) return stream;
  const int flags = ::fcntl(stream->get(), F_GETFL);
  if (flags < 0 || ::fcntl(stream->get(), F_SETFL, flags | O_NONBLOCK) != 0)
    return fail_errno("preparing the command's stream");
  return stream;
}

bool would_block(int error) {
  return error == EAGAIN || error == EINTR;
}

}  // namespace

Result<StreamInput> StreamInput::create(CommandIo& io) {
  auto stream = take_non_blocking(io);
  if (!stream) return fail(stream.error());
  return StreamInput{std::move(*stream), io};
}

Result<std::size_t> StreamInput::read(MutableByteSpan out) {
  for (;;) {
    const ssize_t got = ::read(pipe_.get(), out.data(), out.size());
    if (got > 0) return static_cast<std::size_t>(got);
    if (got == 0) {
      if (io_->stream_was_complete()) return 0;
      return fail(Errc::cancelled, "the command ended before its stream did");
    }
    if (!would_block(errno)) return fail_errno("reading the command's stream");
    if (!io_->wait_for_stream(pipe_.get(), true)) return fail(Errc::cancelled, "cancelled");
  }
}

Result<StreamOutput> StreamOutput::create(CommandIo& io) {
  auto stream = take_non_blocking(io);
  if (!stream) return fail(stream.error());
  return StreamOutput{std::move(*stream), io};
}

Result<void> StreamOutput::write(ByteSpan data) {
  while (!data.empty()) {
    const ssize_t written = ::write(pipe_.get(), data.data(), data.size());
    if (written >= 0) {
      data = data.subspan(static_cast<std::size_t>(written));
    } else if (errno == EPIPE) {
      return fail(Errc::cancelled, "the command stopped reading");
    } else if (!would_block(errno)) {
      return fail_errno("writing the command's stream");
    } else if (!io_->wait_for_stream(pipe_.get(), false)) {
      return fail(Errc::cancelled, "cancelled");
    }
  }
  return {};
}

}  // namespace stellarium::server
