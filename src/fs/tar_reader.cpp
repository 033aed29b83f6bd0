#include "fs/tar_reader.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "fs/archive_reader.h"
#include "fs/buffered_input.h"
#include "fs/pax_records.h"
#include "fs/tar_header.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kMaxRecords = 64u << 10;  // of an extended header; has to fit into the buffer
constexpr std::size_t kMaxLongName = 8u << 10;
constexpr int kOthersInARow = 16;  // then libarchive reads the rest: beginning anew for each would take twice as long
constexpr std::size_t kOnePiece = BufferedInput::kBytes / 2;
constexpr std::uint64_t kMaxData = INT64_MAX - kTarBlock;

/// The headers of one member, in the order in which they come; all texts point into the buffer.
struct Headers {
  TarHeader main;
  std::optional<PaxRecords> records;
  std::optional<std::string_view> long_name, long_link;
  std::size_t bytes = 0;  // of all of them
};

/// What libarchive is given to read: `before`, and then one member's part of the stream and the mark of an archive's
/// end, or, without a size, all that comes.
class Passage final : public ByteInput {
 public:
  Passage(BufferedInput& input, std::string before, std::optional<std::uint64_t> size)
      : input_{input}, before_{std::move(before)}, left_{size} {}
  Result<std::size_t> read(MutableByteSpan out) override {
    if (!before_.empty()) return take(before_, out);
    if (left_ == 0) return take(end_, out);
    if (left_) out = out.first(static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), *left_)));
    const Result<std::size_t> got = input_.read(out);
    if (got && left_) *left_ -= *got;
    return got;
  }
  /// Of the one member; nothing if this is all that comes.
  std::optional<std::uint64_t> left() const { return left_; }

 private:
  static std::size_t take(std::string& from, MutableByteSpan out) {
    const std::size_t count = std::min(out.size(), from.size());
    std::ranges::copy(as_bytes(from).first(count), out.begin());
    from.erase(0, count);
    return count;
  }

  BufferedInput& input_;
  std::string before_;
  std::optional<std::uint64_t> left_;
  std::string end_ = std::string(2 * kTarBlock, '\0');
};

/// A pax archive's first member. After one, libarchive takes a hard link's data for its own even if they look like
/// members; in a ustar archive it does not.
std::string pax_member() {
  std::string records;
  put_pax_record(records, "comment", "pax");
  const auto extended = TarHeader{.name = "pax", .size = records.size(), .type = 'x'}.encode();
  const auto member = TarHeader{.name = "pax"}.encode();
  records.append(tar_padding(records.size()), '\0');
  return std::string{extended.data(), extended.size()} + records + std::string{member.data(), member.size()};
}

std::optional<std::uint32_t> type_bits(char type) {
  switch (type) {
    case '0':
      return S_IFREG;
    case '1':
      return 0;  // a hard link's is not told
    case '2':
      return S_IFLNK;
    case '3':
      return S_IFCHR;
    case '4':
      return S_IFBLK;
    case '5':
      return S_IFDIR;
    case '6':
      return S_IFIFO;
    default:
      return {};
  }
}

std::string path_of(const Headers& headers) {
  if (headers.records && headers.records->path) return *headers.records->path;
  if (headers.long_name) return std::string{*headers.long_name};
  std::string path{headers.main.prefix};
  if (!path.empty() && !path.ends_with('/')) path += '/';
  path += headers.main.name;
  return path;
}

std::string link_of(const Headers& headers) {
  if (headers.records && headers.records->link) return *headers.records->link;
  return std::string{headers.long_link ? *headers.long_link : headers.main.link};
}

std::uint64_t size_of(const Headers& headers) {
  return headers.records && headers.records->size ? *headers.records->size : headers.main.size;
}

bool names_folder(const Headers& headers) {
  return (headers.records && headers.records->names_folder) || is_folder_name(path_of(headers));
}

