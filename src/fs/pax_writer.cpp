#include "fs/pax_writer.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdio>
#include <utility>

#include "fs/pax_records.h"
#include "fs/tar_header.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kBufferBytes = 256u << 10;
constexpr std::size_t kDirectBytes = 32u << 10;  // larger data goes to the output without being copied
constexpr std::array<std::byte, 64u << 10> kZeros{};

char type_of(std::uint32_t mode) {
  switch (mode & S_IFMT) {
    case S_IFDIR:
      return '5';
    case S_IFLNK:
      return '2';
    case S_IFCHR:
      return '3';
    case S_IFBLK:
      return '4';
    case S_IFIFO:
      return '6';
    default:
      return '0';
  }
}

/// pax writes a quarter of a second before -1 as "-1.25", sign and magnitude. Readers lose the sign of "-0.25": times
/// between -1 and 0 become -1.
std::string pax_time(const Timespec& time) {
  if (time.nanoseconds == 0) return std::to_string(time.seconds);
  if (time.seconds == -1) return "-1";
  const bool negative = time.seconds < 0;
  char fraction[12];
  std::snprintf(fraction, sizeof fraction, ".%09u",
                static_cast<unsigned>(negative ? 1'000'000'000 - time.nanoseconds : time.nanoseconds));
  return std::to_string(negative ? time.seconds + 1 : time.seconds) + fraction;
}

/// GNU's sparse format 1.0 puts the map in front of the data. A hole at the end needs an empty extent there.
std::string sparse_map(const PaxMember& member) {
  std::vector<DataExtent> extents = member.extents;
  if (extents.empty() || extents.back().offset + extents.back().size != member.size)
    extents.push_back({member.size, 0});
  std::string map = std::to_string(extents.size()) + "\n";
  for (const DataExtent& extent : extents)
    map += std::to_string(extent.offset) + "\n" + std::to_string(extent.size) + "\n";
  map.append(tar_padding(map.size()), '\0');
  return map;
}

}  // namespace

PaxWriter::PaxWriter(ByteOutput& out) : out_{out} {
  buffer_.reserve(kBufferBytes);
}

Result<void> PaxWriter::begin(const PaxMember& member) {
  assert(left_ == 0);
  path_ = member.path;
  const bool hard_link = !member.hard_link.empty();
  const bool regular = S_ISREG(member.mode) && !hard_link;
  std::string name = member.path;
  if (S_ISDIR(member.mode) && !hard_link && !name.ends_with('/')) name += '/';
  const std::string& link = hard_link ? member.hard_link : member.symlink;
  if (name.find('\0') != std::string::npos || link.find('\0') != std::string::npos)
    return fail(Errc::invalid_argument, member.path + ": a name with a NUL byte");

  left_ = regular ? member.size : 0;
  sparse_ = regular && member.sparse;
  extents_.clear();
  std::string map;
  std::uint64_t stored = left_;
  if (sparse_) {
    extents_ = member.extents;
    map = sparse_map(member);
    stored = map.size();
    for (const DataExtent& extent : extents_) stored += extent.size;
  }
  position_ = 0;
  next_extent_ = 0;
  padding_ = tar_padding(stored);

  records_.clear();
  put_records(member, name, link, stored, hard_link);
  TarHeader header{.name = name,
                   .link = link,
                   .mode = member.mode & 07777,
                   .uid = member.uid,
                   .gid = member.gid,
                   .size = stored,
                   .mtime = member.mtime.seconds < 0 ? 0 : static_cast<std::uint64_t>(member.mtime.seconds),
                   .type = hard_link ? '1' : type_of(member.mode)};
  if (S_ISCHR(member.mode) || S_ISBLK(member.mode)) {
    header.device_major = major(member.rdev);
    header.device_minor = minor(member.rdev);
  }
  if (!records_.empty()) {
    const TarHeader extended{.name = "PaxHeader", .link = {}, .mode = 0644, .size = records_.size(), .type = 'x'};
    if (const auto put = put_block(extended); !put) return put;
    records_.append(tar_padding(records_.size()), '\0');
    if (const auto put = write(as_bytes(records_)); !put) return put;
  }
  if (const auto put = put_block(header); !put) return put;
  return map.empty() ? Result<void>{} : write(as_bytes(map));
}

void PaxWriter::put_records(const PaxMember& member, const std::string& name, const std::string& link,
                            std::uint64_t stored, bool hard_link) {
  const auto plain = [](const std::string& text) {
    return text.size() <= TarHeader::kMaxName &&
           std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  };
  // First: it says how to read the rest.
  if ((!plain(name) && !is_utf8(name)) || (!plain(link) && !is_utf8(link)))
    put_pax_record(records_, "hdrcharset", "BINARY");
  if (!plain(name) && !sparse_) put_pax_record(records_, "path", name);
  if (!plain(link)) put_pax_record(records_, "linkpath", link);
  const Timespec& time = member.mtime;
  if (time.nanoseconds != 0 || time.seconds < 0 || time.seconds > static_cast<std::int64_t>(TarHeader::kMaxNumber))
    put_pax_record(records_, "mtime", pax_time(time));
  if (member.uid > TarHeader::kMaxOwner) put_pax_record(records_, "uid", std::to_string(member.uid));
  if (member.gid > TarHeader::kMaxOwner) put_pax_record(records_, "gid", std::to_string(member.gid));
  if (stored > TarHeader::kMaxNumber) put_pax_record(records_, "size", std::to_string(stored));
  if (hard_link) return;
  if (sparse_) {
    put_pax_record(records_, "GNU.sparse.major", "1");
    put_pax_record(records_, "GNU.sparse.minor", "0");
    put_pax_record(records_, "GNU.sparse.name", name);
    put_pax_record(records_, "GNU.sparse.realsize", std::to_string(member.size));
  }
  for (const auto& [attribute, value] : member.xattrs)
    put_pax_record(records_, "SCHILY.xattr." + escaped_attribute_name(attribute), value);
  if (!member.acl_access.empty()) put_pax_record(records_, "SCHILY.acl.access", member.acl_access);
  if (!member.acl_default.empty()) put_pax_record(records_, "SCHILY.acl.default", member.acl_default);
}

Result<void> PaxWriter::data(ByteSpan bytes) {
  if (bytes.size() > left_) return fail(Errc::invalid_argument, path_ + ": more data than the member's size");
  left_ -= bytes.size();
  if (!sparse_) {
    if (const auto written = write(bytes); !written) return written;
  }
  while (sparse_ && !bytes.empty()) {
    while (next_extent_ < extents_.size() && position_ >= extents_[next_extent_].offset + extents_[next_extent_].size)
      ++next_extent_;
    // What lies in a hole is zeros, and left out.
    const DataExtent here = next_extent_ < extents_.size() ? extents_[next_extent_] : DataExtent{UINT64_MAX, 0};
    const bool hole = position_ < here.offset;
    const std::uint64_t end = hole ? here.offset : here.offset + here.size;
    const ByteSpan part = bytes.first(static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), end - position_)));
    if (!hole) {
      if (const auto written = write(part); !written) return written;
    }
    position_ += part.size();
    bytes = bytes.subspan(part.size());
  }
  return left_ == 0 ? pad() : Result<void>{};
}

