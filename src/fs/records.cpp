#include "fs/records.h"

#include <dirent.h>
#include <sys/stat.h>

#include <cassert>

#include "base/bytes.h"
#include "fs/time_codec.h"

namespace stellarium::fs {
namespace {

// Which optional fields an inode record has. A field that holds its default is never written.
struct InodeFlag {
  enum : std::uint16_t {
    kBodyMask = 0x03,
    kProgram = 0x04,
    kHasXattrs = 0x08,
    kHasNlink = 0x10,      // other than 1
    kHasRdev = 0x20,       // other than 0
    kHasAllocated = 0x40,  // other than size
    kHasTimes = 0x80,      // atime or ctime differs from mtime
    kHasBtime = 0x100,     // other than 0
    kHasParent = 0x200,    // other than 0
    kHasBase = 0x400,
    kAllFlags = 0x7ff,
  };
};

std::string key_of(LayerId layer, std::uint64_t number, std::size_t reserve) {
  std::string key;
  key.reserve(12 + reserve);
  put_be<std::uint32_t>(key, layer);
  put_be<std::uint64_t>(key, number);
  return key;
}

bool valid_ino(Ino ino) {
  return ino != 0 && ino <= kMaxIno;
}

std::uint16_t record_flags_of(const Inode& inode) {
  unsigned flags = static_cast<unsigned>(inode.body);
  if (inode.program) flags |= InodeFlag::kProgram;
  if (inode.has_xattrs) flags |= InodeFlag::kHasXattrs;
  if (inode.nlink != 1) flags |= InodeFlag::kHasNlink;
  if (inode.rdev != 0) flags |= InodeFlag::kHasRdev;
  if (inode.allocated != inode.size) flags |= InodeFlag::kHasAllocated;
  if (inode.atime != inode.mtime || inode.ctime != inode.mtime) flags |= InodeFlag::kHasTimes;
  if (inode.btime != Timespec{}) flags |= InodeFlag::kHasBtime;
  if (inode.parent != 0) flags |= InodeFlag::kHasParent;
  if (inode.base) flags |= InodeFlag::kHasBase;
  return static_cast<std::uint16_t>(flags);
}

void put_base(std::string& out, const StagedBase& base) {
  out += base.content.text();
  put_varint(out, base.size);
  put_varint(out, base.shows);
  put_varint(out, base.allocated);
}

StagedBase take_base(ByteReader& reader) {
  StagedBase base;
  if (const auto id = cas::Hash::from_bytes(reader.take(cas::Hash::kSize))) base.content = *id;
  base.size = reader.varint();
  base.shows = reader.varint();
  base.allocated = reader.varint();
  return base;
}

std::uint32_t take_u32(ByteReader& reader, bool& ok) {
  const std::uint64_t value = reader.varint();
  ok = ok && value <= 0xffffffff;
  return static_cast<std::uint32_t>(value);
}

}  // namespace

std::uint64_t name_hash(std::string_view name) {
  const cas::Hash hash = cas::hash_of(as_bytes(name));
  const std::uint64_t first_55_bits = load_be<std::uint64_t>(hash.bytes.data()) >> 9;
  return first_55_bits == 0 ? 1 : first_55_bits;
}

bool valid_name(std::string_view name) {
  return !name.empty() && name.size() <= kMaxName && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

bool valid_xattr_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name.find('\0') == std::string_view::npos;
}

std::string layer_prefix(LayerId layer) {
  std::string key;
  put_be<std::uint32_t>(key, layer);
  return key;
}
std::string dirent_prefix(LayerId layer, Ino parent) {
  return key_of(layer, parent, 0);
}
std::string dirent_key(LayerId layer, Ino parent, DirCookie cookie, std::string_view name) {
  std::string key = key_of(layer, parent, 8 + name.size());
  put_be<std::uint64_t>(key, cookie);
  key += name;
  return key;
}
std::string inode_key(LayerId layer, Ino ino) {
  return key_of(layer, ino, 0);
}
std::string xattr_key(LayerId layer, Ino ino, std::string_view name) {
  std::string key = key_of(layer, ino, name.size());
  key += name;
  return key;
}

std::string prefix_end(std::string prefix) {
  while (!prefix.empty()) {
    if (prefix.back() != '\xff') {
      prefix.back() = static_cast<char>(static_cast<unsigned char>(prefix.back()) + 1);
      return prefix;
    }
    prefix.pop_back();
  }
  return prefix;
}

Result<DirentKey> decode_dirent_key(std::string_view key) {
  ByteReader reader{as_bytes(key)};
  DirentKey decoded{
      .layer = reader.be<std::uint32_t>(), .parent = reader.be<std::uint64_t>(), .cookie = reader.be<std::uint64_t>()};
  if (reader.ok()) decoded.name = reader.text(reader.left());
  if (!reader.ok() || !valid_ino(decoded.parent)) return fail(Errc::corrupt, "directory entry key is malformed");
  if (!valid_name(decoded.name)) return fail(Errc::corrupt, "directory entry key has an impossible name");
  if (decoded.cookie >> 8 != name_hash(decoded.name)) {
    return fail(Errc::corrupt, "directory entry key has the cookie of another name");
  }
  return decoded;
}

Result<InodeKey> decode_inode_key(std::string_view key) {
  ByteReader reader{as_bytes(key)};
  const InodeKey decoded{.layer = reader.be<std::uint32_t>(), .ino = reader.be<std::uint64_t>()};
  if (!reader.at_end() || !valid_ino(decoded.ino)) return fail(Errc::corrupt, "inode key is malformed");
  return decoded;
}

Result<XattrKey> decode_xattr_key(std::string_view key) {
  ByteReader reader{as_bytes(key)};
  XattrKey decoded{.layer = reader.be<std::uint32_t>(), .ino = reader.be<std::uint64_t>()};
  if (reader.ok()) decoded.name = reader.text(reader.left());
  if (!reader.ok() || !valid_ino(decoded.ino) || !valid_xattr_name(decoded.name)) {
    return fail(Errc::corrupt, "xattr key is malformed");
  }
  return decoded;
}

std::uint8_t dirent_type(std::uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG:
      return DT_REG;
    case S_IFDIR:
      return DT_DIR;
    case S_IFLNK:
      return DT_LNK;
    case S_IFCHR:
      return DT_CHR;
    case S_IFBLK:
      return DT_BLK;
    case S_IFIFO:
      return DT_FIFO;
    case S_IFSOCK:
      return DT_SOCK;
    default:
      return DT_UNKNOWN;
  }
}

