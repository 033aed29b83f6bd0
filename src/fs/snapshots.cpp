#include "fs/snapshots.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>
#include <utility>

#include "base/log.h"
#include "fs/layer_reader.h"

namespace stellarium::fs {
namespace {

using Batch = cas::Database::Batch;

constexpr int kCopyRounds = 4;  // of copying what was opened meanwhile; then it is copied while others wait
constexpr auto kGatePatience = std::chrono::milliseconds{50};
constexpr auto kGatePause = std::chrono::milliseconds{200};  // in which the others go on
constexpr int kMostWaits = 120;                              // 30 seconds with somebody who copies a large file
constexpr int kMostRounds = 100;                             // with a clone that is mounted and unmounted all the time

}  // namespace

/// One call of `make`.
class Snapshots::Making {
 public:
  Making(const Parts& parts, const std::string& clone, const std::string& name, const std::function<bool()>& go_on)
      : parts_{parts},
        clones_{parts.database, parts.catalog},
        clone_{clone},
        name_{name},
        go_on_{go_on},
        copies_{parts.staging, go_on} {}

  Result<Made> run();

 private:
  enum class Outcome { made, again, wait };  ///< wait: somebody is at the gate

  Result<std::optional<OpenClones::Clone>> find_open(LayerId top) const;
  Result<void> list_mapped(const OpenClones::Clone& open) const;
  Result<void> strike_unmapped(const OpenClones::Clone& open) const;
  Result<std::optional<StagedId>> own_staged(const OpenClones::Clone& open, Ino ino,
                                             const std::optional<LayerReader::Located>& located) const;
  Result<void> prepare(const OpenClones::Clone& open);
  Result<Outcome> freeze(const std::optional<OpenClones::Clone>& open, const std::vector<LayerId>& layers);
  Result<Outcome> freeze_mounted(const OpenClones::Clone& open, const Clones::NewTop& top,
                                 const Catalog::WriteLayer& write);
  Result<std::vector<WritableTree::Entry>> decide(const OpenClones::Clone& open, bool& again);
  Result<void> write(Batch&& batch, const Clones::NewTop& top, const Catalog::WriteLayer& write) const;

