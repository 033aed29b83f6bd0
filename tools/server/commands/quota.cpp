#include <fmt/format.h>

#include "tools/server/clone_quotas.h"
#include "tools/server/commands.h"
#include "tools/server/json.h"

// quota: how much a clone may hold of its own.
namespace stellarium::server {
namespace {

Result<std::optional<std::uint64_t>> wanted(const std::string& size) {
  if (size == "none") return std::optional<std::uint64_t>{};
  const auto limit = parse_limit(size);
  if (!limit) return fail(limit.error());
  return std::optional{*limit};
}

}  // namespace

int run(const cli::QuotaOptions& options, CommandContext& context) {
  if (!options.size.empty()) {
    const auto limit = wanted(options.size);
    if (!limit) return context.io.complain(limit.error());
    const auto open = set_quota(context.store, options.clone, *limit);
    if (!open) return context.io.complain(open.error());
    if (*open != 0) {
      context.io.err(
          fmt::format("stellarium: note: {} files of {} are open; what is written to them counts, but ends "
                      "at the quota only when they have been closed\n",
                      *open, options.clone));
    }
  }
  const auto state = quota_of(context.store, options.clone);
  if (!state) return context.io.complain(state.error());
  if (context.global.json) {
    Json out{{"schema", 1}, {"clone", options.clone}};
    put_quota(out, *state);
    context.io.out(dump(out));
  } else if (!context.global.quiet) {
    context.io.out(options.clone + "  " + to_text(*state) + "\n");
  }
  return 0;
}

}  // namespace stellarium::server
