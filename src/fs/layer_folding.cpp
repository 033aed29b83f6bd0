#include "fs/layer_folding.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "fs/clones.h"
#include "fs/layer_store.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kEffort = 2000;  // microseconds for one part

Result<LayerRecord> existing_layer(const cas::Database& database, LayerId layer) {
  const auto record = read_layer(database, layer);
  if (!record) return fail(record.error());
  if (!*record) return fail(Errc::corrupt, layer_text(layer) + " is missing");
  return **record;
}

}  // namespace

/// The last part: what lay on the upper layer lies on the lower one from now on.
Result<void> LayerFolding::finish(const Catalog::Fold& fold, cas::Database::Batch&& batch,
                                  std::span<const OpenClones::Clone> open, const Catalog::WriteLayer& write) const {
  const auto lie_lower = [&]() -> Result<void> {
    auto above = existing_layer(parts_.database, fold.above);
    auto lower = existing_layer(parts_.database, fold.lower);
    auto upper = existing_layer(parts_.database, fold.upper);
    for (const auto* record : {&above, &lower, &upper})
      if (!*record) return fail(record->error());
    above->parent = fold.lower;
    lower->next_ino = std::max(lower->next_ino, upper->next_ino);
    put_layer(batch, fold.above, *above);
    put_layer(batch, fold.lower, *lower);
    // It lies on nothing any more, so that the lower one may be folded in its turn; who reads it may go on.
    put_layer(batch, fold.upper, {.state = LayerRecord::State::building, .tree = upper->tree, .manifest = {}});
    return write(std::move(batch));
  };
  // A mounted clone writes the record of its own layer, too.
  const auto own = std::ranges::find(open, fold.above,
                                     [](const OpenClones::Clone& clone) { return clone.records->reader().layer(); });
  auto done = own == open.end() ? lie_lower() : own->records->leave_out(fold.upper, lie_lower);
  if (!done) return done;
  for (const OpenClones::Clone& clone : open) {
    if (own != open.end() && clone.records == own->records) continue;
    if (done = clone.records->leave_out(fold.upper, [] { return Result<void>{}; }); !done) return done;
  }
  return {};
}

Result<LayerFolding::Outcome> LayerFolding::fold(LayerId upper, const std::function<bool()>& go_on) {
  std::optional<LayerFold> fold;
  std::vector<StagedId> replaced;
  Outcome outcome = Outcome::folded;
  Result<void> failed;
  for (bool more = true; more;) {
    const auto found = parts_.catalog.fold(upper, [&](const Catalog::Fold& at, const Catalog::WriteLayer& write) {
      return parts_.clones.with_over(upper, [&](std::span<const OpenClones::Clone> open) -> Result<void> {
        if (!fold) {
          auto chain = layer_chain(parts_.database, at.lower);
          if (!chain) return fail(chain.error());
          fold.emplace(parts_.database, LayerFold::Layers{upper, at.lower, {chain->begin() + 1, chain->end()}});
        }
        auto part = fold->next(kEffort, /*keep_unlinked=*/!open.empty());
        if (!part) return fail(part.error());
        replaced.insert(replaced.end(), part->replaced.begin(), part->replaced.end());
        more = !part->last;
        return part->last ? finish(at, std::move(part->batch), open, write) : write(std::move(part->batch));
      });
    });
    if (!found && found.error().code == Errc::busy) {
      outcome = Outcome::busy;
      break;
    }
    if (!found) {
      failed = fail(found.error());
      break;
    }
    if (!*found) {
      outcome = Outcome::changed;
      break;
    }
    if (!go_on() && more) {
      outcome = Outcome::stopped;
      break;
    }
  }
  if (!failed) return fail(failed.error());
  // The layer that was left out is removed next, and files that nothing names: not before that is sure to last.
  if (auto synced = parts_.database.sync(); !synced) return fail(synced.error());
  if (!replaced.empty()) parts_.staging.leases().remove_when_free(std::move(replaced));
  return outcome;
}

Result<LayerFolding::Report> LayerFolding::run(const std::function<bool()>& go_on) {
  Report report;
  // One at a time and asked anew: folding one changes what others are.
  std::vector<LayerId> busy;
  for (;;) {
    const std::vector<LayerId> uppers = parts_.catalog.foldable();
    const auto next =
        std::ranges::find_if(uppers, [&](LayerId layer) { return std::ranges::find(busy, layer) == busy.end(); });
    if (next == uppers.end()) break;
    const auto outcome = fold(*next, go_on);
    if (!outcome) return fail(outcome.error());
    if (*outcome == Outcome::stopped) break;
    if (*outcome == Outcome::folded) ++report.folded;
    if (*outcome == Outcome::busy) busy.push_back(*next);
  }
  report.busy = busy.size();
  return report;
}

}  // namespace stellarium::fs
