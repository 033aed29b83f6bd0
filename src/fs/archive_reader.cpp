#include "fs/archive_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "fs/pax_records.h"
#include "fs/posix_acl.h"
#include "fs/tar_header.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kReadSize = 256u << 10;  // what was read is still in the cache when it is hashed and cut
constexpr std::string_view kIgnoring = "Ignoring ";

struct ReadFree {
  void operator()(archive* a) const { archive_read_free(a); }
};

/// In the plain C locale libarchive cannot convert names that are not ASCII and falls back to the bytes of the archive,
/// which is what we want. In a UTF-8 locale it would compose accents (NFC), so that two files of a tree could become
/// one.
class PlainLocale {
 public:
  PlainLocale() : plain_{::newlocale(LC_CTYPE_MASK, "C", nullptr)}, before_{::uselocale(plain_)} {}
  ~PlainLocale() {
    ::uselocale(before_);
    ::freelocale(plain_);
  }
  PlainLocale(const PlainLocale&) = delete;
  PlainLocale& operator=(const PlainLocale&) = delete;

 private:
  locale_t plain_, before_;
};

std::string text_or_empty(const char* text) {
  return text == nullptr ? std::string{} : std::string{text};
}

// libarchive reads "-1.25" as one second before 1970 and a quarter of a second after that.
Timespec time_of(std::int64_t seconds, long nanoseconds) {
  if (nanoseconds < 0 || nanoseconds >= 1'000'000'000) nanoseconds = 0;
  if (seconds < 0 && nanoseconds > 0) return {seconds - 1, static_cast<std::uint32_t>(1'000'000'000 - nanoseconds)};
  return {seconds, static_cast<std::uint32_t>(nanoseconds)};
}

// Both forms of an attribute may be there (LIBARCHIVE.xattr and SCHILY.xattr): the later one stands.
void set_xattr(Xattrs& xattrs, std::string_view name, std::string value) {
  const auto known = std::ranges::find(xattrs, name, &Xattrs::value_type::first);
  if (known != xattrs.end()) {
    known->second = std::move(value);
  } else {
    xattrs.emplace_back(name, std::move(value));
  }
}

}  // namespace

struct ArchiveReader::Impl {
  explicit Impl(ByteInput& stream) : input{stream}, buffer(kReadSize) {}

  static la_ssize_t read(archive* a, void* self, const void** data) {
    auto& impl = *static_cast<Impl*>(self);
    const Result<std::size_t> got = impl.input.read(impl.buffer);
    if (!got) {
      impl.error = got.error();
      archive_set_error(a, EIO, "input failed");
      return -1;
    }
    *data = impl.buffer.data();
    return static_cast<la_ssize_t>(*got);
  }

  tl::unexpected<Error> failure() const {
    if (error) return fail(*error);
    std::string why = text_or_empty(archive_error_string(reader.get()));
    if (why.starts_with(kIgnoring)) why.erase(0, kIgnoring.size());  // libarchive would go on, we do not
    return fail(Errc::invalid_argument, why.empty() ? "malformed archive" : why);
  }

  // A warning means that something was malformed and left out, except where a name merely is not in the locale's
  // character set.
  bool harmless_warning() const {
    return text_or_empty(archive_error_string(reader.get())).find("can't be converted from") != std::string::npos;
  }

  Result<void> add_acl(archive_entry* entry, int type, std::string_view attribute, Xattrs& xattrs) const {
    if (archive_entry_acl_count(entry, type) == 0) return {};
    if (std::ranges::find(xattrs, attribute, &Xattrs::value_type::first) != xattrs.end())
      return {};  // the raw form says the same, exactly
    const int style = type | ARCHIVE_ENTRY_ACL_STYLE_EXTRA_ID | ARCHIVE_ENTRY_ACL_STYLE_SEPARATOR_COMMA;
    const std::unique_ptr<char, decltype(&std::free)> text{archive_entry_acl_to_text(entry, nullptr, style),
                                                           &std::free};
    Result<std::string> binary = acl_from_text(text_or_empty(text.get()));
    if (!binary) return fail(binary.error());
    xattrs.emplace_back(attribute, std::move(*binary));
    return {};
  }

  Result<void> take_xattrs(archive_entry* entry, ArchiveMember& member) const {
    archive_entry_xattr_reset(entry);
    const char* name = nullptr;
    const void* value = nullptr;
    std::size_t size = 0;
    while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
      set_xattr(member.xattrs, plain_attribute_name(text_or_empty(name)),
                std::string{static_cast<const char*>(value), size});
    }
    member.nfs4_acl = (archive_entry_acl_types(entry) & ARCHIVE_ENTRY_ACL_TYPE_NFS4) != 0;
    if (Result<void> added = add_acl(entry, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, kAclAccess, member.xattrs); !added)
      return added;
    if (Result<void> added = add_acl(entry, ARCHIVE_ENTRY_ACL_TYPE_DEFAULT, kAclDefault, member.xattrs); !added)
      return added;
    for (const auto& [attribute, binary] : member.xattrs) {
      if (attribute != kAclAccess && attribute != kAclDefault) continue;
      const Result<std::uint32_t> bits = acl_permissions(binary);
      if (!bits) return fail(Errc::invalid_argument, attribute + ": " + bits.error().context);
      // libarchive puts the owning group's entry into the mode; stat(2) shows the mask there.
      if (attribute == kAclAccess) member.mode = (member.mode & ~0777u) | *bits;
    }
    return {};
  }

  void take_times(archive_entry* entry, ArchiveMember& member) const {
    member.mtime = time_of(archive_entry_mtime(entry), archive_entry_mtime_nsec(entry));
    member.atime = member.ctime = member.mtime;
    if (archive_entry_atime_is_set(entry))
      member.atime = time_of(archive_entry_atime(entry), archive_entry_atime_nsec(entry));
    if (archive_entry_ctime_is_set(entry))
      member.ctime = time_of(archive_entry_ctime(entry), archive_entry_ctime_nsec(entry));
    if (archive_entry_birthtime_is_set(entry))
      member.btime = time_of(archive_entry_birthtime(entry), archive_entry_birthtime_nsec(entry));
  }

  Result<ArchiveMember> take(archive_entry* entry) const {
    ArchiveMember member;
    member.path = text_or_empty(archive_entry_pathname(entry));
    member.mode = archive_entry_mode(entry);
    member.uid = archive_entry_uid(entry);
    member.gid = archive_entry_gid(entry);
    member.size = archive_entry_size(entry);
    if (S_ISCHR(member.mode) || S_ISBLK(member.mode)) {
      member.rdev = makedev(static_cast<unsigned>(archive_entry_rdevmajor(entry)),
                            static_cast<unsigned>(archive_entry_rdevminor(entry)));
    }
    if (const char* target = archive_entry_hardlink(entry)) member.hard_link = target;
    member.symlink = text_or_empty(archive_entry_symlink(entry));
    take_times(entry, member);
    if (Result<void> taken = take_xattrs(entry, member); !taken) return fail(taken.error(), member.path);
    return member;
  }

  PlainLocale locale;  // first: libarchive looks at it while it reads names
  ByteInput& input;
  std::vector<std::byte> buffer;
  std::optional<Error> error;  // of the input
  std::unique_ptr<archive, ReadFree> reader{archive_read_new()};
  bool opened = false;
};

ArchiveReader::ArchiveReader(ByteInput& input, Expect expect) : impl_{std::make_unique<Impl>(input)} {
  archive* const reader = impl_->reader.get();
  if (expect == Expect::plain_tar) {
    archive_read_set_format(reader, ARCHIVE_FORMAT_TAR);
    return;
  }
  // Every filter that libarchive decodes itself; "all" would also run programs found in PATH.
  archive_read_support_filter_bzip2(reader);
  archive_read_support_filter_compress(reader);
  archive_read_support_filter_gzip(reader);
  archive_read_support_filter_lz4(reader);
  archive_read_support_filter_lzip(reader);
  archive_read_support_filter_lzma(reader);
  archive_read_support_filter_xz(reader);
  archive_read_support_filter_zstd(reader);
  // No other format: cpio's headers would make libarchive allocate what they declare.
  archive_read_support_format_tar(reader);
}

ArchiveReader::~ArchiveReader() = default;

Result<std::optional<ArchiveMember>> ArchiveReader::next() {
  archive* const reader = impl_->reader.get();
  if (!impl_->opened) {
    impl_->opened = true;
    if (archive_read_open(reader, impl_.get(), nullptr, &Impl::read, nullptr) != ARCHIVE_OK) return impl_->failure();
  }
  archive_entry* entry = nullptr;
  archive_clear_error(reader);
  const int outcome = archive_read_next_header(reader, &entry);
  if (outcome == ARCHIVE_EOF) {
    // libarchive takes a tar that just stops for one that ends: the mark, a block of zeros, must have been read.
    if (archive_filter_bytes(reader, 0) - archive_read_header_position(reader) < static_cast<std::int64_t>(kTarBlock)) {
      return fail(Errc::invalid_argument, "the archive ends without its end mark: it was cut off");
    }
    return std::nullopt;
  }
  if (outcome != ARCHIVE_OK && !(outcome == ARCHIVE_WARN && impl_->harmless_warning())) {
    Error error = impl_->failure().value();
    if (entry == nullptr || archive_entry_pathname(entry) == nullptr || impl_->error) return fail(std::move(error));
    return fail(std::move(error), archive_entry_pathname(entry));
  }
  Result<ArchiveMember> member = impl_->take(entry);
  if (!member) return fail(member.error());
  return std::move(*member);
}

Result<std::optional<ArchiveBlock>> ArchiveReader::data() {
  const void* bytes = nullptr;
  std::size_t size = 0;
  la_int64_t offset = 0;
  const int outcome = archive_read_data_block(impl_->reader.get(), &bytes, &size, &offset);
  if (outcome == ARCHIVE_EOF) return std::nullopt;
  if (outcome < ARCHIVE_OK) return impl_->failure();
  if (offset < 0) return fail(Errc::invalid_argument, "data at a negative offset");
  return ArchiveBlock{static_cast<std::uint64_t>(offset), {static_cast<const std::byte*>(bytes), size}};
}

Result<void> ArchiveReader::drain() {
  while (true) {
    const Result<std::size_t> got = impl_->input.read(impl_->buffer);
    if (!got) return fail(got.error());
    if (*got == 0) return {};
  }
}

}  // namespace stellarium::fs
