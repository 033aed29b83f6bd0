#include <sys/stat.h>

#include <cassert>

#include "fs/layer_object.h"
#include "fs/time_codec.h"

namespace stellarium::fs {

using namespace layer_object;

std::uint8_t layer_object::flags_of(const Inode& inode) {
  unsigned flags = 0;
  if (inode.nlink != 1 && !S_ISDIR(inode.mode)) flags |= kHasNlink;
  if (inode.atime != inode.mtime || inode.ctime != inode.mtime) flags |= kHasTimes;
  if (inode.btime != Timespec{}) flags |= kHasBtime;
  if (inode.allocated != inode.size) flags |= kHasAllocated;
  if (inode.has_xattrs) flags |= kHasXattrs;
  if (inode.program) flags |= kProgram;
  if (inode.body == Body::inline_ && S_ISREG(inode.mode)) flags |= kInlineBody;
  return static_cast<std::uint8_t>(flags);
}

LayerObjectWriter::LayerObjectWriter(cas::ContentWriter& out, std::uint64_t names, std::uint64_t inodes) : out_{out} {
  header_ = kMagic;
  put_le<std::uint32_t>(header_, kVersion);
  put_le<std::uint32_t>(header_, 0);
  put_le<std::uint64_t>(header_, names);
  put_le<std::uint64_t>(header_, inodes);
  assert(header_.size() == kHeaderSize);
}

Result<void> LayerObjectWriter::add(const LayerEntry& entry) {
  columns_[kNameSize].push_back(static_cast<char>(entry.name.size()));
  columns_[kName] += entry.name;
  buffered_ += 2 + entry.name.size();
  if (entry.first) {
    add_inode(entry);
  } else {
    columns_[kFlags].push_back(static_cast<char>(kFurtherName));
    put_varint(columns_[kLinkTo], entry.ino);
  }
  ++entries_;
  if (entries_ < kBlockEntries && buffered_ < kBlockBytes) return {};
  return flush();
}

void LayerObjectWriter::add_inode(const LayerEntry& entry) {
  const Inode& inode = entry.inode;
  const std::uint8_t flags = flags_of(inode);
  const bool directory = S_ISDIR(inode.mode);
  columns_[kFlags].push_back(static_cast<char>(flags));
  put_varint(columns_[kMode], inode.mode);
  put_varint(columns_[kOwner], inode.uid);
  put_varint(columns_[kOwner], inode.gid);
  put_signed(columns_[kMtime], static_cast<std::int64_t>(static_cast<std::uint64_t>(inode.mtime.seconds) -
                                                         static_cast<std::uint64_t>(last_mtime_)));
  last_mtime_ = inode.mtime.seconds;
  put_varint(columns_[kMtimeNs], inode.mtime.nanoseconds);
  if (flags & kHasTimes) {
    put_time(columns_[kTimes], inode.atime);
    put_time(columns_[kTimes], inode.ctime);
  }
  if (flags & kHasBtime) put_time(columns_[kBtime], inode.btime);
  if (directory || (flags & kHasNlink)) put_varint(columns_[kNlink], inode.nlink);
  if (directory) put_varint(columns_[kChildren], entry.children);
  if (S_ISREG(inode.mode)) put_varint(columns_[kSize], inode.size);
  if (flags & kHasAllocated) put_varint(columns_[kAllocated], inode.allocated);
  if (inode.body == Body::content) columns_[kContent] += inode.content.text();
  if (inode.body == Body::inline_) {
    put_varint(columns_[kInline], inode.inline_bytes.size());
    columns_[kInline] += inode.inline_bytes;
  }
  if (S_ISCHR(inode.mode) || S_ISBLK(inode.mode)) put_varint(columns_[kRdev], inode.rdev);
  if (flags & kHasXattrs) add_xattrs(entry.xattrs);
  buffered_ += 64 + inode.inline_bytes.size();  // 64: about what an inode's fixed fields take, content id included
}

void LayerObjectWriter::add_xattrs(const Xattrs& xattrs) {
  std::string& column = columns_[kXattrs];
  const std::size_t before = column.size();
  put_varint(column, xattrs.size());
  for (const auto& [name, value] : xattrs) {
    column.push_back(static_cast<char>(name.size()));
    column += name;
    put_varint(column, value.size());
    column += value;
  }
  buffered_ += column.size() - before;
}

Result<void> LayerObjectWriter::flush() {
  std::string block = std::move(header_);
  header_.clear();
  if (entries_ > 0) {
    put_le<std::uint32_t>(block, entries_);
    for (const std::string& column : columns_) put_le<std::uint32_t>(block, static_cast<std::uint32_t>(column.size()));
    for (std::string& column : columns_) {
      block += column;
      column.clear();
    }
  }
  entries_ = 0;
  buffered_ = 0;
  last_mtime_ = 0;  // every block can be read by itself
  size_ += block.size();
  return block.empty() ? Result<void>{} : out_.append(as_bytes(block));
}

}  // namespace stellarium::fs
