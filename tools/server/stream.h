#pragma once
#include "base/unique_fd.h"
#include "fs/byte_stream.h"
#include "tools/server/command_io.h"

namespace stellarium::server {

/// The command process's pipe as the tar reader sees it. Its end counts only with the command's word that it wrote
/// everything: a killed command's pipe ends too. Errors: cancelled, io.
class StreamInput final : public fs::ByteInput {
 public:
  static Result<StreamInput> create(CommandIo& io);
  [[nodiscard]] Result<std::size_t> read(MutableByteSpan out) override;

 private:
  StreamInput(UniqueFd pipe, CommandIo& io) : pipe_{std::move(pipe)}, io_{&io} {}
  UniqueFd pipe_;
  CommandIo* io_;
};

/// The same in the other direction.
class StreamOutput final : public fs::ByteOutput {
 public:
  static Result<StreamOutput> create(CommandIo& io);
  [[nodiscard]] Result<void> write(ByteSpan data) override;

 private:
  StreamOutput(UniqueFd pipe, CommandIo& io) : pipe_{std::move(pipe)}, io_{&io} {}
  UniqueFd pipe_;
  CommandIo* io_;
};

}  // namespace stellarium::server