Result<void> PaxWriter::zeros(std::uint64_t count) {
  while (count > 0) {
    const std::uint64_t part = std::min<std::uint64_t>(count, kZeros.size());
    if (const auto written = data(ByteSpan{kZeros}.first(static_cast<std::size_t>(part))); !written) return written;
    count -= part;
  }
  return {};
}

Result<bool> PaxWriter::file(int file) {
  assert(!sparse_);
  if (const auto flushed = flush(); !flushed) return fail(flushed.error());
  const auto sent = out_.send(file, left_);
  if (!sent) return fail(sent.error(), path_);
  left_ -= *sent;
  const bool whole = left_ == 0;
  if (const auto ended = whole ? pad() : zeros(left_); !ended) return fail(ended.error());
  return whole;
}

Result<void> PaxWriter::finish() {
  assert(left_ == 0);
  if (const auto written = write(ByteSpan{kZeros}.first(2 * kTarBlock)); !written) return written;
  return flush();
}

Result<void> PaxWriter::pad() {
  return write(ByteSpan{kZeros}.first(std::exchange(padding_, 0)));
}

Result<void> PaxWriter::put_block(const TarHeader& header) {
  const auto block = header.encode();
  return write(as_bytes({block.data(), block.size()}));
}

Result<void> PaxWriter::write(ByteSpan bytes) {
  if (bytes.size() > kBufferBytes - buffer_.size() || bytes.size() >= kDirectBytes) {
    if (const auto flushed = flush(); !flushed) return flushed;
  }
  if (bytes.size() >= kDirectBytes) return out_.write(bytes);
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  return {};
}

Result<void> PaxWriter::flush() {
  if (buffer_.empty()) return {};
  const auto written = out_.write(buffer_);
  buffer_.clear();
  return written;
}

}  // namespace stellarium::fs