/// Nothing if it is not a plain one.
std::optional<ArchiveMember> member_of(const Headers& headers) {
  const TarHeader& main = headers.main;
  if (headers.records && headers.records->others) return {};
  ArchiveMember member;
  member.path = path_of(headers);
  const bool folder = main.type == '5';
  if (member.path.empty() || (is_folder_name(member.path) && !folder)) return {};  // then it is one for libarchive
  const std::uint32_t type = *type_bits(main.type);
  member.mode = main.mode | type;
  member.uid = static_cast<std::int64_t>(main.uid);
  member.gid = static_cast<std::int64_t>(main.gid);
  member.size = static_cast<std::int64_t>(size_of(headers));
  member.mtime.seconds = static_cast<std::int64_t>(main.mtime);
  if (S_ISCHR(type) || S_ISBLK(type)) member.rdev = makedev(main.device_major, main.device_minor);
  if (main.type == '1' || main.type == '2') {
    std::string link = link_of(headers);
    if (link.empty()) return {};
    if (main.type == '1') {
      member.hard_link = std::move(link);
    } else {
      member.symlink = std::move(link);
    }
  } else if (headers.long_link || (headers.records && headers.records->link)) {
    return {};
  }
  if (headers.records) {
    const PaxRecords& records = *headers.records;
    if (records.uid) member.uid = static_cast<std::int64_t>(*records.uid);
    if (records.gid) member.gid = static_cast<std::int64_t>(*records.gid);
    if (records.mtime) member.mtime = *records.mtime;
    if (records.btime) member.btime = *records.btime;
    member.xattrs = records.xattrs;
  }
  member.atime = headers.records && headers.records->atime ? *headers.records->atime : member.mtime;
  member.ctime = headers.records && headers.records->ctime ? *headers.records->ctime : member.mtime;
  return member;
}

}  // namespace

struct TarReader::Impl {
  explicit Impl(ByteInput& stream) : input{stream} {}

  struct Other {
    Other(BufferedInput& input, std::string before, std::optional<std::uint64_t> size, ArchiveReader::Expect expect)
        : passage{input, std::move(before), size}, archive{passage, expect} {}
    Passage passage;
    ArchiveReader archive;
  };

  /// Nothing if they are not all known and whole. Takes nothing: `input` is as it was, but filled.
  Result<std::optional<Headers>> read_headers() {
    // Places first and texts at the end: waiting for more may move what came before.
    struct Place {
      std::size_t at = 0, size = 0;
    };
    Headers headers;
    Place records, name, link;
    for (int number = 0; number < 3; ++number) {
      const Result<bool> there = input.wait_for(headers.bytes + kTarBlock);
      if (!there) return fail(there.error());
      if (!*there) return std::nullopt;
      const std::string_view bytes = as_text(input.ready());
      const auto header = TarHeader::decode(bytes.substr(headers.bytes, kTarBlock));
      if (!header) return std::nullopt;
      is_tar = true;
      is_pax |= header->type == 'x';
      headers.bytes += kTarBlock;
      if (type_bits(header->type)) {
        headers.main = *header;
        if (header->gnu) is_pax = false;
        const auto text = [&](const Place& place) { return bytes.substr(place.at, place.size); };
        const auto name_in = [&](const Place& place) { return text(place).substr(0, text(place).find('\0')); };
        if (records.size != 0) headers.records = read_pax_records(text(records));
        if (records.size != 0 && !headers.records) return std::nullopt;
        if (name.size != 0) headers.long_name = name_in(name);
        if (link.size != 0) headers.long_link = name_in(link);
        return headers;
      }
      Place* const place = header->type == 'x'   ? &records
                           : header->type == 'L' ? &name
                           : header->type == 'K' ? &link
                                                 : nullptr;
      // Each once, and records alone.
      if (place == nullptr || place->size != 0 || records.size != 0 || (place == &records && number != 0))
        return std::nullopt;
      if (header->size == 0 || header->size > (place == &records ? kMaxRecords : kMaxLongName)) return std::nullopt;
      *place = {headers.bytes, static_cast<std::size_t>(header->size)};
      headers.bytes += place->size + tar_padding(place->size);
    }
    return std::nullopt;
  }

  Result<bool> at_end() {
    const Result<bool> there = input.wait_for(kTarBlock);
    if (!there) return there;
    if (!is_tar) return false;
    if (!*there && input.ready().empty())
      return fail(Errc::invalid_argument, "the archive ends without its end mark: it was cut off");
    return *there && all_zero(input.ready().first(kTarBlock));
  }

