#include <fmt/format.h>
#include <sys/resource.h>

#include <fstream>

#include "tools/server/commands.h"
#include "tools/server/json.h"
#include "tools/text/units.h"

namespace stellarium::server {
namespace {

struct ProcessFacts {
  std::uint64_t memory_bytes = 0, peak_memory_bytes = 0, descriptors = 0, descriptor_limit = 0;
};

ProcessFacts facts_of_this_process() {
  ProcessFacts facts;
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) facts.memory_bytes = std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
    if (line.starts_with("VmHWM:")) facts.peak_memory_bytes = std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
  }
  std::error_code ignored;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator{"/proc/self/fd", ignored})
    ++facts.descriptors;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) facts.descriptor_limit = limit.rlim_cur;
  return facts;
}

Json as_json(const fs::fuse::FuseServer::MountStats& mount) {
  Json out;
  put_name(out, "mountpoint", mount.mount.mountpoint);
  const bool of_clone = mount.mount.view.kind == fs::fuse::ViewSpec::Kind::clone;
  const bool whole = mount.mount.view.kind == fs::fuse::ViewSpec::Kind::store;
  out.update(Json{{"image", whole      ? std::string{}
                            : of_clone ? mount.mount.view.clone
                                       : mount.mount.view.image.text()},
                  {"requests", mount.requests},
                  {"answered_bytes", mount.answered_bytes},
                  {"errors", mount.errors},
                  {"open_handles", mount.open_handles},
                  {"backing_ids", mount.backing_ids},
                  {"passthrough", mount.passthrough}});
  out["by_opcode"] = Json::object();
  for (const auto& [name, count] : mount.by_opcode) out["by_opcode"][name] = count;
  return out;
}

}  // namespace

