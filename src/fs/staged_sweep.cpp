#include "fs/staged_sweep.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "fs/layer_reader.h"
#include "fs/layer_store.h"
#include "fs/volumes.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kBetweenSweepQuestions = 1024;  // records, or files, for each `go_on`

/// The staged files of earlier runs, and which of them somebody needs.
class Leftovers {
 public:
  explicit Leftovers(std::vector<StagedId> ids) : ids_{std::move(ids)} {
    std::ranges::sort(ids_);
    named_.resize(ids_.size());
  }
  void keep(StagedId id) {
    const auto found = std::ranges::lower_bound(ids_, id);
    if (found != ids_.end() && *found == id) named_[static_cast<std::size_t>(found - ids_.begin())] = true;
  }
  std::vector<StagedId> unnamed() const {
    std::vector<StagedId> left;
    for (std::size_t i = 0; i < ids_.size(); ++i)
      if (!named_[i]) left.push_back(ids_[i]);
    return left;
  }

 private:
  std::vector<StagedId> ids_;
  std::vector<bool> named_;
};

/// False: `go_on` said no.
Result<bool> keep_named(const cas::Database& database, LayerId layer, Leftovers& leftovers,
                        const std::function<bool()>& go_on) {
  auto inodes = LayerReader{database, layer}.scan_inodes();
  for (std::size_t seen = 1;; ++seen) {
    const auto next = inodes.next();
    if (!next) return fail(next.error(), "layer " + std::to_string(layer));
    if (!*next) return true;
    if ((*next)->second.body == Body::staged) leftovers.keep((*next)->second.staged);
    if (seen % kBetweenSweepQuestions == 0 && !go_on()) return false;
  }
}

/// A snapshot of a mounted clone takes records of files in use along, from the layer that it freezes into the new one:
/// who comes to the one after that finds them in the other, which is there by then.
Result<bool> keep_all_named(const cas::Database& database, Leftovers& leftovers, const std::function<bool()>& go_on) {
  std::set<LayerId> walked;
  for (bool more = true; more;) {
    more = false;
    const auto layers = read_layers(database);
    if (!layers) return fail(layers.error());
    for (const auto& [layer, record] : *layers) {
      if (record.state != LayerRecord::State::writable && record.state != LayerRecord::State::frozen) continue;
      if (!walked.insert(layer).second) continue;
      more = true;
      const auto kept = keep_named(database, layer, leftovers, go_on);
      if (!kept || !*kept) return kept;
    }
  }
  return true;
}

}  // namespace

Result<std::size_t> sweep_staged(cas::Database& database, Staging& staging, const std::function<bool()>& go_on) {
  auto ids = staging.take_earlier();
  if (!ids) return fail(ids.error());
  if (ids->empty()) return std::size_t{0};
  Leftovers leftovers{std::move(*ids)};
  const auto kept = keep_all_named(database, leftovers, go_on);
  if (!kept) return fail(kept.error());
  if (!*kept) return std::size_t{0};
  const auto of_volumes = staged_by_volumes(database);
  if (!of_volumes) return fail(of_volumes.error());
  for (const StagedId id : *of_volumes) leftovers.keep(id);
  const std::vector<StagedId> unnamed = leftovers.unnamed();
  if (unnamed.empty()) return std::size_t{0};
  // That nobody names them must survive a power cut before they may go.
  const auto synced = database.sync();
  if (!synced) return fail(synced.error());
  std::size_t removed = 0;
  for (const StagedId id : unnamed) {
    if (removed % kBetweenSweepQuestions == 0 && !go_on()) break;
    if (auto gone = staging.remove(id); !gone) return fail(gone.error());
    ++removed;
  }
  return removed;
}

}  // namespace stellarium::fs
