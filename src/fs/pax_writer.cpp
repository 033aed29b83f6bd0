#include "fs/pax_writer.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <array>
#include <optional>

#include "fs/utf8_locale.h"

namespace stellarium::fs {
namespace {

constexpr int kBlockBytes = 256 << 10;  // libarchive hands larger writes through without copying them
constexpr std::array<std::byte, 64 << 10> kZeros{};

struct ArchiveFree {
  void operator()(archive* a) const { archive_write_free(a); }
};
struct EntryFree {
  void operator()(archive_entry* e) const { archive_entry_free(e); }
};

// pax wants "-1.25" for a quarter of a second before -1 (sign and magnitude), while libarchive prints seconds and
// nanoseconds as they are: so it gets -1 and 250,000,000. Times between -1 and 0 cannot be said through it; they become
// -1.
void set_mtime(archive_entry* entry, const Timespec& time) {
  if (time.seconds >= 0 || time.nanoseconds == 0) return archive_entry_set_mtime(entry, time.seconds, time.nanoseconds);
  if (time.seconds == -1) return archive_entry_set_mtime(entry, -1, 0);
  archive_entry_set_mtime(entry, time.seconds + 1, 1'000'000'000 - static_cast<long>(time.nanoseconds));
}

}  // namespace

struct PaxWriter::Impl {
  explicit Impl(ByteOutput& output) : out{output} {}

  static la_ssize_t write(archive* a, void* self, const void* data, std::size_t size) {
    auto& impl = *static_cast<Impl*>(self);
    if (impl.given_up) return static_cast<la_ssize_t>(size);
    const Result<void> written = impl.out.write({static_cast<const std::byte*>(data), size});
    if (!written) {
      impl.error = written.error();
      archive_set_error(a, EIO, "output failed");
      return -1;
    }
    return static_cast<la_ssize_t>(size);
  }

  Result<void> check(la_ssize_t returned, const std::string& doing) {
    if (error) return fail(*error);
    if (returned < ARCHIVE_WARN) return fail(Errc::invalid_argument, doing + ": " + archive_error_string(writer.get()));
    return {};
  }

  Utf8Locale locale;  // first: the writer reads it when it is made and while it writes names
  ByteOutput& out;
  std::optional<Error> error;
  bool given_up = false;
  std::unique_ptr<archive, ArchiveFree> writer;
  std::unique_ptr<archive_entry, EntryFree> entry{archive_entry_new()};
  std::string path;
};

PaxWriter::PaxWriter(ByteOutput& out) : impl_{std::make_unique<Impl>(out)} {
  impl_->writer.reset(archive_write_new());
  archive* const writer = impl_->writer.get();
  archive_write_set_format_pax(writer);
  // Every attribute once: GNU tar knows the SCHILY form only, and warns about the other one.
  archive_write_set_format_option(writer, "pax", "xattrheader", "SCHILY");
  archive_write_set_bytes_per_block(writer, kBlockBytes);
  archive_write_set_bytes_in_last_block(writer, 1);
  archive_write_open(writer, impl_.get(), nullptr, &Impl::write, nullptr);
}

PaxWriter::~PaxWriter() {
  // Without finish() the archive was given up: no end mark must make the cut stream look whole. (archive_write_fail
  // would do that too, but then libarchive frees the writer without closing it and leaks its block.)
  impl_->given_up = true;
}

Result<void> PaxWriter::begin(const PaxMember& member) {
  archive_entry* const entry = impl_->entry.get();
  archive_entry_clear(entry);
  impl_->path = member.path;
  archive_entry_set_pathname(entry, member.path.c_str());
  archive_entry_set_mode(entry, member.mode);
  archive_entry_set_uid(entry, member.uid);
  archive_entry_set_gid(entry, member.gid);
  set_mtime(entry, member.mtime);
  archive_entry_set_size(entry, 0);
  if (!member.hard_link.empty()) {
    archive_entry_set_hardlink(entry, member.hard_link.c_str());
    return impl_->check(archive_write_header(impl_->writer.get(), entry), member.path);
  }
  if (!member.symlink.empty()) archive_entry_set_symlink(entry, member.symlink.c_str());
  if (S_ISCHR(member.mode) || S_ISBLK(member.mode)) archive_entry_set_rdev(entry, member.rdev);
  if (S_ISREG(member.mode)) archive_entry_set_size(entry, static_cast<la_int64_t>(member.size));
  for (const auto& [name, value] : member.xattrs) {
    archive_entry_xattr_add_entry(entry, name.c_str(), value.data(), value.size());
  }
  if (!member.acl_access.empty()) {
    archive_entry_acl_from_text(entry, member.acl_access.c_str(), ARCHIVE_ENTRY_ACL_TYPE_ACCESS);
  }
  if (!member.acl_default.empty()) {
    archive_entry_acl_from_text(entry, member.acl_default.c_str(), ARCHIVE_ENTRY_ACL_TYPE_DEFAULT);
  }
  if (member.sparse) {
    for (const DataExtent& extent : member.extents) {
      archive_entry_sparse_add_entry(entry, static_cast<la_int64_t>(extent.offset),
                                     static_cast<la_int64_t>(extent.size));
    }
    // A file that is one hole needs an (empty) extent, or libarchive takes it for dense.
    if (member.extents.empty()) archive_entry_sparse_add_entry(entry, static_cast<la_int64_t>(member.size), 0);
  }
  return impl_->check(archive_write_header(impl_->writer.get(), entry), member.path);
}

Result<void> PaxWriter::data(ByteSpan bytes) {
  while (!bytes.empty()) {
    const la_ssize_t n = archive_write_data(impl_->writer.get(), bytes.data(), bytes.size());
    if (const auto checked = impl_->check(n, impl_->path); !checked) return checked;
    if (n == 0) return fail(Errc::invalid_argument, impl_->path + ": more data than the member's size");
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return {};
}

Result<void> PaxWriter::zeros(std::uint64_t count) {
  while (count > 0) {
    const std::uint64_t part = std::min<std::uint64_t>(count, kZeros.size());
    if (const auto written = data(ByteSpan{kZeros}.first(part)); !written) return written;
    count -= part;
  }
  return {};
}

Result<void> PaxWriter::finish() {
  return impl_->check(archive_write_close(impl_->writer.get()), "ending the archive");
}

}  // namespace stellarium::fs
