#include "fs/rebinding.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>
#include <utility>

#include "fs/clones.h"
#include "fs/families.h"
#include "fs/layer_store.h"
#include "fs/records.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kSlice = 256;   // records that are written while locks are held, 4 µs each
constexpr std::size_t kMaxOpen = 64;  // clones above a frozen layer whose locks are held at once
constexpr int kTries = 5;             // for a file that somebody just looks at
constexpr auto kPause = std::chrono::milliseconds{2};

bool same_time(const timespec& a, const timespec& b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/// Holds the locks of all of them, in the order of their layers, while `work` runs.
Result<void> while_unchanged(std::span<const OpenClones::Clone> clones, const std::function<Result<void>()>& work) {
  if (clones.empty()) return work();
  return clones.front().records->exclusively([&] { return while_unchanged(clones.subspan(1), work); });
}

}  // namespace

Result<std::vector<LayerId>> Rebinding::layers_with(LayerId layer) const {
  const auto all = read_layers(database_);
  if (!all) return fail(all.error());
  const auto own = std::ranges::lower_bound(*all, layer, {}, &std::pair<LayerId, LayerRecord>::first);
  if (own == all->end() || own->first != layer || own->second.parent == 0) return std::vector{layer};  // removed
  // What a layer says may have been copied into those below it, which are to take its place (LayerFold).
  const auto below = layer_chain(database_, own->second.parent);
  if (!below) return fail(below.error());
  std::vector<LayerId> found{below->rbegin() + 1, below->rend()};  // without the image
  // A layer is made after the one below it, so its number is higher: parents come first.
  const auto first = static_cast<std::ptrdiff_t>(found.size());
  found.push_back(layer);
  for (const auto& [other, record] : *all) {
    const bool written = record.state == LayerRecord::State::writable || record.state == LayerRecord::State::frozen;
    if (written && std::binary_search(found.begin() + first, found.end(), record.parent)) found.push_back(other);
  }
  return found;
}

Result<bool> Rebinding::is_as_seen(const ReadFile& file) {
  // A mapping that came since would go on writing to a file that is about to go.
  const auto written = staging_.is_being_written(file.staged);
  if (!written) return written.error().code == Errc::not_found ? Result<bool>{false} : fail(written.error());
  if (*written) return false;
  const auto now = staging_.status(file.staged);
  if (!now) return now.error().code == Errc::not_found ? Result<bool>{false} : fail(now.error());
  return now->st_ino == file.seen.st_ino && now->st_size == file.seen.st_size &&
         same_time(now->st_mtim, file.seen.st_mtim) && same_time(now->st_ctim, file.seen.st_ctim);
}

/// False: the record names another body, or none any more.
Result<bool> Rebinding::add_record(cas::Database::Batch& batch, LayerId layer, const ReadFile& file,
                                   bool must_be_linked) {
  const std::string key = inode_key(layer, file.ino);
  const auto value = database_.get(kInodeFamily, key);
  if (!value) return fail(value.error());
  if (!*value) return false;
  auto inode = decode_inode(**value);
  if (!inode) return fail(inode.error());
  if (inode->body != Body::staged || inode->staged != file.staged) return false;
  if (must_be_linked && inode->nlink == 0) return false;  // it goes with its last handle
  if (auto known = refresh_staged(staging_, *inode); !known) return fail(known.error());
  inode->body = file.body.body;
  inode->staged = 0;
  inode->base = {};
  inode->inline_bytes = file.body.inline_bytes;
  inode->content = file.body.content;
  inode->size = file.body.size;
  inode->allocated = file.body.allocated;
  inode->program = file.body.elf || (inode->mode & 0111) != 0;
  if (const char* why = why_impossible(*inode); why != nullptr)
    return fail(Errc::corrupt, "settling inode " + std::to_string(file.ino) + ": " + why);
  batch.put(kInodeFamily, key, encode_inode(*inode));
  return true;
}

void Rebinding::count(const ReadFile& file, Outcome& outcome) const {
  outcome.settled.push_back(file.staged);
  outcome.bytes += file.body.size;
}

