#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "fs/byte_stream.h"

namespace stellarium::cdn::oci {

/// Writes a tar of plain files (ustar; sizes over 8 GiB as a pax record), which depends on nothing but their names and
/// bytes. Names have at most 100 bytes.   Errors: those of the output. Threads: one at a time.
class ArchiveWriter {
 public:
  explicit ArchiveWriter(fs::ByteOutput& out) : out_{out} {}

  [[nodiscard]] Result<void> add(std::string_view name, std::string_view text);
  /// `size` bytes of a file. Errors: also invalid_argument, if it has fewer.
  [[nodiscard]] Result<void> add_part(std::string_view name, int file, std::uint64_t offset, std::uint64_t size);
  /// `size` bytes from somewhere. Errors: also invalid_argument, if there are fewer; what is more is not read.
  [[nodiscard]] Result<void> add_stream(std::string_view name, fs::ByteInput& in, std::uint64_t size);
  [[nodiscard]] Result<void> finish();  ///< the mark of the archive's end

 private:
  Result<void> begin(std::string_view name, std::uint64_t size);
  Result<void> pad(std::uint64_t size);

  fs::ByteOutput& out_;
};

}  // namespace stellarium::cdn::oci
