#include "fs/names_journal.h"

#include <fcntl.h>
#include <sys/random.h>

#include <algorithm>

#include "fs/time_codec.h"

namespace stellarium::fs {
namespace {

constexpr std::string_view kJournalMagic = "STLRNAMS";
constexpr std::uint32_t kJournalVersion = 2;       // 1 had no clones and is read, too
constexpr std::uint32_t kRecordMark = 0x4e524c53;  // "SLRN": where to go on behind damage
constexpr std::size_t kFrame = 16;                 // mark 4, payload size 4, checksum 8
constexpr std::size_t kMaxText = 1024;             // of source and detail

// Covers the journal's uuid too, so that a record of another journal is none of ours.
std::uint64_t checksum(const NamesJournal::Uuid& uuid, std::string_view payload) {
  cas::Hasher hasher;
  hasher.update(uuid);
  hasher.update(as_bytes(payload));
  return load_le<std::uint64_t>(hasher.finish().bytes.data());
}

void put_text(std::string& out, std::string_view text) {
  text = text.substr(0, kMaxText);
  put_varint(out, text.size());
  out += text;
}
std::string take_text(ByteReader& reader) {
  return std::string{reader.text(reader.varint())};
}

void put_name(std::string& out, const ImageName& name) {
  put_text(out, name.name);
  put_text(out, name.tag);
}

// False if the bytes are no name that a user could have given.
bool take_name(ByteReader& reader, ImageName& name) {
  name.name = take_text(reader);
  name.tag = take_text(reader);
  const Result<ImageName> parsed = ImageName::parse(name.text());
  return parsed && *parsed == name;
}

std::string encode_payload(const JournalRecord& record) {
  std::string out;
  put_varint(out, record.sequence);
  out.push_back(static_cast<char>(record.kind));
  put_time(out, record.when);
  put_name(out, record.name);
  put_text(out, record.detail);
  if (record.kind == JournalRecord::Kind::rename) put_name(out, record.to);
  if (record.kind == JournalRecord::Kind::clone || record.kind == JournalRecord::Kind::snapshot) {
    put_varint(out, record.image.layer);
    put_varint(out, record.image.tree);
  }
  if (record.kind == JournalRecord::Kind::publish) {
    const Image& image = record.image;
    put_varint(out, image.layer);
    put_varint(out, image.tree);
    out += image.manifest.text();
    put_varint(out, image.manifest_size);
    put_varint(out, image.files);
    put_varint(out, image.bytes);
    put_time(out, image.created);
    put_text(out, image.source);
  }
  return out;
}

bool take_u32(ByteReader& reader, std::uint32_t& value) {
  const std::uint64_t wide = reader.varint();
  value = static_cast<std::uint32_t>(wide);
  return wide <= 0xffffffff;
}

bool decode_payload(std::string_view payload, JournalRecord& record) {
  ByteReader reader{as_bytes(payload)};
  record.sequence = reader.varint();
  record.kind = static_cast<JournalRecord::Kind>(reader.le<std::uint8_t>());
  record.when = take_time(reader);
  bool ok = take_name(reader, record.name);
  record.detail = take_text(reader);
  switch (record.kind) {
    case JournalRecord::Kind::rename:
      ok = take_name(reader, record.to) && ok;
      break;
    case JournalRecord::Kind::remove:
    case JournalRecord::Kind::remove_clone:
    case JournalRecord::Kind::remove_snapshot:
      break;
    case JournalRecord::Kind::clone:
    case JournalRecord::Kind::snapshot:
      ok = take_u32(reader, record.image.layer) && ok;
      ok = take_u32(reader, record.image.tree) && ok;
      break;
    case JournalRecord::Kind::publish: {
      Image& image = record.image;
      image.name = record.name;
      ok = take_u32(reader, image.layer) && ok;
      ok = take_u32(reader, image.tree) && ok;
      const auto manifest = cas::Hash::from_bytes(reader.take(cas::Hash::kSize));
      if (manifest) image.manifest = *manifest;
      image.manifest_size = reader.varint();
      image.files = reader.varint();
      image.bytes = reader.varint();
      image.created = take_time(reader);
      image.source = take_text(reader);
      ok = ok && valid_time(image.created) && image.layer != 0 && image.tree != 0;
      break;
    }
    default:
      return false;
  }
  return ok && valid_time(record.when) && reader.at_end();
}

// The record at `at`, if there is one, and how long it is.
std::size_t take_record(const NamesJournal::Uuid& uuid, std::string_view bytes, std::size_t at, JournalRecord& record) {
  ByteReader frame{as_bytes(bytes.substr(at))};
  if (frame.le<std::uint32_t>() != kRecordMark) return 0;
  const auto size = frame.le<std::uint32_t>();
  const auto sum = frame.le<std::uint64_t>();
  if (size > NamesJournal::kMaxPayload) return 0;
  const std::string_view payload = frame.text(size);
  if (!frame.ok() || checksum(uuid, payload) != sum || !decode_payload(payload, record)) return 0;
  return kFrame + size;
}

}  // namespace

ReplayedNames replay(const std::vector<JournalRecord>& records) {
  ReplayedNames names;
  for (const JournalRecord& record : records) {
    switch (record.kind) {
      case JournalRecord::Kind::publish:
        names[record.name] = record.image;
        break;
      case JournalRecord::Kind::remove:
        names.erase(record.name);
        break;
      case JournalRecord::Kind::rename:
        if (auto node = names.extract(record.name); !node.empty()) {
          node.mapped().name = record.to;
          names[record.to] = node.mapped();
        }
        break;
      case JournalRecord::Kind::clone:
      case JournalRecord::Kind::remove_clone:
      case JournalRecord::Kind::snapshot:
      case JournalRecord::Kind::remove_snapshot:
        break;
    }
  }
  return names;
}

bool is_of_clone(JournalRecord::Kind kind) {
  return kind >= JournalRecord::Kind::clone;
}

ReplayedClones replay_clones(const std::vector<JournalRecord>& records) {
  ReplayedClones clones;
  for (const JournalRecord& record : records) {
    switch (record.kind) {
      case JournalRecord::Kind::clone:
        clones[{record.name.name, {}}] = record;
        break;
      case JournalRecord::Kind::remove_clone:
        clones.erase({record.name.name, {}});
        break;
      case JournalRecord::Kind::snapshot:
        clones[{record.name.name, record.name.tag}] = record;
        break;
      case JournalRecord::Kind::remove_snapshot:
        clones.erase({record.name.name, record.name.tag});
        break;
      case JournalRecord::Kind::publish:
      case JournalRecord::Kind::rename:
      case JournalRecord::Kind::remove:
        break;
    }
  }
  return clones;
}

std::string NamesJournal::encode_header(const Uuid& uuid) {
  std::string out{kJournalMagic};
  put_le<std::uint32_t>(out, kJournalVersion);
  put_le<std::uint32_t>(out, 0);
  put_bytes(out, uuid);
  return out;
}

std::string NamesJournal::encode_record(const Uuid& uuid, const JournalRecord& record) {
  const std::string payload = encode_payload(record);
  std::string out;
  put_le<std::uint32_t>(out, kRecordMark);
  put_le<std::uint32_t>(out, static_cast<std::uint32_t>(payload.size()));
  put_le<std::uint64_t>(out, checksum(uuid, payload));
  out += payload;
  return out;
}

Result<NamesJournal::Parsed> NamesJournal::parse(std::string_view bytes) {
  ByteReader header{as_bytes(bytes)};
  if (header.text(kJournalMagic.size()) != kJournalMagic) return fail(Errc::corrupt, "it is no names journal");
  const auto version = header.le<std::uint32_t>();
  if (header.ok() && (version == 0 || version > kJournalVersion)) {
    return fail(Errc::version, "names journal of version " + std::to_string(version) +
                                   "; this program reads versions up to " + std::to_string(kJournalVersion));
  }
  if (header.le<std::uint32_t>() != 0) return fail(Errc::corrupt, "reserved bytes of its header are not zero");
  Parsed parsed;
  const ByteSpan uuid = header.take(parsed.uuid.size());
  if (!header.ok()) return fail(Errc::corrupt, "its header is cut off");
  std::ranges::copy(uuid, parsed.uuid.begin());
  parsed.end = kHeaderSize;

  std::uint64_t last_sequence = 0;
  for (std::size_t at = kHeaderSize; at < bytes.size();) {
    JournalRecord record;
    const std::size_t size = take_record(parsed.uuid, bytes, at, record);
    if (size == 0) {
      ++at;
      continue;
    }
    if (at != parsed.end) {
      parsed.damage.push_back("bytes " + std::to_string(parsed.end) + " to " + std::to_string(at) + " are unreadable");
    }
    if (record.sequence > last_sequence) {
      last_sequence = record.sequence;
      parsed.records.push_back(std::move(record));
    } else {
      parsed.damage.push_back("the record at byte " + std::to_string(at) + " is older than the one before it");
    }
    at += size;
    parsed.end = at;
  }
  return parsed;
}

Result<NamesJournal> NamesJournal::open(Io& io, const std::filesystem::path& file) {
  Result<UniqueFd> fd = io.open(AT_FDCWD, file.string(), O_RDWR | O_CREAT, 0600);
  if (!fd) return fail(fd.error(), "names journal");
  NamesJournal journal{io, file, std::move(*fd)};
  const Result<std::string> bytes = journal.contents();
  if (!bytes) return fail(bytes.error());
  if (bytes->size() < kHeaderSize) {  // new, or never got as far as being one
    if (Result<void> created = journal.create(); !created) return fail(created.error(), "making " + file.string());
    return journal;
  }
  const Result<Parsed> parsed = parse(*bytes);
  if (!parsed) return fail(parsed.error(), file.string());
  journal.uuid_ = parsed->uuid;
  journal.end_ = parsed->end;
  for (const JournalRecord& record : parsed->records) journal.next_sequence_ = record.sequence + 1;
  if (bytes->substr(0, kHeaderSize) != encode_header(journal.uuid_)) {  // it gets records of the present version
    const std::string header = encode_header(journal.uuid_);
    Result<void> written = io.write_at(journal.fd_.get(), as_bytes(header), 0);
    if (written) written = io.sync_data(journal.fd_.get());
    if (!written) return fail(written.error(), file.string());
  }
  if (parsed->end < bytes->size()) {
    if (Result<void> cut = io.truncate(journal.fd_.get(), parsed->end); !cut) return fail(cut.error(), file.string());
  }
  return journal;
}

Result<void> NamesJournal::create() {
  if (::getrandom(uuid_.data(), uuid_.size(), 0) != static_cast<ssize_t>(uuid_.size())) return fail_errno("getrandom");
  if (Result<void> cut = io_->truncate(fd_.get(), 0); !cut) return cut;
  if (Result<void> written = io_->write_at(fd_.get(), as_bytes(encode_header(uuid_)), 0); !written) return written;
  if (Result<void> synced = io_->sync(fd_.get()); !synced) return synced;
  const Result<UniqueFd> dir =
      io_->open(AT_FDCWD, path_.parent_path().empty() ? "." : path_.parent_path().string(), O_RDONLY | O_DIRECTORY, 0);
  if (!dir) return fail(dir.error());
  end_ = kHeaderSize;
  return io_->sync(dir->get());
}

Result<std::string> NamesJournal::contents() const {
  const Result<struct stat> status = io_->status(fd_.get());
  if (!status) return fail(status.error(), path_.string());
  std::string bytes(static_cast<std::size_t>(status->st_size), '\0');
  const Result<std::size_t> got = io_->read_at(fd_.get(), std::as_writable_bytes(std::span{bytes}), 0);
  if (!got) return fail(got.error(), path_.string());
  bytes.resize(*got);
  return bytes;
}

Result<NamesJournal::Parsed> NamesJournal::read() const {
  const Result<std::string> bytes = contents();
  if (!bytes) return fail(bytes.error());
  Result<Parsed> parsed = parse(*bytes);
  if (!parsed) return fail(parsed.error(), path_.string());
  return parsed;
}

Result<void> NamesJournal::append_all(std::vector<JournalRecord> records, bool sync) {
  std::string bytes;
  std::uint64_t sequence = next_sequence_;
  for (JournalRecord& record : records) {
    record.sequence = sequence++;
    bytes += encode_record(uuid_, record);
  }
  if (bytes.empty()) return {};
  Result<void> done = io_->write_at(fd_.get(), as_bytes(bytes), end_);
  if (done && sync) done = io_->sync_data(fd_.get());
  if (!done) {
    (void)io_->truncate(fd_.get(), end_);  // if that fails too, the next open cuts it or finds it whole
    return fail(done.error(), "writing " + path_.string());
  }
  end_ += bytes.size();
  next_sequence_ = sequence;
  return {};
}

Result<void> NamesJournal::rewrite(const std::vector<JournalRecord>& records) {
  std::string bytes = encode_header(uuid_);
  for (const JournalRecord& record : records) bytes += encode_record(uuid_, record);
  const std::string folder = path_.parent_path().empty() ? "." : path_.parent_path().string();
  const std::string fresh = path_.string() + ".new";
  const auto replace = [&]() -> Result<UniqueFd> {
    auto fd = io_->open(AT_FDCWD, fresh, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (!fd) return fail(fd.error());
    if (auto written = io_->write_at(fd->get(), as_bytes(bytes), 0); !written) return fail(written.error());
    if (auto synced = io_->sync(fd->get()); !synced) return fail(synced.error());
    auto dir = io_->open(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY, 0);
    if (!dir) return fail(dir.error());
    const std::string name = path_.filename().string();
    if (auto moved = io_->rename(dir->get(), name + ".new", name); !moved) return fail(moved.error());
    if (auto synced = io_->sync(dir->get()); !synced) return fail(synced.error());
    return std::move(*fd);
  };
  auto fd = replace();
  if (!fd) return fail(fd.error(), "writing " + path_.string() + " anew");
  fd_ = std::move(*fd);
  end_ = bytes.size();
  return {};
}

}  // namespace stellarium::fs
