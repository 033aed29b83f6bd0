#pragma once
#include "base/bytes.h"
#include "base/result.h"

namespace stellarium {

/// A file's first bytes, mapped to be read, all of them.
///
/// For files that nobody shortens while they are mapped (who does ends this process with SIGBUS): our own, which are
/// replaced by renaming. The page cache is mapped at once, so there is no page fault for each page, as of a copy.
/// Threads: reading is free.
class MappedFile {
 public:
  MappedFile() = default;
  /// Errors: what mmap(2) answers.
  static Result<MappedFile> of(int fd, std::size_t size);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  ByteSpan bytes() const { return bytes_; }

 private:
  explicit MappedFile(ByteSpan bytes) : bytes_{bytes} {}

  ByteSpan bytes_;
};

}  // namespace stellarium
