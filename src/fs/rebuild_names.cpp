#include "fs/rebuild_names.h"

#include <algorithm>
#include <map>

#include "fs/content_input.h"
#include "fs/layer_object.h"
#include "fs/layer_store.h"
#include "fs/layer_tables.h"
#include "fs/names_journal.h"

namespace stellarium::fs {
namespace {

constexpr const char* kOnlyThere = "its names and attributes were in the database only";

Result<void> restore_layer(cas::Database& database, cas::ContentStore& contents, const Image& image,
                           const std::filesystem::path& scratch) {
  if (Result<void> erased = erase_layer(database, image.layer); !erased)
    return erased;  // what a rebuild that was stopped had done
  ContentInput input{contents, image.manifest, image.manifest_size};
  LayerObjectReader object{input};
  LayerTables tables{database, image.layer, scratch};
  while (true) {
    const Result<std::optional<LayerEntry>> entry = object.next();
    if (!entry) return fail(entry.error());
    if (!*entry) return tables.ingest();
    if (Result<void> added = tables.add(**entry); !added) return added;
  }
}

}  // namespace

Result<RebuildReport> rebuild_names(cas::Database& database, cas::ContentStore& contents, Io& io,
                                    const std::filesystem::path& journal_file, const std::filesystem::path& scratch) {
  const Result<NamesJournal> journal = NamesJournal::open(io, journal_file);
  if (!journal) return fail(journal.error());
  const Result<std::optional<LayerCounters>> done = read_counters(database);
  if (!done) return fail(done.error());
  if (*done) return fail(Errc::exists, "the database still has its names: only a lost one is rebuilt");
  const Result<NamesJournal::Parsed> parsed = journal->read();
  if (!parsed) return fail(parsed.error());

  RebuildReport report;
  for (const std::string& damage : parsed->damage)
    report.lost.push_back(journal_file.filename().string() + ": " + damage);
  LayerCounters counters;
  counters.journal = journal->uuid();
  for (const JournalRecord& record : parsed->records) {  // numbers of removed images are not given out again either
    counters.next_layer = std::max(counters.next_layer, record.image.layer + 1);
    counters.next_tree = std::max(counters.next_tree, record.image.tree + 1);
  }
  for (const auto& [name, record] : replay_clones(parsed->records)) {
    const auto& [clone, snapshot] = name;
    ++report.clones;
    report.lost.push_back(snapshot.empty() ? "clone " + clone + ", which began as " + record.detail + ": " + kOnlyThere
                                           : "snapshot " + clone + "@" + snapshot + ": " + kOnlyThere);
  }
  std::map<LayerId, Result<void>> restored;  // several names may share a layer
  for (const auto& [name, image] : replay(parsed->records)) {
    auto layer = restored.find(image.layer);
    if (layer == restored.end()) {
      layer = restored.emplace(image.layer, restore_layer(database, contents, image, scratch)).first;
      if (layer->second) ++report.layers;
    }
    if (!layer->second) {
      report.lost.push_back(name.text() + ": " + to_string(layer->second.error()));
      continue;
    }
    cas::Database::Batch batch;
    put_image(batch, image);
    if (Result<void> written = database.write(std::move(batch), cas::Database::Sync::no); !written)
      return fail(written.error());
    ++report.images;
  }
  cas::Database::Batch batch;
  put_counters(batch, counters);
  if (Result<void> written = database.write(std::move(batch), cas::Database::Sync::yes); !written)
    return fail(written.error());
  return report;
}

}  // namespace stellarium::fs