  const Parts& parts_;
  const Clones clones_;
  const std::string &clone_, &name_;
  const std::function<bool()>& go_on_;
  SnapshotCopies copies_;
  int round_ = 1;
  Made made_;
};

Result<std::optional<OpenClones::Clone>> Snapshots::Making::find_open(LayerId top) const {
  std::optional<OpenClones::Clone> found;
  auto asked = parts_.clones.with({top}, [&](std::span<const OpenClones::Clone> open) -> Result<void> {
    if (!open.empty()) found = open.front();
    return {};
  });
  if (!asked) return fail(asked.error());
  return found;
}

/// The staged file of a record in the writable layer that has links and shares the file with no snapshot.
Result<std::optional<StagedId>> Snapshots::Making::own_staged(
    const OpenClones::Clone& open, Ino ino, const std::optional<LayerReader::Located>& located) const {
  if (!located || located->layer != open.records->reader().layer()) return std::nullopt;
  const Inode& inode = located->inode;
  if (inode.body != Body::staged || inode.nlink == 0) return std::nullopt;
  const auto owns = open.bodies->owns(ino, inode.staged);
  if (!owns) return fail(owns.error());
  return *owns ? std::optional{inode.staged} : std::nullopt;
}

/// After a server took over the mount, any staged file may be mapped.
Result<void> Snapshots::Making::list_mapped(const OpenClones::Clone& open) const {
  if (!open.mapped || !open.mapped->incomplete()) return {};
  auto inodes = LayerReader{parts_.database, open.records->reader().layer()}.scan_inodes();
  while (true) {
    const auto next = inodes.next();
    if (!next) return fail(next.error());
    if (!*next) break;
    if ((*next)->second.body == Body::staged) open.mapped->add((*next)->first);
  }
  open.mapped->set_incomplete(false);
  return {};
}

Result<void> Snapshots::Making::strike_unmapped(const OpenClones::Clone& open) const {
  if (!open.mapped) return {};
  for (const Ino ino : open.mapped->list()) {
    const std::uint64_t mark = open.mapped->mark(ino);
    const auto inode = open.records->inode(ino);
    if (!inode) return fail(inode.error());
    if (*inode && (*inode)->body == Body::staged) {
      const auto written = open.bodies->is_being_written((*inode)->staged);
      if (!written || *written) continue;  // not known: settled or removed since
    }
    open.mapped->strike(ino, mark);
  }
  return {};
}

/// Copies what would have to be copied if the moment were now.
Result<void> Snapshots::Making::prepare(const OpenClones::Clone& open) {
  if (auto listed = list_mapped(open); !listed) return listed;
  if (auto struck = strike_unmapped(open); !struck) return struck;
  std::set<Ino> busy;
  if (open.open_staged) std::ranges::copy(open.open_staged(), std::inserter(busy, busy.end()));
  if (open.mapped) std::ranges::copy(open.mapped->list(), std::inserter(busy, busy.end()));
  for (const Ino ino : busy) {
    const auto located = open.records->locate(ino);
    if (!located) return fail(located.error());
    const auto staged = own_staged(open, ino, *located);
    if (!staged) return fail(staged.error());
    if (!*staged) continue;
    auto copied = copies_.prepare(ino, **staged, /*wait=*/true);
    if (!copied && copied.error().code != Errc::not_found) return copied;  // settled or removed since: decided later
  }
  return {};
}

/// Which files are written just now, and what the snapshot has of them. Nobody opens one meanwhile, and none is
/// settled.
Result<std::vector<WritableTree::Entry>> Snapshots::Making::decide(const OpenClones::Clone& open, bool& again) {
  std::set<Ino> busy;
  // Who closes a file adds it to those that may be mapped before its handle goes: asked for afterwards.
  if (open.open_staged) std::ranges::copy(open.open_staged(), std::inserter(busy, busy.end()));
  const std::set<Ino> have_handles = busy;
  if (open.mapped) std::ranges::copy(open.mapped->list(), std::inserter(busy, busy.end()));
  std::vector<WritableTree::Entry> kept;
  made_.fuzzy.clear();
  made_.bytes = 0;
  for (const Ino ino : busy) {
    const auto located = open.records->reader().locate(ino);
    if (!located) return fail(located.error());
    const auto staged = own_staged(open, ino, *located);
    if (!staged) return fail(staged.error());
    if (!*staged) continue;
    if (!have_handles.contains(ino)) {
      const auto written = open.bodies->is_being_written(**staged);
      if (!written) return fail(written.error());
      if (!*written) continue;
    }
    const SnapshotCopies::Copy* copy = copies_.find(ino, **staged);
    bool current = false;
    if (copy != nullptr) {
      const auto same = copies_.is_current(*copy);
      if (!same) return fail(same.error());
      current = *same;
    }
    if (!current && round_ < kCopyRounds && (copy == nullptr || copy->attempts < SnapshotCopies::kAttempts)) {
      again = true;
      return kept;
    }
    if (copy == nullptr) {
      if (auto copied = copies_.prepare(ino, **staged, /*wait=*/false); !copied) return fail(copied.error());
      copy = copies_.find(ino, **staged);
      current = copy->exact;
    }
    if (!current) made_.fuzzy.push_back(ino);
    made_.bytes += static_cast<std::uint64_t>(copy->seen.st_size);
    kept.push_back({ino, SnapshotCopies::record_of(*copy, (*located)->inode)});
  }
  made_.files = kept.size();
  return kept;
}

Result<void> Snapshots::Making::write(Batch&& batch, const Clones::NewTop& top,
                                      const Catalog::WriteLayer& write) const {
  if (auto put = clones_.put_snapshot(batch, clone_, name_, top); !put) return put;
  return write(std::move(batch));
}

Result<Snapshots::Making::Outcome> Snapshots::Making::freeze_mounted(const OpenClones::Clone& open,
                                                                     const Clones::NewTop& top,
                                                                     const Catalog::WriteLayer& write_layer) {
  const WriteGate::Closed gate{open.bodies->gate(), kGatePatience};
  if (!gate) return Outcome::wait;
  const SyncOrder::Change in_order{parts_.staging.order()};
  bool again = false;
  std::vector<Ino> copied;
  auto frozen = open.records->freeze(
      top.layer,
      [&]() -> Result<std::vector<WritableTree::Entry>> {
        auto kept = decide(open, again);
        if (!kept) return kept;
        if (again) return fail(Errc::busy, "clone " + clone_ + " changes");
        for (const WritableTree::Entry& entry : *kept) {
          parts_.staging.note_unsynced(entry.inode.staged);
          copied.push_back(entry.ino);
        }
        return kept;
      },
      [&](Batch&& batch, Ino next_ino) {
        return write(std::move(batch), {top.layer, top.tree, next_ino}, write_layer);
      });
  if (again) return Outcome::again;
  if (!frozen) return fail(frozen.error());
  copies_.take(copied);
  return Outcome::made;
}

/// The moment itself.
Result<Snapshots::Making::Outcome> Snapshots::Making::freeze(const std::optional<OpenClones::Clone>& open,
                                                             const std::vector<LayerId>& layers) {
  Result<Outcome> outcome = Outcome::again;
  const auto added = parts_.catalog.extend_layer(
      [&](LayerId layer, TreeId tree, const Catalog::WriteLayer& write_layer) -> Result<void> {
        const auto now = clones_.find(clone_);
        if (!now) return fail(now.error());
        return parts_.clones.with({layers.front()}, [&](std::span<const OpenClones::Clone> mounted) -> Result<void> {
          const bool same = open ? !mounted.empty() && mounted.front().records == open->records : mounted.empty();
          if (!same || now->layers != layers) return fail(Errc::busy, "clone " + clone_ + " changes");
          if (open) {
            outcome = freeze_mounted(*open, {layer, tree, {}}, write_layer);
            if (!outcome) return fail(outcome.error());
            return *outcome == Outcome::made ? Result<void>{} : fail(Errc::busy, "clone " + clone_ + " changes");
          }
          outcome = Outcome::made;
          return write({}, {layer, tree, {}}, write_layer);
        });
      });
  if (!added && outcome && *outcome != Outcome::made && added.error().code == Errc::busy) return outcome;
  if (!added) return fail(added.error());
  return outcome;
}

Result<Snapshots::Made> Snapshots::Making::run() {
  for (int waits = 0;;) {
    if (auto free = clones_.check_snapshot(clone_, name_); !free) return fail(free.error());
    const auto clone = clones_.find(clone_);
    if (!clone) return fail(clone.error());
    const auto open = find_open(clone->layers.front());
    if (!open) return fail(open.error());
    if (*open) {
      if (auto prepared = prepare(**open); !prepared) return fail(prepared.error(), "snapshot of " + clone_);
    }
    const auto outcome = freeze(*open, clone->layers);
    if (!outcome) return fail(outcome.error());
    if (*outcome == Outcome::made) {
      made_.layers = clone->layers;
      made_.mounted = open->has_value();
      break;
    }
    if (!go_on_()) return fail(Errc::cancelled, "stopped");
    if (*outcome == Outcome::wait ? ++waits > kMostWaits : ++round_ > kMostRounds)
      return fail(Errc::busy, "clone " + clone_ + " is busy: a large file is being copied, or it is mounted just now");
    if (*outcome == Outcome::wait) std::this_thread::sleep_for(kGatePause);
  }
  if (auto synced = parts_.database.sync(); !synced) return fail(synced.error());
  return std::move(made_);
}

Result<Snapshots::Made> Snapshots::make(const std::string& clone, const std::string& name,
                                        const std::function<bool()>& go_on) {
  return Making{parts_, clone, name, go_on}.run();
}

}  // namespace stellarium::fs
