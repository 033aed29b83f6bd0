#pragma once
#include <cstdint>

#include "fs/fuse/abi.h"
#include "fs/types.h"

namespace stellarium::fs::fuse {

/// Seconds for which the kernel may believe what never changes; "for ever" without any risk of overflow (136 years).
inline constexpr std::uint64_t kForever = 1ull << 32;

/// stat(2) fields of an inode. `ino` is what st_ino shall be: the number in the tree, or with the tree in front of it
/// where one mount shows several trees.
abi::Attr to_attr(const Inode& inode, std::uint64_t ino);
/// The same for statx(2), with the birth time.
abi::Statx to_statx(const Inode& inode, std::uint64_t ino);

/// A device number of the protocol in the form of makedev(3).
std::uint64_t decode_device(std::uint32_t device);

}  // namespace stellarium::fs::fuse
