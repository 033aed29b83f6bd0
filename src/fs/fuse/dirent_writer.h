#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "fs/fuse/abi.h"

namespace stellarium::fs::fuse {

/// Lays out directory entries in the payload of a READDIR or READDIRPLUS reply.
class DirentWriter {
 public:
  DirentWriter(MutableByteSpan out, bool plus) : out_{out}, plus_{plus} {}

  /// Appends an entry; false if it does not fit (then nothing was written). `offset` is where a listing goes on behind
  /// it. `entry` is used by READDIRPLUS only; one of node 0 says nothing about the child.
  bool add(std::string_view name, std::uint64_t ino, std::uint8_t type, std::uint64_t offset,
           const abi::EntryOut& entry);
  /// Whether an entry of this name would fit.
  bool fits(std::string_view name) const { return size_of(name) <= out_.size() - used_; }
  ByteSpan written() const { return out_.first(used_); }

 private:
  std::size_t size_of(std::string_view name) const;
  MutableByteSpan out_;
  std::size_t used_ = 0;
  bool plus_;
};

}  // namespace stellarium::fs::fuse
