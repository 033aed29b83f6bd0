#pragma once
#include <atomic>

#include "base/result.h"
#include "base/unique_fd.h"
#include "fs/byte_stream.h"

// How the command process moves bytes between the user's files and the server's pipes.
namespace stellarium::cli {

struct Pipe {
  UniqueFd read_end, write_end;
};
/// A pipe of 1 MiB where the system allows it: fewer switches between the two processes.
Result<Pipe> make_pipe();

/// The write end of a pipe as what the tree emitter writes to.
class PipeOutput final : public fs::ByteOutput {
 public:
  explicit PipeOutput(int fd) : fd_{fd} {}
  [[nodiscard]] Result<void> write(ByteSpan data) override;
  [[nodiscard]] Result<std::uint64_t> send(int file, std::uint64_t size) override;

 private:
  int fd_;
};

/// Moves everything from one descriptor to the other, at least one of which is a pipe; without copying through this
/// process where possible. Errors name `what`. `moved`, if given, counts the bytes for a display on another thread.
Result<void> relay(int from, int to, const std::string& what, std::atomic<std::uint64_t>* moved = nullptr);

}  // namespace stellarium::cli
