#include <fmt/format.h>

#include <chrono>

#include "tools/server/commands.h"
#include "tools/server/json.h"
#include "tools/text/units.h"

namespace stellarium::server {
namespace {

/// Counters that only grow; a line shows what was added in a second.
struct Counters {
  std::uint64_t requests = 0, errors = 0, handles = 0, decoded = 0, hot_hits = 0, frame_hits = 0, frame_misses = 0,
                fills = 0, hot_bytes = 0;
  std::size_t mounts = 0;
};

Counters count(Store& store) {
  Counters now;
  for (const auto& mount : store.fuse().stats()) {
    now.requests += mount.requests;
    now.errors += mount.errors;
    now.handles += mount.open_handles;
    ++now.mounts;
  }
  const auto tier = store.tier().stats();
  now.decoded = store.contents().stats().frames_decoded;
  now.hot_hits = tier.hot_hits;
  now.frame_hits = tier.frame_hits;
  now.frame_misses = tier.frame_misses;
  now.fills = tier.fills;
  now.hot_bytes = tier.hot_bytes;
  return now;
}

}  // namespace

int run(const cli::TopOptions& options, CommandContext& context) {
  constexpr unsigned kLinesPerHeading = 20;
  Counters last = count(context.store);
  for (std::uint64_t line = 0; options.count == 0 || line < options.count; ++line) {
    if (!context.io.wait(std::chrono::seconds{1})) return 0;
    const Counters now = count(context.store);
    if (context.global.json) {
      const Json out{{"schema", 1},
                     {"mounts", now.mounts},
                     {"requests", now.requests - last.requests},
                     {"errors", now.errors - last.errors},
                     {"open_handles", now.handles},
                     {"hot_hits", now.hot_hits - last.hot_hits},
                     {"frame_hits", now.frame_hits - last.frame_hits},
                     {"frame_misses", now.frame_misses - last.frame_misses},
                     {"frames_decoded", now.decoded - last.decoded},
                     {"fills", now.fills - last.fills},
                     {"hot_bytes", now.hot_bytes}};
      context.io.out(out.dump() + "\n");
    } else {
      if (line % kLinesPerHeading == 0) {
        context.io.out(fmt::format("{:>6} {:>10} {:>8} {:>8} {:>9} {:>9} {:>9} {:>8} {:>10}\n", "MOUNTS", "REQUESTS/s",
                                   "ERRORS/s", "OPEN", "HOT/s", "FRAME/s", "MISS/s", "FILLS/s", "HOT FILES"));
      }
      context.io.out(fmt::format(
          "{:>6} {:>10} {:>8} {:>8} {:>9} {:>9} {:>9} {:>8} {:>10}\n", now.mounts, now.requests - last.requests,
          now.errors - last.errors, now.handles, now.hot_hits - last.hot_hits, now.frame_hits - last.frame_hits,
          now.frame_misses - last.frame_misses, now.fills - last.fills, text::format_bytes(now.hot_bytes)));
    }
    last = now;
  }
  return 0;
}

}  // namespace stellarium::server
