#include <fmt/format.h>

#include <chrono>
#include <set>

#include "tools/server/commands.h"
#include "tools/server/json.h"
#include "tools/text/units.h"

// settle: what clones wrote becomes contents of the store, now.
namespace stellarium::server {
namespace {

/// Layers of the clones that were named, or of all.
Result<std::vector<fs::LayerId>> layers_of(const std::vector<std::string>& names, Store& store) {
  if (names.empty()) return fs::written_layers(store.database());
  std::set<fs::LayerId> all;  // clones may share some
  for (const std::string& name : names) {
    if (auto found = store.clones().find(name); !found) return fail(found.error());
    const auto layers = fs::written_layers(store.database(), name);
    if (!layers) return fail(layers.error());
    all.insert(layers->begin(), layers->end());
  }
  return std::vector<fs::LayerId>{all.begin(), all.end()};
}

}  // namespace

int run(const cli::SettleOptions& options, CommandContext& context) {
  const auto began = std::chrono::steady_clock::now();
  const auto layers = layers_of(options.clones, context.store);
  if (!layers) return context.io.complain(layers.error());
  const auto go_on = [&](const fs::Settler::Report& so_far) {
    context.io.progress({.phase = "settle", .done = so_far.bytes_read, .files = so_far.files});
    return !context.io.cancelled();
  };
  const auto report = context.store.with_room(
      [&] { return context.store.settler().settle(*layers, std::chrono::milliseconds{0}, go_on); });
  if (!report) return context.io.complain(report.error());
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  if (context.global.json) {
    context.io.out(dump(Json{{"schema", 1},
                             {"files", report->files},
                             {"bytes", report->bytes},
                             {"busy", report->busy},
                             {"failed", report->failed},
                             {"bytes_new", report->bytes_new},
                             {"bytes_stored", report->bytes_stored},
                             {"seconds", seconds}}));
  } else if (!context.global.quiet) {
    context.io.out(fmt::format("settled {} files, {}; {} new, stored as {}{}{}; {}\n", report->files,
                               text::format_bytes(report->bytes), text::format_bytes(report->bytes_new),
                               text::format_bytes(report->bytes_stored),
                               report->busy == 0 ? "" : fmt::format("; {} busy", report->busy),
                               report->failed == 0 ? "" : fmt::format("; {} unreadable, see the log", report->failed),
                               text::format_duration(seconds)));
  }
  return report->failed == 0 ? 0 : 1;
}

}  // namespace stellarium::server
