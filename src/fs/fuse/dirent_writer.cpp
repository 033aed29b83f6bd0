#include "fs/fuse/dirent_writer.h"

#include <cstring>

namespace stellarium::fs::fuse {

std::size_t DirentWriter::size_of(std::string_view name) const {
  const std::size_t fixed = plus_ ? sizeof(abi::DirentPlus) : sizeof(abi::Dirent);
  return (fixed + name.size() + abi::kDirentAlign - 1) / abi::kDirentAlign * abi::kDirentAlign;
}

bool DirentWriter::add(std::string_view name, std::uint64_t ino, std::uint8_t type, std::uint64_t offset,
                       const abi::EntryOut& entry) {
  if (!fits(name)) return false;
  std::byte* at = out_.data() + used_;
  const abi::Dirent dirent{ino, offset, static_cast<std::uint32_t>(name.size()), type};
  std::size_t done = 0;
  if (plus_) {
    std::memcpy(at, &entry, sizeof entry);
    done = sizeof entry;
  }
  std::memcpy(at + done, &dirent, sizeof dirent);
  done += sizeof dirent;
  std::memcpy(at + done, name.data(), name.size());
  done += name.size();
  const std::size_t size = size_of(name);
  std::memset(at + done, 0, size - done);
  used_ += size;
  return true;
}

}  // namespace stellarium::fs::fuse
