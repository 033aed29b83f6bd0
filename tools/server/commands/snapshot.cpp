#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "fs/snapshots.h"
#include "tools/server/clone_quotas.h"
#include "tools/server/commands.h"
#include "tools/server/image.h"
#include "tools/server/json.h"
#include "tools/text/units.h"

// snapshot: one batch, whatever the size of the tree; what programs have open for writing is copied.
namespace stellarium::server {
namespace {

/// A path of each inode. A file does not know its names, so this walks the tree: for the few snapshots that need it.
Result<std::vector<std::string>> paths_of(const fs::LayerReader& reader, std::vector<fs::Ino> inodes) {
  std::ranges::sort(inodes);
  std::map<fs::Ino, std::string> paths;
  auto walked = walk(reader, "/", fs::kRootIno, [&](const Visited& visited) {
    if (std::ranges::binary_search(inodes, visited.ino)) paths.try_emplace(visited.ino, visited.path);
    return paths.size() < inodes.size();
  });
  if (!walked) return fail(walked.error(), "looking for the names of files that changed");
  std::vector<std::string> found;
  for (auto& [ino, path] : paths) found.push_back(std::move(path));
  std::ranges::sort(found);
  return found;
}

void report_json(const std::string& ref, const fs::Snapshots::Made& made, const std::vector<std::string>& fuzzy,
                 CommandContext& context) {
  Json out{{"schema", 1},
           {"snapshot", ref},
           {"mounted", made.mounted},
           {"copied", {{"files", made.files}, {"bytes", made.bytes}}},
           {"fuzzy", Json::array()}};
  for (const std::string& path : fuzzy) {
    Json entry;
    put_name(entry, "path", path);
    out["fuzzy"].push_back(std::move(entry));
  }
  context.io.out(dump(out));
}

void report(const fs::Snapshots::Made& made, const std::vector<std::string>& fuzzy, CommandContext& context) {
  if (made.files != 0)
    context.io.out(fmt::format("copied {} files that are open, {}\n", made.files, text::format_bytes(made.bytes)));
  for (const std::string& path : fuzzy) context.io.out("fuzzy: " + text::escape(path) + "\n");
}

}  // namespace

int run(const cli::SnapshotOptions& options, CommandContext& context) {
  const auto ref = parse_snapshot(options.ref);
  if (!ref) {
    return context.io.complain(
        Error{Errc::invalid_argument, options.ref + " names no snapshot: write CLONE@SNAPSHOT", 0});
  }
  const auto made = context.store.snapshots().make(ref->clone, ref->snapshot, [&] { return !context.io.cancelled(); });
  if (!made) return context.io.complain(made.error());
  if (auto counted = recount(context.store, ref->clone); !counted) return context.io.complain(counted.error());
  std::vector<std::string> fuzzy;
  if (!made->fuzzy.empty()) {
    auto paths = paths_of(fs::LayerReader{context.store.database(), made->layers}, made->fuzzy);
    if (!paths) return context.io.complain(paths.error());
    fuzzy = std::move(*paths);
    context.io.err(fmt::format("stellarium: warning: {} files changed while they were copied into {}\n", fuzzy.size(),
                               options.ref));
  }
  if (context.global.json) {
    report_json(options.ref, *made, fuzzy, context);
  } else if (!context.global.quiet) {
    report(*made, fuzzy, context);
  }
  return 0;
}

}  // namespace stellarium::server