DirentValue DirentValue::whiteout() {
  return {0, DT_WHT};
}

std::string encode_dirent(const DirentValue& value) {
  assert(valid_ino(value.ino) || value == DirentValue::whiteout());
  std::string out;
  out.push_back(static_cast<char>(value.type));
  put_varint(out, value.ino);
  return out;
}

Result<DirentValue> decode_dirent(std::string_view value) {
  ByteReader reader{as_bytes(value)};
  DirentValue decoded;
  decoded.type = reader.le<std::uint8_t>();
  decoded.ino = reader.varint();
  if (reader.at_end() && decoded == DirentValue::whiteout()) return decoded;
  if (!reader.at_end() || !valid_ino(decoded.ino)) return fail(Errc::corrupt, "directory entry is malformed");
  if (decoded.type == DT_UNKNOWN || dirent_type(std::uint32_t{decoded.type} << 12) != decoded.type) {
    return fail(Errc::corrupt, "directory entry has an unknown type");
  }
  return decoded;
}

const char* why_impossible(const Inode& inode) {
  if ((inode.mode & ~static_cast<std::uint32_t>(S_IFMT | 07777)) != 0) return "mode bits that do not exist";
  for (const Timespec* time : {&inode.atime, &inode.mtime, &inode.ctime, &inode.btime}) {
    if (!valid_time(*time)) return "nanoseconds of a second or more";
  }
  if (inode.size > INT64_MAX || inode.allocated > inode.size) return "an impossible size";
  const bool directory = S_ISDIR(inode.mode);
  if (directory ? !valid_ino(inode.parent) : inode.parent != 0) return "a wrong parent";
  if (inode.rdev != 0 && !S_ISCHR(inode.mode) && !S_ISBLK(inode.mode)) return "a device number, but is no device";
  if (inode.program && !S_ISREG(inode.mode)) return "a program mark, but is no regular file";
  const StagedBase& base = inode.base;
  if (base ? inode.body != Body::staged : base != StagedBase{}) return "a base, but no staged file over it";
  if (base.size > INT64_MAX || base.shows > base.size || base.allocated > base.size) return "an impossible base";
  switch (dirent_type(inode.mode)) {
    case DT_REG:
      if (inode.body == Body::staged) {
        if (inode.staged == 0) return "a staged body without a file";
      } else if (inode.size == 0 ? inode.body != Body::none : inode.body == Body::none)
        return "a size that its body does not have";
      break;
    case DT_LNK:
      if (inode.body != Body::inline_ || inode.size > kMaxSymlink || inode.size == 0)
        return "an impossible symlink target";
      break;
    case DT_UNKNOWN:
      return "no file type";
    default:
      if (inode.body != Body::none || inode.size != 0) return "a body, but is neither file nor symlink";
  }
  if (inode.body == Body::inline_ && inode.inline_bytes.size() != inode.size)
    return "a size that its body does not have";
  return nullptr;
}

