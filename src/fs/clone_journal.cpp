#include "fs/clone_journal.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <string_view>

#include "fs/clock.h"
#include "fs/families.h"
#include "fs/layer_store.h"
#include "fs/records.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kWorthIt = 1000;  // records of what is gone, beside as many of what is not

/// What the key of a clone or snapshot stands for, in the journal.
struct NamedClone {
  ImageName name;
  bool is_clone = false;
};
NamedClone named_by(std::string_view key) {
  const std::size_t end = key.find('\0');
  if (end + 1 == key.size()) return {{std::string{key.substr(0, end)}}, true};
  return {{std::string{key.substr(0, end)}, std::string{key.substr(end + 1)}}, false};
}

JournalRecord record_of_gone(const ImageName& name, bool is_clone) {
  JournalRecord record;
  record.kind = is_clone ? JournalRecord::Kind::remove_clone : JournalRecord::Kind::remove_snapshot;
  record.when = now();
  record.name = name;
  return record;
}

Result<JournalRecord> record_of_made(std::string_view key, std::string_view value,
                                     const std::function<Result<std::optional<LayerRecord>>(LayerId)>& layer_of) {
  const auto decoded = decode_name(value);
  if (!decoded) return fail(decoded.error(), "a clone");
  const auto layer = layer_of(decoded->layer);
  if (!layer) return fail(layer.error());
  const auto [name, is_clone] = named_by(key);
  JournalRecord record;
  record.kind = is_clone ? JournalRecord::Kind::clone : JournalRecord::Kind::snapshot;
  record.when = now();
  record.name = name;
  record.image.layer = decoded->layer;
  record.image.tree = *layer ? (*layer)->tree : 0;
  record.detail = decoded->source;
  return record;
}

}  // namespace

Result<std::vector<JournalRecord>> clone_records(const cas::Database& database, const cas::Database::Batch& batch) {
  std::vector<JournalRecord> records;
  std::map<std::string_view, const cas::Database::Batch::Change*> last, layers;
  for (const auto& change : batch.changes()) {
    if (change.family == &kCloneFamily) last[change.key] = &change;
    if (change.family == &kLayerFamily && !change.erased) layers[change.key] = &change;
  }
  const auto layer_of = [&](LayerId layer) -> Result<std::optional<LayerRecord>> {
    const auto found = layers.find(layer_prefix(layer));
    if (found == layers.end()) return read_layer(database, layer);
    auto record = decode_layer(found->second->value);
    if (!record) return fail(record.error());
    return std::optional{*record};
  };
  for (const auto& [key, change] : last) {
    const auto before = database.get(kCloneFamily, key);
    if (!before) return fail(before.error());
    if (before->has_value() != change->erased) continue;
    if (change->erased) {
      const auto [name, is_clone] = named_by(key);
      records.push_back(record_of_gone(name, is_clone));
      continue;
    }
    auto record = record_of_made(key, change->value, layer_of);
    if (!record) return fail(record.error());
    records.push_back(std::move(*record));
  }
  return records;
}

Result<std::vector<JournalRecord>> missing_clone_records(const cas::Database& database,
                                                         const std::vector<JournalRecord>& records) {
  ReplayedClones told = replay_clones(records);
  std::vector<JournalRecord> missing;
  const auto cursor = database.scan(kCloneFamily, {}, {});
  for (; cursor->valid(); cursor->next()) {
    const auto [name, is_clone] = named_by(cursor->key());
    if (told.erase({name.name, is_clone ? std::string{} : name.tag}) != 0) continue;
    auto record =
        record_of_made(cursor->key(), cursor->value(), [&](LayerId layer) { return read_layer(database, layer); });
    if (!record) return fail(record.error());
    missing.push_back(std::move(*record));
  }
  if (auto walked = cursor->status(); !walked) return fail(walked.error());
  for (const auto& [name, record] : told) missing.push_back(record_of_gone(record.name, name.second.empty()));
  return missing;
}

std::optional<std::vector<JournalRecord>> without_gone_clones(const std::vector<JournalRecord>& records) {
  const ReplayedClones living = replay_clones(records);
  std::vector<JournalRecord> kept;
  for (const JournalRecord& record : records)
    if (!is_of_clone(record.kind)) kept.push_back(record);
  const std::size_t of_clones = records.size() - kept.size();
  if (of_clones < 2 * living.size() + kWorthIt) return std::nullopt;
  for (const auto& [name, record] : living) kept.push_back(record);
  std::ranges::sort(kept, {}, &JournalRecord::sequence);
  return kept;
}

}  // namespace stellarium::fs
