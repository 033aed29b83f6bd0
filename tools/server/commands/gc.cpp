#include <fmt/format.h>

#include "tools/server/commands.h"
#include "tools/server/companion.h"
#include "tools/server/json.h"
#include "tools/text/units.h"

namespace stellarium::server {
namespace {

cas::ContentStore::Progress shown(CommandIo& io, const char* phase, bool bytes) {
  return [&io, phase, bytes](std::uint64_t done, std::uint64_t total) {
    io.progress({.phase = phase, .done = done, .total = total, .bytes = bytes});
    return !io.cancelled();
  };
}

/// What was written to volumes takes its full size until it is settled. One that cannot be settled, for want of space
/// too, keeps nothing else from being freed.
void settle_volumes(CommandContext& context) {
  const auto volumes = context.store.volumes().list();
  if (!volumes) return;  // the sweep says why
  for (const auto& [name, record] : *volumes) {
    if (record.staged == 0) continue;
    const auto volume = context.store.volumes().open(name);
    const auto settled = volume ? (*volume)->settle(shown(context.io, "settle", true)) : fail(volume.error());
    if (!settled && settled.error().code != Errc::cancelled)
      context.io.err("stellarium: note: what was written to volume " + name +
                     " stays as it is: " + text::escape(to_string(settled.error())) + "\n");
  }
}

}  // namespace

int run(const cli::GcOptions& options, CommandContext& context) {
  Store& store = context.store;
  CommandIo& io = context.io;
  std::uint64_t records = 0;
  if (!options.dry_run) {
    settle_volumes(context);
    if (auto forgotten = store.with_room([&] { return forget_lost_companions(store); }); !forgotten)
      return io.complain(forgotten.error());
    const auto drop = [&](std::vector<fs::StagedId> staged) {
      store.staging().leases().remove_when_free(std::move(staged));
    };
    auto swept = store.with_room([&] { return store.catalog().sweep({.go_on = {}, .drop = drop}); });
    if (!swept) return io.complain(swept.error());
    records = *swept;
    if (auto known = store.lazy().forget_unused(store.catalog().live_contents()); !known)
      return io.complain(known.error());
    auto maps = store.with_room([&] { return store.volumes().sweep(); });
    if (!maps) return io.complain(maps.error());
  }
  auto report = store.with_room([&] {
    return store.contents().collect(store.lazy().with_lazy(store.catalog().live_contents()), options.dry_run,
                                    options.allow_empty, shown(io, "gc", false));
  });
  if (!report) return io.complain(report.error());
  std::optional<cas::ContentStore::RecompressReport> packed;
  if (options.level != 0 && !options.dry_run) {
    auto done = store.contents().recompress(store.lazy().with_lazy(store.catalog().live_contents()), options.level,
                                            shown(io, "recompress", true));
    if (!done) return io.complain(done.error());
    packed = *done;
  }
  if (!options.dry_run) {
    // Deleted records take space in the database until it is compacted.
    auto compacted = store.with_room([&] { return store.database().compact(); });
    if (!compacted) return io.complain(compacted.error());
  }
  if (context.global.json) {
    Json out{{"schema", 1},
             {"dry_run", options.dry_run},
             {"live_chunks", report->live_chunks},
             {"dead_chunks", report->dead_chunks},
             {"dead_bytes", report->dead_bytes},
             {"freed_bytes", report->freed_bytes},
             {"segments_removed", report->segments_removed},
             {"records_removed", records}};
    if (packed)
      out["recompressed"] = {
          {"bytes_before", packed->bytes_before}, {"bytes_after", packed->bytes_after}, {"frames", packed->frames}};
    io.out(dump(out));
    return 0;
  }
  io.out(
      fmt::format("{} chunks live, {} dead ({}); {}{}\n", report->live_chunks, report->dead_chunks,
                  text::format_bytes(report->dead_bytes),
                  options.dry_run ? "nothing was freed (dry run)" : "freed " + text::format_bytes(report->freed_bytes),
                  report->segments_removed == 0 ? "" : fmt::format(", {} segments removed", report->segments_removed)));
  if (packed) {
    io.out(fmt::format("recompressed {} frames: {} before, {} after\n", packed->frames,
                       text::format_bytes(packed->bytes_before), text::format_bytes(packed->bytes_after)));
  }
  return 0;
}

}  // namespace stellarium::server