std::optional<tier::ContentRef> content_of(const Inode& inode) {
  if (inode.body == Body::content) return tier::ContentRef{inode.content, inode.size};
  if (inode.base) return tier::ContentRef{inode.base.content, inode.base.size};
  return std::nullopt;
}

const char* why_invalid(const Inode& inode) {
  if (inode.nlink == 0) return "no link";
  if (inode.body == Body::staged) return "a body that is not in the store yet";
  return why_impossible(inode);
}

std::string encode_inode(const Inode& inode) {
  assert(why_impossible(inode) == nullptr);
  const std::uint16_t flags = record_flags_of(inode);
  std::string out;
  out.reserve(96 + inode.inline_bytes.size());
  put_varint(out, flags);
  put_varint(out, inode.mode);
  put_varint(out, inode.uid);
  put_varint(out, inode.gid);
  put_varint(out, inode.size);
  put_time(out, inode.mtime);
  if (flags & InodeFlag::kHasNlink) put_varint(out, inode.nlink);
  if (flags & InodeFlag::kHasRdev) put_varint(out, inode.rdev);
  if (flags & InodeFlag::kHasAllocated) put_varint(out, inode.allocated);
  if (flags & InodeFlag::kHasTimes) {
    put_time(out, inode.atime);
    put_time(out, inode.ctime);
  }
  if (flags & InodeFlag::kHasBtime) put_time(out, inode.btime);
  if (flags & InodeFlag::kHasParent) put_varint(out, inode.parent);
  if (inode.body == Body::inline_) out += inode.inline_bytes;
  if (inode.body == Body::content) out += inode.content.text();
  if (inode.body == Body::staged) put_le(out, inode.staged);
  if (inode.base) put_base(out, inode.base);
  return out;
}

Result<Inode> decode_inode(std::string_view value) {
  ByteReader reader{as_bytes(value)};
  const std::uint64_t flags = reader.varint();
  if ((flags & ~std::uint64_t{InodeFlag::kAllFlags}) != 0) return fail(Errc::corrupt, "inode record has unknown flags");
  bool ok = true;
  Inode inode;
  inode.mode = take_u32(reader, ok);
  inode.uid = take_u32(reader, ok);
  inode.gid = take_u32(reader, ok);
  inode.size = reader.varint();
  inode.mtime = inode.atime = inode.ctime = take_time(reader);
  if (flags & InodeFlag::kHasNlink) inode.nlink = take_u32(reader, ok);
  if (flags & InodeFlag::kHasRdev) inode.rdev = reader.varint();
  inode.allocated = (flags & InodeFlag::kHasAllocated) ? reader.varint() : inode.size;
  if (flags & InodeFlag::kHasTimes) {
    inode.atime = take_time(reader);
    inode.ctime = take_time(reader);
  }
  if (flags & InodeFlag::kHasBtime) inode.btime = take_time(reader);
  if (flags & InodeFlag::kHasParent) inode.parent = reader.varint();
  inode.program = (flags & InodeFlag::kProgram) != 0;
  inode.has_xattrs = (flags & InodeFlag::kHasXattrs) != 0;
  switch (flags & InodeFlag::kBodyMask) {
    case 0:
      inode.body = Body::none;
      break;
    case 1:
      inode.body = Body::inline_;
      inode.inline_bytes = reader.text(reader.left());
      break;
    case 2: {
      inode.body = Body::content;
      const std::optional<cas::Hash> id = cas::Hash::from_bytes(reader.take(cas::Hash::kSize));
      if (id) inode.content = *id;
      break;
    }
    default:
      inode.body = Body::staged;
      inode.staged = reader.le<std::uint64_t>();
  }
  if (flags & InodeFlag::kHasBase) inode.base = take_base(reader);
  if (!reader.at_end() || !ok) return fail(Errc::corrupt, "inode record is malformed");
  if (const char* why = why_impossible(inode)) return fail(Errc::corrupt, std::string{"inode record has "} + why);
  if (record_flags_of(inode) != flags) return fail(Errc::corrupt, "inode record spells out a default");
  return inode;
}

