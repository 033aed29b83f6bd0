#include "tools/server/repair.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "fs/layer_store.h"
#include "fs/names_journal.h"
#include "fs/rebuild_names.h"
#include "tools/server/json.h"
#include "tools/server/store.h"

namespace stellarium::server {
namespace {

/// Fills `database_dir` from everything that is not the database.
Result<fs::RebuildReport> rebuild_into(const std::filesystem::path& database_dir, const BrokenStore& store,
                                       CommandIo& io) {
  const std::filesystem::path scratch = store.dir / "tmp";
  auto database = cas::Database::open(database_dir, all_families(), {});
  if (!database) return fail(database.error());
  auto contents = cas::ContentStore::open(**database, system_io(), store.dir / "segments", content_options(store.uuid));
  if (!contents) return fail(contents.error());
  auto rebuilt = (*contents)->rebuild([&](std::uint64_t done, std::uint64_t total) {
    io.progress({.phase = "reading segments", .done = done, .total = total, .bytes = false});
    return !io.cancelled();
  });
  if (!rebuilt) return fail(rebuilt.error());
  auto report = fs::rebuild_names(**database, **contents, system_io(), store.dir / "names.journal", scratch);
  if (!report) return report;
  if (auto closed = (*contents)->close(); !closed) return fail(closed.error());
  if (auto flushed = (*database)->flush(); !flushed) return fail(flushed.error());
  return report;
}

/// The database is built beside the old one, which is kept, and takes its place only when it is complete: a repair that
/// is killed can just be run again.
Result<fs::RebuildReport> rebuild(const BrokenStore& store, CommandIo& io) {
  const auto ballast = Ballast::open(system_io(), store.dir);
  while (ballast->is_short() && ballast->give_up()) continue;  // taken back when the repaired store is opened
  const std::filesystem::path fresh = store.dir / "db.rebuilding";
  std::error_code failed;
  std::filesystem::remove_all(fresh, failed);
  if (failed) return fail_errno("removing " + fresh.string(), failed.value());
  auto report = rebuild_into(fresh, store, io);
  if (!report) return report;
  auto dir = system_io().open(AT_FDCWD, store.dir.string(), O_RDONLY | O_DIRECTORY, 0);
  if (!dir) return fail(dir.error());
  std::string suffix = ".damaged";
  const auto taken = [&] {
    return exists(store.dir / ("db" + suffix), failed) || exists(store.dir / ("staged" + suffix), failed);
  };
  for (int i = 1; taken(); ++i) suffix = ".damaged." + std::to_string(i);
  // Only the old database knows the clones. Beside the new one, the bytes that were written in them would be swept.
  for (const std::string name : {"staged", "db"}) {
    if (auto moved = system_io().rename(dir->get(), name, name + suffix);
        !moved && moved.error().code != Errc::not_found)
      return fail(moved.error());
  }
  if (auto moved = system_io().rename(dir->get(), "db.rebuilding", "db"); !moved) return fail(moved.error());
  if (auto synced = system_io().sync(dir->get()); !synced) return fail(synced.error());
  return report;
}

/// Where the database is sound and only the names journal is not one any more, the journal is set aside: the next
/// server writes it anew from the database. False if it is not so.
Result<bool> set_journal_aside(const BrokenStore& store) {
  const std::filesystem::path journal = store.dir / "names.journal";
  const auto opened = fs::NamesJournal::open(system_io(), journal);
  if (opened || opened.error().code != Errc::corrupt) return false;
  {
    const auto database = cas::Database::open(store.dir / "db", all_families(), {.read_only = true});
    if (!database) return false;
    const auto counters = fs::read_counters(**database);
    if (!counters || !*counters) return false;  // it never had names
    if (const auto images = fs::read_images(**database); !images) return false;
  }
  auto dir = system_io().open(AT_FDCWD, store.dir.string(), O_RDONLY | O_DIRECTORY, 0);
  if (!dir) return fail(dir.error());
  if (auto moved = system_io().rename(dir->get(), "names.journal", "names.journal.damaged"); !moved)
    return fail(moved.error());
  if (auto synced = system_io().sync(dir->get()); !synced) return fail(synced.error());
  return true;
}

int repair(const cli::Invocation& invocation, const BrokenStore& store, ServerControl& control, CommandIo& io) {
  const auto aside = set_journal_aside(store);
  if (!aside) {
    io.complain(aside.error());
    return kCouldNotCheck;
  }
  if (*aside) {
    io.out(invocation.global.json
               ? dump(Json{{"schema", 1}, {"rebuilt", false}, {"lost", Json::array()}})
               : "the names journal is written anew from the database; the old one is kept as names.journal.damaged\n");
    control.end(keeper::Ending::restart);
    return kRepaired;
  }
  auto report = rebuild(store, io);
  if (!report) {
    io.complain(Error{report.error().code,
                      "rebuilding the database of " + store.dir.string() + ": " + report.error().context,
                      report.error().sys_errno});
    return kCouldNotCheck;
  }
  if (invocation.global.json) {
    Json out{{"schema", 1},
             {"rebuilt", true},
             {"images", report->images},
             {"layers", report->layers},
             {"lost_clones", report->clones},
             {"lost", Json::array()}};
    for (const std::string& line : report->lost) out["lost"].push_back(text::escape(line));
    io.out(dump(out));
  } else {
    for (const std::string& line : report->lost) io.out("lost:   " + text::escape(line) + "\n");
    io.out(fmt::format("rebuilt the database: {} images, {} layers; the old one is kept as db.damaged\n",
                       report->images, report->layers));
    if (report->clones != 0)
      io.out("bytes that were written in clones and not settled are kept as staged.damaged, one file each\n");
  }
  control.end(keeper::Ending::restart);
  return report->lost.empty() ? kRepaired : kDamaged;
}

int daemon(const cli::DaemonOptions& options, const BrokenStore& store, ServerControl& control, CommandIo& io) {
  using Action = cli::DaemonOptions::Action;
  switch (options.action) {
    case Action::stop:
      control.end(keeper::Ending::stop);
      return 0;
    case Action::restart:
      control.end(keeper::Ending::restart);
      return 0;
    case Action::upgrade:
      control.end(keeper::Ending::upgrade);
      return 0;
    case Action::start:
    case Action::status:
    case Action::mounts:
      break;
  }
  io.out("running, but only for 'stellarium fsck --repair': " + text::escape(to_string(store.why)) + "\n");
  return 1;
}

}  // namespace

bool is_repairable(const Error& error) {
  return error.code == Errc::corrupt || error.code == Errc::io || error.code == Errc::not_found;
}

int run_broken(const cli::Invocation& invocation, const BrokenStore& store, ServerControl& control, CommandIo& io) {
  const auto* fsck = std::get_if<cli::FsckOptions>(&invocation.command);
  if (fsck != nullptr && fsck->repair) return repair(invocation, store, control, io);
  if (const auto* options = std::get_if<cli::DaemonOptions>(&invocation.command))
    return daemon(*options, store, control, io);
  io.complain(Error{store.why.code, to_string(store.why) + ": 'stellarium fsck --repair' rebuilds it", 0});
  return fsck != nullptr ? kDamaged : 1;
}

}  // namespace stellarium::server
