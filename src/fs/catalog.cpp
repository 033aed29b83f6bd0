#include "fs/catalog.h"

#include <time.h>

#include <algorithm>
#include <set>

#include "fs/clock.h"
#include "fs/clone_journal.h"
#include "fs/clones.h"
#include "fs/dead_layers.h"
#include "fs/families.h"
#include "fs/foldable_layers.h"
#include "fs/image_history.h"
#include "fs/layer_pins.h"
#include "fs/layer_reader.h"
#include "fs/layer_store.h"
#include "fs/layer_uses.h"
#include "fs/names_journal.h"
#include "fs/volumes.h"

namespace stellarium::fs {
namespace {

constexpr TreeId kMaxTree = (TreeId{1} << 20) - 1;
constexpr std::size_t kSweptAtOnce = 256;  // layers that are taken out of reach while the lock is held, 10 µs each

tl::unexpected<Error> no_such_image(const ImageName& name) {
  return fail(Errc::not_found, "there is no image " + name.text());
}

tl::unexpected<Error> no_number_left() {
  return fail(Errc::out_of_space, "this store has given out all its tree numbers (1,048,575): start a new one");
}

// Every change is decided and made under one lock: journal first, then the database. If the database then refuses, the
// journal is set right again, at once or at the next open, because the database is the truth.
class StoreCatalog final : public Catalog {
 public:
  StoreCatalog(cas::Database& database, NamesJournal journal, const LayerCounters& counters)
      : database_{database}, journal_{std::move(journal)}, counters_{counters} {}

  Result<void> recover() EXCLUDES(mutex_);

  // Without the lock, so that a mount never waits for an import that is being published. Who pins a layer that lost its
  // name a moment ago may find it empty, and then says so.
  std::shared_ptr<LayerPin> pin(LayerId layer) override { return std::make_shared<Pin>(pins_, layer); }
  Result<NewLayer> begin_layer() override EXCLUDES(mutex_);
  Result<NewLayer> add_layer(const PutLayer& put) override EXCLUDES(mutex_);
  Result<std::vector<NewLayer>> add_layers(std::size_t count, const PutLayer& put) override EXCLUDES(mutex_);
  Result<NewLayer> extend_layer(const MakeLayer& make) override EXCLUDES(mutex_);
  Result<void> change_clones(const ChangeClones& change) override EXCLUDES(mutex_);
  Result<void> while_layers_stay(const std::function<Result<void>()>& work) override EXCLUDES(mutex_) {
    const MutexLock lock{mutex_};
    return work();
  }
  Result<void> publish(const Image& image, const cas::Hash& fingerprint) override EXCLUDES(mutex_);
  Result<std::optional<SealedLayer>> find_sealed(const cas::Hash& fingerprint) override EXCLUDES(mutex_);
  Result<Image> find(const ImageName& name) const override;
  Result<std::vector<Image>> list() const override { return read_images(database_); }
  Result<void> rename(const ImageName& from, const ImageName& to) override EXCLUDES(mutex_);
  Result<void> remove_all(const std::vector<ImageName>& names, const ChangeClones& also) override EXCLUDES(mutex_);
  Result<std::vector<Event>> history(const ImageName& name) const override EXCLUDES(mutex_);
  Result<std::uint64_t> sweep(const Sweeping& how) override EXCLUDES(sweeping_, mutex_);
  std::vector<LayerId> foldable() const override EXCLUDES(mutex_) {
    const MutexLock lock{mutex_};
    return foldable_.list();
  }
  Result<bool> fold(LayerId upper, const FoldLayers& work) override EXCLUDES(mutex_);
  Chores chores() const override EXCLUDES(mutex_) {
    const MutexLock lock{mutex_};
    return {uses_.unused().size(), foldable_.size()};
  }
  cas::ContentStore::LiveContents live_contents() const override {
    return [this](const auto& found) { return visit_live(found); };
  }