std::string encode_layer(const LayerRecord& record) {
  std::string out;
  out.push_back(static_cast<char>(record.state));
  put_varint(out, record.tree);
  switch (record.state) {
    case LayerRecord::State::building:
      break;
    case LayerRecord::State::sealed:
      out += record.manifest.text();
      put_varint(out, record.manifest_size);
      put_varint(out, record.files);
      put_varint(out, record.bytes);
      if (record.fingerprint != cas::Hash{}) out += record.fingerprint.text();
      break;
    case LayerRecord::State::writable:
    case LayerRecord::State::frozen:
      put_varint(out, record.parent);
      put_varint(out, record.next_ino);
      break;
  }
  return out;
}

Result<LayerRecord> decode_layer(std::string_view value) {
  ByteReader reader{as_bytes(value)};
  bool ok = true;
  LayerRecord record;
  record.state = static_cast<LayerRecord::State>(reader.le<std::uint8_t>());
  record.tree = take_u32(reader, ok);
  if (record.state == LayerRecord::State::sealed) {
    const std::optional<cas::Hash> manifest = cas::Hash::from_bytes(reader.take(cas::Hash::kSize));
    if (manifest) record.manifest = *manifest;
    record.manifest_size = reader.varint();
    record.files = reader.varint();
    record.bytes = reader.varint();
    if (reader.left() != 0) {
      const std::optional<cas::Hash> fingerprint = cas::Hash::from_bytes(reader.take(cas::Hash::kSize));
      ok = ok && fingerprint && *fingerprint != cas::Hash{};
      if (fingerprint) record.fingerprint = *fingerprint;
    }
  } else if (record.state == LayerRecord::State::writable || record.state == LayerRecord::State::frozen) {
    record.parent = take_u32(reader, ok);
    record.next_ino = reader.varint();
    ok = ok && record.parent != 0 && record.next_ino > kRootIno && record.next_ino <= kMaxIno + 1;
  } else if (record.state != LayerRecord::State::building) {
    return fail(Errc::corrupt, "layer record has an unknown state");
  }
  if (!reader.at_end() || !ok) return fail(Errc::corrupt, "layer record is malformed");
  return record;
}

std::string encode_layer_number(LayerId layer) {
  std::string out;
  put_varint(out, layer);
  return out;
}

Result<LayerId> decode_layer_number(std::string_view value) {
  ByteReader reader{as_bytes(value)};
  bool ok = true;
  const LayerId layer = take_u32(reader, ok);
  if (!reader.at_end() || !ok || layer == 0) return fail(Errc::corrupt, "the record of a fingerprint is malformed");
  return layer;
}

std::string name_key(std::string_view name, std::string_view tag) {
  std::string key{name};
  key.push_back('\0');
  key += tag;
  return key;
}

std::string encode_name(const NameRecord& record) {
  std::string out;
  if (record.tree != 0) {
    put_varint(out, 0);  // which no layer is
    put_varint(out, record.tree);
  }
  put_varint(out, record.layer);
  put_time(out, record.created);
  out += record.source;
  return out;
}

Result<NameRecord> decode_name(std::string_view value) {
  ByteReader reader{as_bytes(value)};
  bool ok = true;
  NameRecord record;
  record.layer = take_u32(reader, ok);
  if (reader.ok() && record.layer == 0) {
    record.tree = take_u32(reader, ok);
    ok = ok && record.tree != 0;
    record.layer = take_u32(reader, ok);
  }
  record.created = take_time(reader);
  if (reader.ok()) record.source = reader.text(reader.left());
  if (!reader.at_end() || !ok || record.layer == 0 || !valid_time(record.created)) {
    return fail(Errc::corrupt, "name record is malformed");
  }
  return record;
}

}  // namespace stellarium::fs
