#include <dirent.h>
#include <sys/stat.h>

#include <numeric>

#include "fs/layer_object.h"
#include "fs/records.h"
#include "fs/time_codec.h"

namespace stellarium::fs {

using namespace layer_object;

namespace {

tl::unexpected<Error> malformed(const std::string& what) {
  return fail(Errc::corrupt, "layer object: " + what);
}

}  // namespace

std::array<ByteReader, kColumns> LayerObjectReader::make_columns() {
  return []<std::size_t... I>(std::index_sequence<I...>) {
    return std::array<ByteReader, kColumns>{((void)I, ByteReader{ByteSpan{}})...};
  }
  (std::make_index_sequence<kColumns>{});
}

Result<void> LayerObjectReader::read(MutableByteSpan out) {
  while (!out.empty()) {
    const Result<std::size_t> got = in_.read(out);
    if (!got) return fail(got.error(), "layer object");
    if (*got == 0) return malformed("it was cut off");
    out = out.subspan(*got);
  }
  return {};
}

Result<void> LayerObjectReader::read_header() {
  std::array<std::byte, kHeaderSize> bytes{};
  if (const Result<void> got = read(bytes); !got) return got;
  ByteReader header{bytes};
  if (header.text(kMagic.size()) != kMagic) return malformed("wrong magic");
  if (const auto version = header.le<std::uint32_t>(); version != kVersion) {
    return fail(Errc::version, "layer object of version " + std::to_string(version) + "; this program reads version " +
                                   std::to_string(kVersion));
  }
  if (header.le<std::uint32_t>() != 0) return malformed("reserved bytes are not zero");
  names_left_ = header.le<std::uint64_t>();
  inodes_ = header.le<std::uint64_t>();
  if (inodes_ == 0 || inodes_ > kMaxIno || names_left_ < inodes_) return malformed("impossible totals");
  return {};
}

Result<void> LayerObjectReader::read_block() {
  std::array<std::byte, sizeof(BlockHeader)> bytes{};
  if (const Result<void> got = read(bytes); !got) return got;
  ByteReader header{bytes};
  block_left_ = header.le<std::uint32_t>();
  if (block_left_ == 0 || block_left_ > kBlockEntries || block_left_ > names_left_)
    return malformed("a block of an impossible number of entries");
  std::array<std::uint64_t, kColumns> sizes{};
  for (std::uint64_t& size : sizes) size = header.le<std::uint32_t>();
  const std::uint64_t total = std::accumulate(sizes.begin(), sizes.end(), std::uint64_t{0});
  if (total > kMaxBlock) return malformed("a block over 2 MiB");
  block_.resize(total);
  if (const Result<void> got = read(std::as_writable_bytes(std::span{block_})); !got) return got;
  ByteReader rest{as_bytes(block_)};
  for (std::size_t i = 0; i < kColumns; ++i) columns_[i] = ByteReader{rest.take(sizes[i])};
  last_mtime_ = 0;
  return {};
}

Result<std::optional<LayerEntry>> LayerObjectReader::next() {
  if (!started_) {
    started_ = true;
    if (const Result<void> header = read_header(); !header) return fail(header.error());
  }
  if (names_left_ == 0) {
    if (const Result<void> finished = finish(); !finished) return fail(finished.error());
    return std::nullopt;
  }
  if (block_left_ == 0) {
    if (const Result<void> block = read_block(); !block) return fail(block.error());
  }
  LayerEntry entry;
  const auto flags = column(kFlags).le<std::uint8_t>();
  entry.name = column(kName).text(column(kNameSize).le<std::uint8_t>());
  entry.first = (flags & kFurtherName) == 0;
  if (const Result<void> placed = place(entry); !placed) return fail(placed.error());
  if (!entry.first && flags != kFurtherName) return malformed("a further name with attributes of its own");
  if (const Result<void> taken = entry.first ? take_inode(entry, flags) : take_link(entry); !taken)
    return fail(taken.error());
  --names_left_;
  if (--block_left_ == 0) {
    for (const ByteReader& bytes : columns_) {
      if (!bytes.at_end()) return malformed("a column that is longer or shorter than its entries");
    }
  }
  return entry;
}

// Which directory the entry belongs to follows from the order alone.
Result<void> LayerObjectReader::place(LayerEntry& entry) {
  if (last_ino_ == 0) {
    if (!entry.name.empty() || !entry.first) return malformed("it does not begin with the root");
    entry.parent = kRootIno;
    return {};
  }
  while (!directories_.empty() && directories_.front().left == 0) {
    if (directories_.front().directories != 0) return malformed("a directory with a wrong link count");
    directories_.pop_front();
    last_cookie_ = 0;
  }
  if (directories_.empty()) return malformed("more names than its directories have entries");
  if (!valid_name(entry.name)) return malformed("an impossible name");
  Directory& directory = directories_.front();
  const std::uint64_t hash = name_hash(entry.name);
  std::uint64_t rank = 0;
  if (last_cookie_ != 0) {
    const std::uint64_t last_hash = last_cookie_ >> 8;
    if (hash < last_hash || (hash == last_hash && entry.name <= last_name_))
      return malformed("names that are not in order");
    if (hash == last_hash) rank = (last_cookie_ & 0xff) + 1;
    if (rank > 0xff) return malformed("over 256 names with one hash");
  }
  entry.parent = directory.ino;
  entry.cookie = make_cookie(hash, static_cast<std::uint8_t>(rank));
  last_cookie_ = entry.cookie;
  last_name_ = entry.name;
  --directory.left;
  return {};
}

Result<void> LayerObjectReader::take_link(LayerEntry& entry) {
  entry.ino = column(kLinkTo).varint();
  const auto linked = linked_.find(entry.ino);
  if (linked == linked_.end()) return malformed("a further name of an inode that has no more of them");
  entry.inode.mode = std::uint32_t{linked->second.type} << 12;  // of use to whoever writes the directory entry
  if (--linked->second.names_left == 0) linked_.erase(linked);
  return {};
}

Result<void> LayerObjectReader::take_inode(LayerEntry& entry, std::uint8_t flags) {
  Inode& inode = entry.inode;
  bool fits = true;
  const auto u32 = [&](Column which) {
    const std::uint64_t value = column(which).varint();
    fits = fits && value <= 0xffffffff;
    return static_cast<std::uint32_t>(value);
  };
  entry.ino = ++last_ino_;
  inode.mode = u32(kMode);
  inode.uid = u32(kOwner);
  inode.gid = u32(kOwner);
  last_mtime_ = static_cast<std::int64_t>(static_cast<std::uint64_t>(last_mtime_) +
                                          static_cast<std::uint64_t>(take_signed(column(kMtime))));
  inode.mtime = {last_mtime_, u32(kMtimeNs)};
  inode.atime = inode.ctime = inode.mtime;
  if (flags & kHasTimes) {
    inode.atime = take_time(column(kTimes));
    inode.ctime = take_time(column(kTimes));
  }
  if (flags & kHasBtime) inode.btime = take_time(column(kBtime));
  const bool directory = S_ISDIR(inode.mode);
  if (directory) {
    inode.parent = entry.parent;
    inode.nlink = u32(kNlink);
    entry.children = u32(kChildren);
  } else if (flags & kHasNlink) {
    inode.nlink = u32(kNlink);
  }
  if (const Result<void> body = take_body(inode, flags); !body) return body;
  inode.program = (flags & kProgram) != 0;
  inode.has_xattrs = (flags & kHasXattrs) != 0;
  if (inode.has_xattrs) {
    if (const Result<void> xattrs = take_xattrs(entry); !xattrs) return xattrs;
  }
  if (!fits) return malformed("a number that does not fit");
  for (const ByteReader& bytes : columns_) {
    if (!bytes.ok()) return malformed("a column that is shorter than its entries");
  }
  return check_inode(entry, flags);
}

Result<void> LayerObjectReader::take_body(Inode& inode, std::uint8_t flags) {
  const bool regular = S_ISREG(inode.mode);
  if (regular) inode.size = column(kSize).varint();
  if (S_ISLNK(inode.mode) || (regular && (flags & kInlineBody))) {
    const std::uint64_t size = column(kInline).varint();
    inode.body = Body::inline_;
    if (size <= column(kInline).left()) inode.inline_bytes = column(kInline).text(size);
    if (!regular) inode.size = size;
  } else if (regular && inode.size > 0) {
    inode.body = Body::content;
    if (const auto id = cas::Hash::from_bytes(column(kContent).take(cas::Hash::kSize))) inode.content = *id;
  }
  inode.allocated = (flags & kHasAllocated) ? column(kAllocated).varint() : inode.size;
  if (S_ISCHR(inode.mode) || S_ISBLK(inode.mode)) inode.rdev = column(kRdev).varint();
  return {};
}

Result<void> LayerObjectReader::take_xattrs(LayerEntry& entry) {
  ByteReader& bytes = column(kXattrs);
  const std::uint64_t count = bytes.varint();
  std::size_t total = 0;
  for (std::uint64_t i = 0; i < count && bytes.ok(); ++i) {
    std::string name{bytes.text(bytes.le<std::uint8_t>())};
    const std::uint64_t size = bytes.varint();
    if (!bytes.ok() || size > kMaxXattrValue || !valid_xattr_name(name)) return malformed("an impossible xattr");
    std::string value{bytes.text(size)};
    if (!entry.xattrs.empty() && name <= entry.xattrs.back().first) return malformed("xattrs that are not in order");
    total += name.size() + value.size();
    entry.xattrs.emplace_back(std::move(name), std::move(value));
  }
  if (entry.xattrs.empty() || total > kMaxXattrBytes) return malformed("an impossible number of xattrs");
  return {};
}

Result<void> LayerObjectReader::check_inode(const LayerEntry& entry, std::uint8_t flags) {
  const Inode& inode = entry.inode;
  if (const char* why = why_invalid(inode)) return malformed("inode " + std::to_string(entry.ino) + " has " + why);
  if (flags_of(inode) != flags) return malformed("an inode that spells out a default");
  const bool directory = S_ISDIR(inode.mode);
  if (entry.ino == kRootIno && !directory) return malformed("a root that is no directory");
  if (directory) {
    if (inode.nlink < 2 || inode.nlink - 2 > entry.children) return malformed("a directory with a wrong link count");
    if (entry.ino != kRootIno) {
      Directory& parent = directories_.front();
      if (parent.directories == 0) return malformed("a directory with a wrong link count");
      --parent.directories;
    }
    directories_.push_back({entry.ino, entry.children, inode.nlink - 2});
  } else if (inode.nlink > 1) {
    linked_.emplace(entry.ino, Linked{inode.nlink - 1, dirent_type(inode.mode)});
  }
  return {};
}

Result<void> LayerObjectReader::finish() {
  if (last_ino_ != inodes_) return malformed("another number of inodes than it announces");
  for (const Directory& directory : directories_) {
    if (directory.left != 0) return malformed("directories that lack entries");
    if (directory.directories != 0) return malformed("a directory with a wrong link count");
  }
  if (!linked_.empty()) return malformed("inodes that lack names");
  std::byte extra[1];
  const Result<std::size_t> got = in_.read(extra);
  if (!got) return fail(got.error(), "layer object");
  if (*got != 0) return malformed("bytes behind its end");
  return {};
}

}  // namespace stellarium::fs