 private:
  Result<NewLayer> take_numbers(LayerCounters& counters) const;
  Result<TreeId> tree_of_name(const Image& image, LayerCounters& counters) const REQUIRES(mutex_);
  Result<void> write(cas::Database::Batch&& batch, cas::Database::Sync sync) REQUIRES(mutex_);
  Result<void> change(std::vector<JournalRecord> records, cas::Database::Batch&& batch) REQUIRES(mutex_);
  Result<std::vector<DeadLayer>> take_dead() EXCLUDES(mutex_);
  Result<void> reconcile() REQUIRES(mutex_);
  Result<void> visit_live(const std::function<void(const cas::ContentStore::LiveContent&)>& found) const
      EXCLUDES(mutex_);

  cas::Database& database_;
  std::shared_ptr<PinTable> pins_ = std::make_shared<PinTable>();
  Mutex sweeping_;  // one sweep at a time
  mutable Mutex mutex_;
  NamesJournal journal_ GUARDED_BY(mutex_);
  LayerCounters counters_ GUARDED_BY(mutex_);
  LayerUses uses_ GUARDED_BY(mutex_);
  FoldableLayers foldable_ GUARDED_BY(mutex_);
};

Result<void> StoreCatalog::recover() {
  const MutexLock lock{mutex_};
  const Result<std::vector<std::pair<LayerId, LayerRecord>>> layers = read_layers(database_);
  if (!layers) return fail(layers.error());
  for (const auto& [layer, record] : *layers) {
    if (record.state != LayerRecord::State::building) continue;
    if (Result<void> erased = erase_layer(database_, layer); !erased) return erased;
  }
  Result<LayerUses> uses = LayerUses::count(database_);
  if (!uses) return fail(uses.error());
  uses_ = std::move(*uses);
  if (Result<void> noted = foldable_.note(database_, uses_); !noted) return noted;
  if (Result<void> agrees = reconcile(); !agrees) return agrees;
  const Result<NamesJournal::Parsed> parsed = journal_.read();
  if (!parsed) return fail(parsed.error());
  const auto shorter = without_gone_clones(parsed->records);
  return shorter ? journal_.rewrite(*shorter) : Result<void>{};
}

// Every batch that changes layers or their names goes through here. What the journal says of clones need not be synced:
// if the database is there, the next open sets the journal right.
Result<void> StoreCatalog::write(cas::Database::Batch&& batch, cas::Database::Sync sync) {
  const Result<std::vector<LayerUses::Change>> changes = LayerUses::changes_of(database_, batch);
  if (!changes) return fail(changes.error());
  Result<std::vector<JournalRecord>> clones = clone_records(database_, batch);
  if (!clones) return fail(clones.error());
  if (Result<void> noted = journal_.append_all(std::move(*clones), /*sync=*/false); !noted) return noted;
  if (Result<void> written = database_.write(std::move(batch), sync); !written) return written;
  uses_.apply(*changes);
  return foldable_.note(database_, uses_);
}

// Makes the journal end where the database is.
Result<void> StoreCatalog::reconcile() {
  const Result<NamesJournal::Parsed> parsed = journal_.read();
  if (!parsed) return fail(parsed.error());
  Result<std::vector<JournalRecord>> clones = missing_clone_records(database_, parsed->records);
  if (!clones) return fail(clones.error());
  if (Result<void> appended = journal_.append_all(std::move(*clones), /*sync=*/true); !appended) return appended;
  ReplayedNames told = replay(parsed->records);
  const Result<std::vector<Image>> images = read_images(database_);
  if (!images) return fail(images.error());
  JournalRecord record;
  record.when = now();
  record.detail = "recovered from the database";
  for (const Image& image : *images) {
    const auto known = told.find(image.name);
    const bool same = known != told.end() && known->second.layer == image.layer && known->second.tree == image.tree &&
                      known->second.manifest == image.manifest;
    if (known != told.end()) told.erase(known);
    if (same) continue;
    record.kind = JournalRecord::Kind::publish;
    record.name = image.name;
    record.image = image;
    if (Result<void> appended = journal_.append(record); !appended) return appended;
  }
  for (const auto& [name, image] : told) {
    record.kind = JournalRecord::Kind::remove;
    record.name = name;
    record.detail = "the database does not have it";
    if (Result<void> appended = journal_.append(record); !appended) return appended;
  }
  return {};
}

Result<void> StoreCatalog::change(std::vector<JournalRecord> records, cas::Database::Batch&& batch) {
  Result<void> done;
  for (JournalRecord& record : records) {
    record.when = now();
    done = journal_.append(std::move(record));
    if (!done) break;
  }
  if (done) done = write(std::move(batch), cas::Database::Sync::yes);
  if (!done && !records.empty()) (void)reconcile();  // best effort: the next open does it again
  return done;
}

Result<Catalog::NewLayer> StoreCatalog::begin_layer() {
  return add_layer([](cas::Database::Batch& batch, LayerId layer, TreeId tree) -> Result<void> {
    put_layer(batch, layer, {.state = LayerRecord::State::building, .tree = tree, .manifest = {}});
    return {};
  });
}

Result<Catalog::NewLayer> StoreCatalog::add_layer(const PutLayer& put) {
  auto made = add_layers(1, put);
  if (!made) return fail(made.error());
  return std::move(made->front());
}

Result<Catalog::NewLayer> StoreCatalog::extend_layer(const MakeLayer& make) {
  const MutexLock lock{mutex_};
  LayerCounters next = counters_;
  auto made = take_numbers(next);
  if (!made) return made;
  bool written = false;
  const WriteLayer write = [&](cas::Database::Batch&& batch) REQUIRES(mutex_) -> Result<void> {
    put_counters(batch, next);
    if (Result<void> done = this->write(std::move(batch), cas::Database::Sync::no); !done)
      return fail(done.error(), "beginning a layer");
    written = true;
    return {};
  };
  Result<void> done = make(made->layer, made->tree, write);
  if (written) counters_ = next;
  if (!done) return fail(done.error());
  made->pin = std::make_shared<Pin>(pins_, made->layer);
  return made;
}

Result<std::vector<Catalog::NewLayer>> StoreCatalog::add_layers(std::size_t count, const PutLayer& put) {
  const MutexLock lock{mutex_};
  LayerCounters next = counters_;
  std::vector<NewLayer> all;
  cas::Database::Batch batch;
  while (all.size() < count) {
    auto made = take_numbers(next);
    if (!made) return fail(made.error());
    if (Result<void> added = put(batch, made->layer, made->tree); !added) return fail(added.error());
    all.push_back(*std::move(made));
  }
  put_counters(batch, next);
  if (Result<void> written = write(std::move(batch), cas::Database::Sync::yes); !written)
    return fail(written.error(), "beginning layers");
  counters_ = next;
  for (NewLayer& made : all) made.pin = std::make_shared<Pin>(pins_, made.layer);
  return all;
}

Result<Catalog::NewLayer> StoreCatalog::take_numbers(LayerCounters& counters) const {
  if (counters.next_tree > kMaxTree || counters.next_layer == UINT32_MAX) return no_number_left();
  return NewLayer{counters.next_layer++, counters.next_tree++, nullptr};
}

Result<void> StoreCatalog::change_clones(const ChangeClones& change) {
  const MutexLock lock{mutex_};
  cas::Database::Batch batch;
  if (Result<void> decided = change(batch); !decided) return decided;
  return write(std::move(batch), cas::Database::Sync::yes);
}

Result<void> StoreCatalog::publish(const Image& image, const cas::Hash& fingerprint) {
  const MutexLock lock{mutex_};
  const Result<bool> clone = is_clone(database_, image.name.name);
  if (!clone) return fail(clone.error());
  if (*clone) return fail(Errc::exists, "there is a clone " + image.name.name + ": an image needs another name");
  const Result<std::optional<LayerRecord>> layer = read_layer(database_, image.layer);
  if (!layer) return fail(layer.error());
  Image complete = image;
  LayerCounters next = counters_;
  cas::Database::Batch batch;
  if (*layer && (*layer)->state == LayerRecord::State::building) {
    complete.tree = (*layer)->tree;
    put_image(batch, complete, fingerprint);
  } else if (*layer && (*layer)->state == LayerRecord::State::sealed && pins_->holds(image.layer)) {
    const Result<TreeId> tree = tree_of_name(image, next);
    if (!tree) return fail(tree.error());
    complete.tree = *tree;
    put_counters(batch, next);
    put_image_name(batch, complete.name, complete);
  } else {
    return fail(Errc::invalid_argument, "layer " + std::to_string(image.layer) + " is not being built");
  }
  JournalRecord record;
  record.kind = JournalRecord::Kind::publish;
  record.name = complete.name;
  record.image = complete;
  record.detail = complete.source;
  if (Result<void> changed = change({std::move(record)}, std::move(batch)); !changed)
    return fail(changed.error(), "publishing " + image.name.text());
  counters_ = next;
  return {};
}

// A mount of the whole store shows the layer once for each name: the kernel takes folders of one node id for one
// folder.
Result<TreeId> StoreCatalog::tree_of_name(const Image& image, LayerCounters& counters) const {
  const Result<std::optional<Image>> before = read_image(database_, image.name);
  if (!before) return fail(before.error());
  if (*before && (*before)->layer == image.layer) return (*before)->tree;
  if (counters.next_tree > kMaxTree) return no_number_left();
  return counters.next_tree++;
}

Result<std::optional<Catalog::SealedLayer>> StoreCatalog::find_sealed(const cas::Hash& fingerprint) {
  const MutexLock lock{mutex_};
  const Result<std::optional<LayerId>> layer = find_fingerprint(database_, fingerprint);
  if (!layer) return fail(layer.error());
  // One without a name may be half gone, and gc may have found its contents to be dead.
  if (!*layer || !uses_.has_name(**layer)) return std::nullopt;
  const Result<std::optional<LayerRecord>> record = read_layer(database_, **layer);
  if (!record) return fail(record.error());
  if (!*record || (*record)->fingerprint != fingerprint) return std::nullopt;
  SealedLayer sealed;
  sealed.image.layer = **layer;
  sealed.image.manifest = (*record)->manifest;
  sealed.image.manifest_size = (*record)->manifest_size;
  sealed.image.files = (*record)->files;
  sealed.image.bytes = (*record)->bytes;
  sealed.pin = std::make_shared<Pin>(pins_, **layer);
  return sealed;
}

Result<Image> StoreCatalog::find(const ImageName& name) const {
  Result<std::optional<Image>> image = read_image(database_, name);
  if (!image) return fail(image.error());
  if (!*image) return no_such_image(name);
  return std::move(**image);
}

Result<void> StoreCatalog::rename(const ImageName& from, const ImageName& to) {
  const MutexLock lock{mutex_};
  const Result<std::optional<Image>> image = read_image(database_, from);
  if (!image) return fail(image.error());
  if (!*image) return no_such_image(from);
  const Result<std::optional<Image>> taken = read_image(database_, to);
  if (!taken) return fail(taken.error());
  if (*taken) return fail(Errc::exists, "there is an image " + to.text() + " already");
  const Result<bool> clone = is_clone(database_, to.name);
  if (!clone) return fail(clone.error());
  if (*clone) return fail(Errc::exists, "there is a clone " + to.name + ": an image needs another name");
  cas::Database::Batch batch;
  erase_image_name(batch, from);
  put_image_name(batch, to, **image);
  JournalRecord record;
  record.kind = JournalRecord::Kind::rename;
  record.name = from;
  record.to = to;
  if (Result<void> changed = change({std::move(record)}, std::move(batch)); !changed)
    return fail(changed.error(), "renaming " + from.text());
  return {};
}

Result<void> StoreCatalog::remove_all(const std::vector<ImageName>& names, const ChangeClones& also) {
  const MutexLock lock{mutex_};
  cas::Database::Batch batch;
  std::vector<JournalRecord> records;
  for (const ImageName& name : names) {
    const Result<std::optional<Image>> image = read_image(database_, name);
    if (!image) return fail(image.error());
    if (!*image) return no_such_image(name);
    erase_image_name(batch, name);
    JournalRecord& record = records.emplace_back();
    record.kind = JournalRecord::Kind::remove;
    record.name = name;
  }
  if (also) {
    if (Result<void> decided = also(batch); !decided) return decided;
  }
  if (Result<void> changed = change(std::move(records), std::move(batch)); !changed)
    return fail(changed.error(), names.empty() ? "removing clones" : "removing " + names.front().text());
  return {};
}

Result<std::vector<Catalog::Event>> StoreCatalog::history(const ImageName& name) const {
  const MutexLock lock{mutex_};
  const Result<NamesJournal::Parsed> parsed = journal_.read();
  if (!parsed) return fail(parsed.error());
  auto past = history_of(parsed->records, name);
  if (!past) return no_such_image(name);
  return *std::move(past);
}

// Dead layers are taken out of everybody's reach while names stand still, and emptied when nobody is kept waiting.
Result<std::vector<DeadLayer>> StoreCatalog::take_dead() {
  const MutexLock lock{mutex_};
  std::vector<DeadLayer> dead;
  cas::Database::Batch batch;
  for (const LayerId layer : uses_.unused()) {
    if (dead.size() == kSweptAtOnce) break;
    if (pins_->holds(layer)) continue;
    const Result<std::optional<LayerRecord>> record = read_layer(database_, layer);
    if (!record) return fail(record.error());
    if (!*record) continue;
    dead.push_back({layer, (*record)->parent});
    put_layer(batch, layer, {.state = LayerRecord::State::building, .tree = (*record)->tree, .manifest = {}});
    if ((*record)->fingerprint == cas::Hash{}) continue;  // all of clones, of which there may be many
    const Result<std::optional<LayerId>> known = find_fingerprint(database_, (*record)->fingerprint);
    if (!known) return fail(known.error());
    if (*known == layer) batch.erase(kFingerprintFamily, (*record)->fingerprint.text());
  }
  if (Result<void> written = write(std::move(batch), cas::Database::Sync::no); !written) return fail(written.error());
  return dead;
}

Result<std::uint64_t> StoreCatalog::sweep(const Sweeping& how) {
  const MutexLock one_at_a_time{sweeping_};
  bool going_on = true;
  const auto go_on = [&] { return going_on = going_on && (!how.go_on || how.go_on()); };
  std::uint64_t removed = 0;
  while (going_on) {
    const Result<std::vector<DeadLayer>> dead = take_dead();
    if (!dead) return fail(dead.error());
    if (dead->empty()) break;
    Result<ErasedLayers> erased = erase_dead_layers(database_, *dead, go_on);
    if (!erased) return fail(erased.error());
    if (!erased->staged.empty() && how.drop) {
      // That nobody names them must survive a power cut before they may go.
      if (Result<void> synced = database_.sync(); !synced) return fail(synced.error());
      how.drop(std::move(erased->staged));
    }
    if (!erased->complete) break;
    {
      const MutexLock lock{mutex_};
      cas::Database::Batch batch;
      for (const DeadLayer& one : *dead) batch.erase(kLayerFamily, layer_prefix(one.layer));
      if (Result<void> written = write(std::move(batch), cas::Database::Sync::no); !written)
        return fail(written.error());
    }
    removed += dead->size();
    if (!go_on()) break;
  }
  return removed;
}

Result<bool> StoreCatalog::fold(LayerId upper, const FoldLayers& work) {
  const MutexLock lock{mutex_};
  const Result<std::optional<Fold>> fold = foldable_.check(database_, uses_, upper);
  if (!fold) return fail(fold.error());
  if (!*fold) return false;
  // Who reads both sees no difference, but this may be somebody for whom the lower one is a whole tree.
  if (pins_->holds((*fold)->lower)) return fail(Errc::busy, "somebody reads " + layer_text((*fold)->lower));
  Result<void> done = work(**fold, [&](cas::Database::Batch&& batch) REQUIRES(mutex_) -> Result<void> {
    return write(std::move(batch), cas::Database::Sync::no);
  });
  if (!done) return fail(done.error());
  return true;
}

Result<void> StoreCatalog::visit_live(const std::function<void(const cas::ContentStore::LiveContent&)>& found) const {
  // What is live when this begins is held until it ends; what is published meanwhile is kept by its import's session.
  struct Live {
    LayerId layer;
    LayerRecord record;
    std::unique_ptr<Pin> pin;
  };
  std::vector<Live> live;
  {
    const MutexLock lock{mutex_};
    const Result<std::set<LayerId>> named = named_layers(database_);
    if (!named) return fail(named.error());
    const Result<std::vector<std::pair<LayerId, LayerRecord>>> layers = read_layers(database_);
    if (!layers) return fail(layers.error());
    for (const auto& [layer, record] : *layers) {
      if (named->contains(layer) || pins_->holds(layer))
        live.push_back({layer, record, std::make_unique<Pin>(pins_, layer)});
    }
  }
  for (const Live& one : live) {
    if (one.record.state == LayerRecord::State::sealed) found({one.record.manifest, one.record.manifest_size});
    LayerReader::InodeScan inodes = LayerReader{database_, one.layer}.scan_inodes();
    while (true) {
      const auto next = inodes.next();
      if (!next) return fail(next.error());
      if (!*next) break;
      if (const auto content = content_of((*next)->second)) found({content->id, content->size});
    }
  }
  return visit_volume_contents(database_, found);
}

}  // namespace

Result<std::unique_ptr<Catalog>> Catalog::open(cas::Database& database, Io& io,
                                               const std::filesystem::path& journal_file) {
  Result<NamesJournal> journal = NamesJournal::open(io, journal_file);
  if (!journal) return fail(journal.error());
  const Result<std::optional<LayerCounters>> known = read_counters(database);
  if (!known) return fail(known.error());
  LayerCounters counters = *known ? **known : LayerCounters{};
  if (!*known || counters.journal != journal->uuid()) {
    // A fresh pair, or a database whose journal was lost. A journal with names that the database has never seen is
    // another matter.
    const Result<NamesJournal::Parsed> parsed = journal->read();
    if (!parsed) return fail(parsed.error());
    const std::size_t images = replay(parsed->records).size(), clones = replay_clones(parsed->records).size();
    if (images + clones != 0) {
      return fail(Errc::corrupt,
                  journal_file.string() + " names " + std::to_string(images) + " images" +
                      (clones == 0 ? "" : " and " + std::to_string(clones) + " clones and snapshots") +
                      ", but the database " +
                      (*known ? "belongs to another journal" : "is empty: it was lost and has to be rebuilt"));
    }
    counters.journal = journal->uuid();
    cas::Database::Batch batch;
    put_counters(batch, counters);
    if (Result<void> written = database.write(std::move(batch), cas::Database::Sync::yes); !written)
      return fail(written.error());
  }
  auto catalog = std::make_unique<StoreCatalog>(database, std::move(*journal), counters);
  if (Result<void> recovered = catalog->recover(); !recovered) return fail(recovered.error(), "opening the catalog");
  return std::unique_ptr<Catalog>{std::move(catalog)};
}

}  // namespace stellarium::fs
