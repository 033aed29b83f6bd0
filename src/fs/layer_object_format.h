#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fs/types.h"

// What writer and reader of layer objects share (docs/formats/layer-object.md).
namespace stellarium::fs::layer_object {

inline constexpr std::string_view kMagic = "STLRLAYR";
inline constexpr std::uint32_t kVersion = 1;
inline constexpr std::size_t kHeaderSize = 32;  // magic 8, version 4, zero 4, names 8, inodes 8

// A block ends with the entry that fills it; so its size has a bound and readers need little memory.
inline constexpr std::uint32_t kBlockEntries = 4096;
inline constexpr std::size_t kBlockBytes = 512u << 10;
inline constexpr std::size_t kMaxXattrBytes = 1u << 20;  // names and values of one inode
inline constexpr std::size_t kMaxBlock = 2u << 20;       // what the rules above can add up to, and some

// One byte string per attribute and block: equal things beside each other is what makes the object small.
enum Column : std::size_t {
  kNameSize,   // byte
  kName,       // bytes
  kFlags,      // byte, see Flag
  kLinkTo,     // varint: the inode's number, of further names
  kMode,       // varint
  kOwner,      // varints uid, gid
  kMtime,      // signed varint: seconds, as difference from the inode before
  kMtimeNs,    // varint
  kTimes,      // atime and ctime
  kBtime,      // time
  kNlink,      // varint
  kChildren,   // varint, of directories
  kSize,       // varint, of regular files
  kAllocated,  // varint
  kContent,    // 32 bytes
  kInline,     // varint and bytes
  kRdev,       // varint, of devices
  kXattrs,     // varint count, then for each: byte and name, varint and value
  kColumns,
};

enum Flag : std::uint8_t {
  kFurtherName = 0x01,   // nothing but name and link-to follows
  kHasNlink = 0x02,      // other than 1, of all but directories, which always have it
  kHasTimes = 0x04,      // atime or ctime differs from mtime
  kHasBtime = 0x08,      // other than 0
  kHasAllocated = 0x10,  // other than size
  kHasXattrs = 0x20,
  kProgram = 0x40,
  kInlineBody = 0x80,  // of regular files
};

/// The flags of an inode's first name; a field that holds its default is never written.
std::uint8_t flags_of(const Inode& inode);

using BlockHeader = std::array<std::uint32_t, 1 + kColumns>;  // entries, then the size of each column

}  // namespace stellarium::fs::layer_object
