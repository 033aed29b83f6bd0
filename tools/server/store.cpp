#include "tools/server/store.h"

#include <fcntl.h>

#include "cas/families.h"
#include "cdn/families.h"
#include "fs/families.h"
#include "tools/protocol/run_lock.h"
#include "tools/server/store_format.h"

namespace stellarium::server {

std::vector<const cas::Family*> all_families() {
  std::vector<const cas::Family*> families{cas::kFamilies.begin(), cas::kFamilies.end()};
  families.insert(families.end(), fs::kFamilies.begin(), fs::kFamilies.end());
  families.insert(families.end(), cdn::kFamilies.begin(), cdn::kFamilies.end());
  return families;
}

cas::ContentStore::Options content_options(const std::string& uuid) {
  cas::ContentStore::Options options;
  std::size_t digit = 0;
  for (const char c : uuid) {
    if (c == '-' || digit / 2 >= options.store.size()) continue;
    const unsigned value = c <= '9' ? static_cast<unsigned>(c - '0') : static_cast<unsigned>(c - 'a') + 10;
    options.store[digit / 2] |= static_cast<std::byte>(digit % 2 == 0 ? value << 4 : value);
    ++digit;
  }
  return options;
}

Result<StoreFolder> open_folder(const std::filesystem::path& dir, Io& io) {
  StoreFolder folder;
  auto uuid = open_format(io, dir);
  if (!uuid) return fail(uuid.error());
  folder.uuid = std::move(*uuid);
  auto here = io.open(AT_FDCWD, dir.string(), O_RDONLY | O_DIRECTORY, 0);
  if (!here) return fail(here.error());
  for (const char* name : {"run", "segments", "hot", "tmp"}) {
    if (auto made = io.make_dir(here->get(), name, 0700); !made) return fail(made.error(), dir.string());
  }
  auto lock = protocol::take_lock(dir / "run" / protocol::kServerLock);
  if (!lock && lock.error().code == Errc::busy)
    return fail(Errc::busy, "another server has the store " + dir.string() + " open");
  if (!lock) return fail(lock.error());
  folder.lock = std::move(*lock);
  // What an import left that was killed: nothing in there is of use to another process.
  std::error_code ignored;
  for (const auto& left : std::filesystem::directory_iterator{dir / "tmp", ignored})
    std::filesystem::remove_all(left.path(), ignored);
  return folder;
}

namespace {

/// RocksDB makes a missing database anew, which would turn a lost one into an empty store.
Result<void> refuse_lost_database(const std::filesystem::path& dir) {
  std::error_code ignored;
  if (std::filesystem::exists(dir / "db" / "CURRENT", ignored)) return {};
  const bool used =
      std::filesystem::exists(dir / "names.journal", ignored) || !std::filesystem::is_empty(dir / "segments", ignored);
  if (used) return fail(Errc::corrupt, "the database of " + dir.string() + " is missing");
  return {};
}

}  // namespace

Result<std::unique_ptr<Store>> Store::open(const std::filesystem::path& dir, Io& io, Ballast::AskSpace space,
                                           const fs::fuse::HostProcesses* processes) {
  std::unique_ptr<Store> store{new Store{dir}};
  auto folder = open_folder(dir, io);
  if (!folder) return fail(folder.error());
  store->uuid_ = std::move(folder->uuid);
  store->lock_ = std::move(folder->lock);
  store->ballast_ = Ballast::open(io, dir, std::move(space));
  store->headroom_ = std::make_unique<fs::Headroom>(dir);
  store->projects_ = fs::ProjectQuotas::of(dir);
  // Opening replays logs into tables: on a full disk that, too, needs room.
  auto opened = store->with_room([&] { return store->open_parts(io, processes); });
  if (!opened) return fail(opened.error());
  return store;
}

Result<void> Store::open_parts(Io& io, const fs::fuse::HostProcesses* processes) {
  fuse_.reset(), settler_.reset(), open_clones_.reset(), volumes_.reset(), tier_.reset(), lazy_.reset(),
      staged_first_.reset(), staging_.reset(), catalog_.reset(), contents_.reset(),
      database_.reset();  // of an attempt without room
  if (auto present = refuse_lost_database(dir_); !present) return fail(present.error());
  auto database = cas::Database::open(dir_ / "db", all_families(), {});
  if (!database) return fail(database.error(), "the database of " + dir_.string());
  database_ = std::move(*database);
  auto contents = cas::ContentStore::open(*database_, io, dir_ / "segments", content_options(uuid_));
  if (!contents) return fail(contents.error(), "the segments of " + dir_.string());
  contents_ = std::move(*contents);
  auto catalog = fs::Catalog::open(*database_, io, dir_ / "names.journal");
  if (!catalog) return fail(catalog.error(), "the names of " + dir_.string());
  catalog_ = std::move(*catalog);
  auto staging = fs::Staging::open(io, dir_ / "staged");
  if (!staging) return fail(staging.error(), "the staged files of " + dir_.string());
  staging_ = std::move(*staging);
  staged_first_ = std::make_unique<fs::StagedFirst>(*database_, *staging_);
  lazy_ = std::make_unique<cdn::LazyContents>(*database_, *contents_);
  if (auto known = lazy_->open(); !known) return fail(known.error(), "the lazy images of " + dir_.string());
  tier::Tier::Options options;
  options.remote = lazy_.get();
  auto tier = tier::Tier::open(*contents_, io, dir_ / "hot", options);
  if (!tier) return fail(tier.error(), "the hot files of " + dir_.string());
  tier_ = std::move(*tier);
  volumes_ = std::make_unique<fs::Volumes>(fs::Volume::Parts{*database_, *contents_, *tier_, *staging_});
  open_clones_ = std::make_unique<fs::OpenClones>();
  settler_ = std::make_unique<fs::Settler>(
      fs::Settler::Parts{*database_, *contents_, *catalog_, *staging_, *open_clones_, *tier_, headroom_.get()});
  auto fuse =
      fs::fuse::FuseServer::create({*database_, *catalog_, *contents_, *tier_, staging_.get(), open_clones_.get(), dir_,
                                    volumes_.get(), headroom_.get(), projects_.get(), processes},
                                   {});
  if (!fuse) return fail(fuse.error(), "serving the mounts of " + dir_.string());
  fuse_ = std::move(*fuse);
  return {};
}

void Store::make_room() {
  if (!ballast_->is_short()) return;
  if (tier_) tier_->evict(std::nullopt);
  if (ballast_->is_short()) ballast_->give_up();
}

Store::~Store() = default;

Result<void> Store::close() {
  lazy_->stop();  // who waits for another host must not be waited for
  fuse_.reset();
  volumes_.reset();
  tier_.reset();
  lazy_.reset();
  auto closed = contents_->close();
  auto flushed = database_->flush();
  if (!closed) return closed;
  return flushed;
}

}  // namespace stellarium::server