/// Files of the writable layer of a mounted clone, one after another: what is looked at is true until it is written.
Result<void> Rebinding::bind_mounted(const OpenClones::Clone& clone, std::span<const ReadFile> files,
                                     std::vector<const ReadFile*>& left, Outcome& outcome) {
  for (const ReadFile& file : files) {
    Result<void> done;
    bool bound = false;
    const bool unused = clone.bodies->while_unused(file.ino, file.staged, [&] {
      const CloneQuota::Weighing weighing{&clone.bodies->quota(), {file.ino}};
      done = clone.records->exclusively([&]() -> Result<void> {
        if (clone.is_open(file.ino)) return {};
        const auto same = is_as_seen(file);
        if (!same) return fail(same.error());
        if (!*same) return {};
        cas::Database::Batch batch;
        const auto added = add_record(batch, file.layer, file, true);
        if (!added) return fail(added.error());
        if (!*added) return {};
        if (auto written = database_.write(std::move(batch), cas::Database::Sync::no); !written) return written;
        bound = true;
        clone.bodies->quota().gone(file.staged);
        return {};
      });
    });
    if (!done) return done;
    if (bound) {
      count(file, outcome);
    } else if (unused) {
      ++outcome.busy;
    } else {
      left.push_back(&file);
    }
  }
  return {};
}

/// Files of which nobody can change a byte: those of a frozen layer, or of a clone that is not mounted. The caller sees
/// to it that no record of `layers` changes meanwhile.
Result<void> Rebinding::bind_quiet(std::span<const ReadFile> files, const std::vector<LayerId>& layers,
                                   Outcome& outcome) {
  cas::Database::Batch batch;
  std::vector<const ReadFile*> bound;
  for (const ReadFile& file : files) {
    const auto same = is_as_seen(file);
    if (!same) return fail(same.error());
    const auto added = *same ? add_record(batch, file.layer, file, true) : false;
    if (!added) return fail(added.error());
    if (!*added) {
      ++outcome.busy;
      continue;
    }
    for (const LayerId layer : layers) {
      if (layer == file.layer) continue;
      const auto copied = add_record(batch, layer, file, false);
      if (!copied) return fail(copied.error());
    }
    bound.push_back(&file);
  }
  if (batch.empty()) return {};
  if (auto written = database_.write(std::move(batch), cas::Database::Sync::no); !written) return written;
  for (const ReadFile* file : bound) count(*file, outcome);
  return {};
}

Result<void> Rebinding::bind_slice(std::span<const ReadFile> files, std::vector<const ReadFile*>& left,
                                   Outcome& outcome) {
  const LayerId layer = files.front().layer;
  // A snapshot freezes a layer, and then its files can be shared: that must not come in between.
  return catalog_.while_layers_stay([&]() -> Result<void> {
    const auto record = read_layer(database_, layer);
    if (!record) return fail(record.error());
    const bool writable = *record && (*record)->state == LayerRecord::State::writable;
    if (!writable && !(*record && (*record)->state == LayerRecord::State::frozen)) return {};  // removed
    const auto layers = writable ? std::vector{layer} : layers_with(layer);
    if (!layers) return fail(layers.error());
    return clones_.with(*layers, [&](std::span<const OpenClones::Clone> open) -> Result<void> {
      if (writable && open.size() == 1) return bind_mounted(open.front(), files, left, outcome);
      if (writable ? !open.empty() : open.size() > kMaxOpen) {
        outcome.busy += files.size();
        return {};
      }
      return while_unchanged(open, [&] { return bind_quiet(files, *layers, outcome); });
    });
  });
}

Result<void> Rebinding::bind(std::span<const ReadFile> files, Outcome& outcome) {
  if (files.empty()) return {};
  const auto over = layers_with(files.front().layer);
  if (!over) return fail(over.error());
  const std::size_t slice = std::max<std::size_t>(kSlice / over->size(), 1);
  std::vector<ReadFile> again;
  for (int attempt = 0; !files.empty(); ++attempt) {
    std::vector<const ReadFile*> left;
    for (std::size_t at = 0; at < files.size(); at += slice) {
      if (auto done = bind_slice(files.subspan(at, std::min(slice, files.size() - at)), left, outcome); !done)
        return done;
    }
    if (attempt + 1 == kTries) {
      outcome.busy += left.size();
      return {};
    }
    std::vector<ReadFile> next;
    for (const ReadFile* file : left) next.push_back(*file);
    again = std::move(next);
    files = again;
    if (!files.empty()) std::this_thread::sleep_for(kPause);
  }
  return {};
}

}  // namespace stellarium::fs