int run(const cli::StatsOptions&, CommandContext& context) {
  Store& store = context.store;
  const auto contents = store.contents().stats();
  const auto tier = store.tier().stats();
  const auto lazy = store.lazy().stats();
  const auto database = store.database().stats();
  const auto mounts = store.fuse().stats();
  const auto ballast = store.ballast().stats();
  const auto chores = store.catalog().chores();
  const auto headroom = store.headroom().state();
  const ProcessFacts process = facts_of_this_process();
  const auto staged = store.staging().usage();
  if (!staged) return context.io.complain(staged.error());
  if (context.global.json) {
    Json out{{"schema", 1}};
    out["contents"] = {{"segments", contents.segments},
                       {"segment_bytes", contents.segment_bytes},
                       {"chunks", contents.chunks},
                       {"raw_bytes", contents.raw_bytes},
                       {"frames_decoded", contents.frames_decoded},
                       {"corrupt_reads", contents.corrupt_reads}};
    out["database"] = {{"table_bytes", database.table_bytes},
                       {"memory_bytes", database.memory_bytes},
                       {"wal_bytes", database.wal_bytes}};
    const auto& remotes = lazy.remotes;
    out["remote"] = {
        {"lazy_images", lazy.images},      {"ranges", lazy.requests},        {"bytes_read", lazy.bytes},
        {"failures", lazy.failures},       {"wrong_bytes", lazy.distrusted}, {"requests", remotes.requests},
        {"bytes_received", remotes.bytes}, {"retries", remotes.retries},     {"hedges", remotes.hedges},
        {"refused", remotes.refused},      {"cut_short", remotes.cut_short}, {"timed_out", remotes.timed_out}};
    out["tier"] = {{"hot_files", tier.hot_files},
                   {"hot_bytes", tier.hot_bytes},
                   {"hot_budget", tier.hot_budget},
                   {"pinned_files", tier.pinned_files},
                   {"pinned_bytes", tier.pinned_bytes},
                   {"frame_bytes", tier.frame_bytes},
                   {"frame_budget", tier.frame_budget},
                   {"hot_hits", tier.hot_hits},
                   {"frame_hits", tier.frame_hits},
                   {"frame_misses", tier.frame_misses},
                   {"fills", tier.fills},
                   {"evictions", tier.evictions},
                   {"fill_failures", tier.fill_failures},
                   {"integrity", tier.integrity}};
    out["staged"] = {{"files", staged->files}, {"bytes", staged->bytes}};
    out["layers"] = {{"unused", chores.unused}, {"foldable", chores.foldable}};
    out["space"] = {{"bytes", headroom.space.total},
                    {"free_bytes", headroom.space.free},
                    {"mark", headroom.mark},
                    {"refused", headroom.refused}};
    out["ballast"] = {{"bytes", ballast.size}, {"held_bytes", ballast.held}};
    out["process"] = {{"memory_bytes", process.memory_bytes},
                      {"peak_memory_bytes", process.peak_memory_bytes},
                      {"descriptors", process.descriptors},
                      {"descriptor_limit", process.descriptor_limit},
                      {"uptime_seconds", context.control.uptime_seconds()}};
    out["mounts"] = Json::array();
    for (const auto& mount : mounts) out["mounts"].push_back(as_json(mount));
    context.io.out(dump(out));
    return 0;
  }
  std::string out =
      fmt::format("contents   {} chunks of {} in {} segments of {}; {} frames decoded, {} corrupt reads\n",
                  contents.chunks, text::format_bytes(contents.raw_bytes), contents.segments,
                  text::format_bytes(contents.segment_bytes), contents.frames_decoded, contents.corrupt_reads);
  out += fmt::format("database   {} in tables, {} in logs, {} in memory\n", text::format_bytes(database.table_bytes),
                     text::format_bytes(database.wal_bytes), text::format_bytes(database.memory_bytes));
  out += fmt::format(
      "hot files  {}, {} of {}; {} pinned ({}); {} hits, {} fills, {} evictions, {} failures; checked by {}\n",
      tier.hot_files, text::format_bytes(tier.hot_bytes), text::format_bytes(tier.hot_budget), tier.pinned_files,
      text::format_bytes(tier.pinned_bytes), tier.hot_hits, tier.fills, tier.evictions, tier.fill_failures,
      tier.integrity);
  out += fmt::format("frames     {} of {} in memory; {} hits, {} misses\n", text::format_bytes(tier.frame_bytes),
                     text::format_bytes(tier.frame_budget), tier.frame_hits, tier.frame_misses);
  out += fmt::format("staged     {} files of {} that clones wrote and that are not settled\n", staged->files,
                     text::format_bytes(staged->bytes));
  if (lazy.images + lazy.remotes.requests != 0)
    out += fmt::format(
        "remotes    {} images not complete; {} in {} requests; {} tried again, {} refused, {} cut short, {} timed out, "
        "{} "
        "with wrong bytes\n",
        lazy.images, text::format_bytes(lazy.remotes.bytes), lazy.remotes.requests, lazy.remotes.retries,
        lazy.remotes.refused, lazy.remotes.cut_short, lazy.remotes.timed_out,
        lazy.distrusted + lazy.remotes.distrusted);
  if (chores.unused + chores.foldable != 0)
    out += fmt::format("layers     {} to be removed, {} to be folded\n", chores.unused, chores.foldable);
  out += fmt::format("space      {} of {} free; clones stop at {}, and were refused {} times\n",
                     text::format_bytes(headroom.space.free), text::format_bytes(headroom.space.total),
                     text::format_bytes(headroom.mark), headroom.refused);
  out += fmt::format("ballast    {} of {} held for a full disk, not counted above\n", text::format_bytes(ballast.held),
                     text::format_bytes(ballast.size));
  out += fmt::format("process    {} memory (peak {}), {} of {} descriptors, up {}\n",
                     text::format_bytes(process.memory_bytes), text::format_bytes(process.peak_memory_bytes),
                     process.descriptors, process.descriptor_limit,
                     text::format_duration(context.control.uptime_seconds()));
  for (const auto& mount : mounts) {
    out += fmt::format("mount      {}: {} requests, {} answered, {} errors, {} open files, {} backing ids{}\n",
                       text::escape(mount.mount.mountpoint), mount.requests, text::format_bytes(mount.answered_bytes),
                       mount.errors, mount.open_handles, mount.backing_ids, mount.passthrough ? ", passthrough" : "");
    if (!context.global.verbose) continue;
    for (const auto& [name, count] : mount.by_opcode) out += fmt::format("           {:>12} {}\n", count, name);
  }
  context.io.out(out);
  return 0;
}

}  // namespace stellarium::server