  /// About one member, or without a size about all that come.
  Result<std::optional<ArchiveMember>> ask_other(std::optional<std::uint64_t> size) {
    ++others;
    const std::uint64_t at = input.position();
    const bool remind = is_pax && !size;
    other.emplace(input, remind ? pax_member() : std::string{}, size,
                  is_tar ? ArchiveReader::Expect::plain_tar : ArchiveReader::Expect::anything);
    auto member = other->archive.next();
    if (remind && member) member = other->archive.next();
    if (!member && is_tar) return fail(member.error(), "the header at byte " + std::to_string(at));
    return member;
  }

  Result<void> skip_member() {
    std::uint64_t skipped = std::exchange(left, 0) + std::exchange(padding, 0);
    if (other) skipped = other->passage.left().value();
    other.reset();
    const Result<bool> whole = input.skip(skipped);
    if (!whole) return fail(whole.error());
    return *whole ? Result<void>{} : cut_off();
  }

  static tl::unexpected<Error> cut_off() {
    return fail(Errc::invalid_argument, "the archive ends within a file: it was cut off");
  }

  BufferedInput input;
  bool is_tar = false, is_pax = false;   // a header was understood; a pax header
  std::uint64_t left = 0, position = 0;  // of the member's data
  std::size_t padding = 0;               // behind it
  std::optional<Other> other;
  int others_in_a_row = 0;
  std::uint64_t others = 0;
};

TarReader::TarReader(ByteInput& input) : impl_{std::make_unique<Impl>(input)} {}

TarReader::~TarReader() = default;

std::uint64_t TarReader::stream_bytes() const {
  return impl_->input.bytes_read();
}

std::uint64_t TarReader::others() const {
  return impl_->others;
}

Result<std::optional<ArchiveMember>> TarReader::next() {
  Impl& me = *impl_;
  if (me.other && !me.other->passage.left()) return me.other->archive.next();
  if (Result<void> skipped = me.skip_member(); !skipped) return fail(skipped.error());
  const Result<bool> end = me.at_end();
  if (!end) return fail(end.error());
  if (*end) return std::nullopt;
  const Result<std::optional<Headers>> read = me.read_headers();
  if (!read) return fail(read.error());
  if (!*read) return me.ask_other({});
  const Headers& headers = **read;
  // libarchive would take the other half from whichever member had one before.
  if (headers.records && headers.records->half_version)
    return fail(Errc::invalid_argument, "member " + path_of(headers) +
                                            ": half a version of a sparse map (GNU.sparse.major and GNU.sparse.minor "
                                            "belong together)");
  const std::uint64_t size = size_of(headers);
  // Archivers do not agree on what follows in these cases; libarchive looks at it.
  if (size > kMaxData || (size != 0 && (headers.main.type != '0' || names_folder(headers)))) return me.ask_other({});
  std::optional<ArchiveMember> member = member_of(headers);
  if (!member && ++me.others_in_a_row > kOthersInARow) return me.ask_other({});
  if (!member) return me.ask_other(headers.bytes + size + tar_padding(size));
  me.others_in_a_row = 0;
  me.input.take(headers.bytes);
  me.left = size;
  me.padding = tar_padding(size);
  me.position = 0;
  return member;
}

Result<std::optional<ArchiveBlock>> TarReader::data() {
  Impl& me = *impl_;
  if (me.other) return me.other->archive.data();
  if (me.left == 0) return std::nullopt;
  // In one piece, if it is that small, for who can use that.
  const Result<bool> more = me.input.wait_for(me.position == 0 && me.left <= kOnePiece ? me.left : 1);
  if (!more) return fail(more.error());
  if (!*more) return Impl::cut_off();
  const ByteSpan ready = me.input.ready();
  const ArchiveBlock block{me.position,
                           ready.first(static_cast<std::size_t>(std::min<std::uint64_t>(me.left, ready.size())))};
  me.input.take(block.bytes.size());
  me.left -= block.bytes.size();
  me.position += block.bytes.size();
  return block;
}

Result<void> TarReader::drain() {
  Impl& me = *impl_;
  if (me.other) return me.other->archive.drain();
  while (true) {
    const Result<bool> more = me.input.wait_for(1);
    if (!more) return fail(more.error());
    if (!*more) return {};
    me.input.take(me.input.ready().size());
  }
}

}  // namespace stellarium::fs
