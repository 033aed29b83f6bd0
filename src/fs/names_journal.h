#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/io.h"
#include "base/result.h"
#include "fs/catalog.h"

namespace stellarium::fs {

/// One change of names (docs/formats/names-journal.md).
struct JournalRecord {
  enum class Kind : std::uint8_t {
    publish = 1,
    rename = 2,
    remove = 3,
    clone = 4,  ///< or it has a new name; `name` without a tag, image.layer and tree its own, `detail` its origin
    remove_clone = 5,
    snapshot = 6,  ///< `name`: its clone, and as tag its own name
    remove_snapshot = 7,
  };
  std::uint64_t sequence = 0;
  Kind kind = Kind::publish;
  Timespec when;
  ImageName name;
  Image image;         ///< kind publish: what `name` now stands for (image.name is `name`)
  ImageName to;        ///< kind rename
  std::string detail;  ///< for people
};

/// What the names are after all records.
using ReplayedNames = std::map<ImageName, Image>;
ReplayedNames replay(const std::vector<JournalRecord>& records);

/// The same of clones (their name, nothing) and snapshots (their clone's name, their own): the record that made each.
using ReplayedClones = std::map<std::pair<std::string, std::string>, JournalRecord>;
ReplayedClones replay_clones(const std::vector<JournalRecord>& records);
bool is_of_clone(JournalRecord::Kind kind);  ///< or of a snapshot

/// The append-only file in which every change of names is written before the database learns of it; those of images are
/// synced, too. It outlives the database: together with the layer objects it is enough to rebuild every image, and to
/// say which clones are lost.
///
/// Crashes: a record that was only partly written is cut off at the next open. Damage in the middle costs the records
/// it touches,
///          never the ones behind it.
/// Threads: one at a time.
class NamesJournal {
 public:
  using Uuid = std::array<std::byte, 16>;
  struct Parsed {
    Uuid uuid{};
    std::vector<JournalRecord> records;
    std::vector<std::string> damage;  ///< one line per unreadable stretch
    std::uint64_t end = 0;            ///< where the last readable record ends
  };
  static constexpr std::size_t kHeaderSize = 32;
  static constexpr std::size_t kMaxPayload = 4096;

  /// Opens or makes `file`. Errors: version, corrupt (not a journal at all), io.
  static Result<NamesJournal> open(Io& io, const std::filesystem::path& file);

  const Uuid& uuid() const { return uuid_; }
  Result<Parsed> read() const;
  /// Numbers the record and syncs it. After an error nothing of it is in the journal, as far as the file system allows.
  Result<void> append(JournalRecord record) { return append_all({std::move(record)}, true); }
  /// Several, all or none. Without `sync` they survive the death of the process, and the next ones that are synced make
  /// them durable, too.
  Result<void> append_all(std::vector<JournalRecord> records, bool sync);
  /// Replaces all records by some of them, which keep their numbers. Durable on return.
  Result<void> rewrite(const std::vector<JournalRecord>& records);

  static Result<Parsed> parse(std::string_view bytes);  ///< a whole file
  static std::string encode_header(const Uuid& uuid);
  static std::string encode_record(const Uuid& uuid, const JournalRecord& record);

 private:
  NamesJournal(Io& io, std::filesystem::path path, UniqueFd fd)
      : io_{&io}, path_{std::move(path)}, fd_{std::move(fd)} {}
  Result<void> create();
  Result<std::string> contents() const;

  Io* io_;
  std::filesystem::path path_;
  UniqueFd fd_;
  Uuid uuid_{};
  std::uint64_t end_ = 0, next_sequence_ = 1;
};

}  // namespace stellarium::fs
