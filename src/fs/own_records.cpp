#include "fs/own_records.h"

#include <sys/stat.h>

#include <algorithm>

#include "fs/layer_store.h"
#include "fs/tree_change.h"

namespace stellarium::fs {

Result<OwnRecords> OwnRecords::open(const cas::Database& database, const std::vector<LayerId>& layers) {
  if (layers.size() < 2) return fail(Errc::corrupt, "a clone has at least two layers");
  const auto below = read_layer(database, layers[1]);
  if (!below) return fail(below.error());
  if (!*below) return fail(Errc::corrupt, layer_text(layers[1]) + " is missing");
  const bool sealed = (*below)->state == LayerRecord::State::sealed;
  return OwnRecords{database, layers, sealed ? (*below)->files + 1 : (*below)->next_ino};
}

Result<std::uint64_t> OwnRecords::weight(Ino ino) const {
  const auto located = all_.locate(ino);
  if (!located) return fail(located.error());
  if (!*located || (*located)->layer != layer()) return std::uint64_t{0};
  return weight(ino, (*located)->inode);
}

Result<std::uint64_t> OwnRecords::weight(Ino ino, const Inode& inode) const {
  if (is_forgotten(inode)) return std::uint64_t{0};
  const bool own = ino >= first_;
  Inode lower;
  lower.nlink = 0;
  if (!own) {
    const auto found = below_.inode(ino);
    if (!found) return fail(found.error());
    if (*found) lower = **found;
  }
  std::uint64_t weight = own ? kNode : 0;
  if (!S_ISDIR(inode.mode)) {
    const std::uint32_t names = std::max<std::uint32_t>(inode.nlink, own ? 1 : 0);
    weight = kNode * (names - std::min(names, lower.nlink));
  }
  if (inode.body == Body::content && inode.content != lower.content) weight += inode.allocated;
  if (inode.body == Body::inline_ && inode.inline_bytes != lower.inline_bytes) weight += inode.inline_bytes.size();
  if (!inode.has_xattrs) return weight;
  const auto xattrs = weight_of_xattrs(ino);
  if (!xattrs) return xattrs;
  return weight + *xattrs;
}

Result<std::uint64_t> OwnRecords::weight_of_xattrs(Ino ino) const {
  const auto now = all_.xattrs(ino);
  if (!now) return fail(now.error());
  std::vector<std::pair<std::string, std::string>> lower;
  if (ino < first_) {
    auto found = below_.xattrs(ino);
    if (!found) return fail(found.error());
    lower = std::move(*found);
  }
  std::uint64_t weight = 0;
  for (const auto& one : *now)
    if (std::ranges::find(lower, one) == lower.end()) weight += one.first.size() + one.second.size();
  return weight;
}

Result<OwnRecords::Total> OwnRecords::total() const {
  Total total;
  LayerReader::InodeScan scan = LayerReader{database_, layer()}.scan_inodes();
  while (true) {
    const auto next = scan.next();
    if (!next) return fail(next.error());
    if (!*next) return total;
    const auto& [ino, inode] = **next;
    const auto own = weight(ino, inode);
    if (!own) return fail(own.error());
    total.weight += *own;
    if (inode.body != Body::staged) continue;
    const auto lower = ino < first_ ? below_.inode(ino) : std::optional<Inode>{};
    if (!lower) return fail(lower.error());
    if (!*lower || (*lower)->staged != inode.staged) total.staged.push_back(inode.staged);
  }
}

Result<std::uint64_t> OwnRecords::used(Staging& staging) const {
  const auto all = total();
  if (!all) return fail(all.error());
  std::uint64_t bytes = all->weight;
  for (const StagedId id : all->staged) {
    const auto status = staging.status(id);
    if (!status && status.error().code == Errc::not_found) continue;  // settled or removed since
    if (!status) return fail(status.error());
    bytes += static_cast<std::uint64_t>(status->st_blocks) * 512;
  }
  return bytes;
}

Result<std::vector<StagedId>> OwnRecords::staged_below() const {
  std::vector<StagedId> staged;
  for (const LayerId layer : below_.layers()) {
    const auto record = read_layer(database_, layer);
    if (!record) return fail(record.error());
    if (!*record || (*record)->state == LayerRecord::State::sealed) break;
    LayerReader::InodeScan scan = LayerReader{database_, layer}.scan_inodes();
    while (true) {
      const auto next = scan.next();
      if (!next) return fail(next.error());
      if (!*next) break;
      if ((*next)->second.body == Body::staged) staged.push_back((*next)->second.staged);
    }
  }
  return staged;
}

}  // namespace stellarium::fs
