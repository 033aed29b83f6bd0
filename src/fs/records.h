#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "fs/types.h"
#include "tier/tier.h"

// Keys and values of the families in fs/families.h (docs/formats/records.md). Keys are big-endian, so that a scan of
// one directory, or of one layer's inodes, is in the order that readers want.
//
// Encoding trusts its caller (asserts). Decoding trusts nobody: `corrupt`, saying what is wrong, for every record that
// no encoder writes.
namespace stellarium::fs {

inline constexpr std::size_t kMaxName = 255;          ///< bytes of one path component, as in Linux
inline constexpr std::size_t kMaxSymlink = 4095;      ///< bytes of a symlink's target
inline constexpr std::size_t kMaxXattrValue = 65536;  ///< bytes, as in Linux
inline constexpr Ino kMaxIno = (Ino{1} << kInoBits) - 1;

/// The 55-bit hash that orders the names of a directory: the first 55 bits of the name's BLAKE3, but never 0.
/// It is part of keys and of resume cookies and therefore the same for ever.
std::uint64_t name_hash(std::string_view name);
/// Names of one directory with equal hashes are told apart by their rank in byte order.
inline DirCookie make_cookie(std::uint64_t hash, std::uint8_t rank) {
  return hash << 8 | rank;
}
/// Every cookie of a stored entry is larger than this: smaller offsets are free for "." and "..".
inline constexpr DirCookie kFirstCookie = 256;

/// Whether `name` can be a path component: 1 to 255 bytes, no '/' or NUL, not "." or "..".
bool valid_name(std::string_view name);
bool valid_xattr_name(std::string_view name);  ///< 1 to 255 bytes without NUL

std::string layer_prefix(LayerId layer);  ///< what all keys of one layer begin with
std::string dirent_prefix(LayerId layer, Ino parent);
std::string dirent_key(LayerId layer, Ino parent, DirCookie cookie, std::string_view name = {});
std::string inode_key(LayerId layer, Ino ino);
std::string xattr_key(LayerId layer, Ino ino, std::string_view name = {});
/// The first key behind all that begin with `prefix`; empty if there is none.
std::string prefix_end(std::string prefix);

struct DirentKey {
  LayerId layer = 0;
  Ino parent = 0;
  DirCookie cookie = 0;
  std::string_view name = {};  ///< points into the key
};
Result<DirentKey> decode_dirent_key(std::string_view key);  ///< checks that the cookie belongs to the name
struct InodeKey {
  LayerId layer = 0;
  Ino ino = 0;
};
Result<InodeKey> decode_inode_key(std::string_view key);
struct XattrKey {
  LayerId layer = 0;
  Ino ino = 0;
  std::string_view name = {};  ///< points into the key
};
Result<XattrKey> decode_xattr_key(std::string_view key);

/// What a directory entry leads to.
struct DirentValue {
  Ino ino = 0;
  std::uint8_t type = 0;  ///< DT_* of <dirent.h>; DT_WHT with inode 0: the name of a layer below is gone
  bool operator==(const DirentValue&) const = default;
  static DirentValue whiteout();
  bool is_whiteout() const { return ino == 0; }
};
std::string encode_dirent(const DirentValue& value);
Result<DirentValue> decode_dirent(std::string_view value);
/// DT_* for the type bits of a mode; 0 (DT_UNKNOWN) for what is no file type.
std::uint8_t dirent_type(std::uint32_t mode);

std::string encode_inode(const Inode& inode);
Result<Inode> decode_inode(std::string_view value);
/// Why no layer can have `inode` ("a directory with a body"), or nullptr.
const char* why_impossible(const Inode& inode);
/// The content of the store that the inode's bytes need.
std::optional<tier::ContentRef> content_of(const Inode& inode);
/// Why `inode` cannot be in an image: the same, a staged body, or no link.
const char* why_invalid(const Inode& inode);

/// State and totals of one layer.
struct LayerRecord {
  enum class State : std::uint8_t {
    building = 1,  ///< seen by nobody
    sealed = 2,    ///< an image: complete in itself, and a layer object
    writable = 3,  ///< what a clone changed of the layer below
    frozen = 4,    ///< the same, which changes no more: a snapshot
  };
  State state = State::building;
  TreeId tree = 0;
  cas::ContentId manifest = {};  ///< sealed only, as is the next line
  std::uint64_t manifest_size = 0, files = 0, bytes = 0;
  cas::Hash fingerprint = {};  ///< sealed: of its tree (TreeAssembly); zeros where nobody knows
  LayerId parent = 0;          ///< writable and frozen: the layer below
  Ino next_ino = 0;            ///< the same: inode numbers from here on were never given out
  bool operator==(const LayerRecord&) const = default;
};
std::string encode_layer(const LayerRecord& record);
Result<LayerRecord> decode_layer(std::string_view value);
std::string encode_layer_number(LayerId layer);
Result<LayerId> decode_layer_number(std::string_view value);

/// What an image name stands for.
struct NameRecord {
  LayerId layer = 0;
  Timespec created;
  std::string source;
  TreeId tree = 0;  ///< of its node ids; 0: the layer's own
  bool operator==(const NameRecord&) const = default;
};
std::string name_key(std::string_view name, std::string_view tag);
std::string encode_name(const NameRecord& record);
Result<NameRecord> decode_name(std::string_view value);

}  // namespace stellarium::fs
