#include "fs/settle.h"

#include <time.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "base/log.h"
#include "fs/clock.h"
#include "fs/clones.h"
#include "fs/exact_holes.h"
#include "fs/families.h"
#include "fs/layer_reader.h"
#include "fs/layer_store.h"
#include "fs/records.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kGroupFiles = 1000;
constexpr std::uint64_t kGroupBytes = 64u << 20;
constexpr std::uint64_t kSpare = 1u << 20;       // for records, beside the contents
constexpr std::size_t kBetweenQuestions = 4096;  // records of a scan for each `go_on`
constexpr std::size_t kPiecesBetweenLooks = 64;  // 16 MiB
constexpr int kMaxFailures = 3;                  // one after another: then it is the store, not the files
constexpr std::uint64_t kPatience = 32u << 20;

struct Candidate {
  Ino ino = 0;
  StagedId staged = 0;
  std::uint32_t mode = 0;
  StagedBase base = {};
};

}  // namespace

/// While it lives, no other run does.
class Settler::Turn {
 public:
  explicit Turn(Settler& settler) : settler_{settler} { settler_.begin(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() { settler_.end(); }

 private:
  Settler& settler_;
};

/// One call of `settle`.
class Settler::Run {
 public:
  Run(const Parts& parts, std::chrono::milliseconds quiet, const GoOn& go_on)
      : parts_{parts},
        quiet_{quiet},
        go_on_{go_on},
        rebinding_{parts.database, parts.catalog, parts.staging, parts.clones} {}

  Result<void> layer(LayerId layer);
  /// Ends a group: what was read becomes what the records say.
  Result<void> flush();
  bool stopped() const { return stopped_; }
  const Report& report() const { return report_; }
  bool lacked_room() const { return lacked_room_; }

 private:
  Result<std::vector<Candidate>> candidates(const std::vector<LayerId>& chain, Ino& next);
  Result<bool> belongs_below(const std::vector<LayerId>& chain, Ino ino, StagedId staged) const;
  Result<bool> is_open(LayerId layer, Ino ino);
  Result<void> drop_open(LayerId layer, std::vector<Candidate>& found);
  Result<void> read(LayerId layer, const Candidate& candidate);
  Result<void> read_open(LayerId layer, const Candidate& candidate, int fd);
  Result<std::optional<StagedBase>> base_of(LayerId layer, const Candidate& candidate) const;
  Result<bool> has_room(std::uint64_t bytes);
  bool going_on() {
    stopped_ = stopped_ || !go_on_(report_);
    return !stopped_;
  }

  const Parts& parts_;
  const std::chrono::milliseconds quiet_;
  const GoOn& go_on_;
  bool writable_ = false;  // the layer that is being settled
  Rebinding rebinding_;
  Report report_;
  bool stopped_ = false, lacked_room_ = false;
  int failures_ = 0;  // one after another
  std::unique_ptr<cas::WriteSession> session_;
  std::vector<ReadFile> read_;  // of the group, layer after layer
  std::uint64_t bytes_ = 0;     // of the group
  std::vector<std::byte> buffer_;
};

/// The next inodes of the chain's first layer that have a staged body of its own, from `next` on, which becomes 0 at
/// the end.
Result<std::vector<Candidate>> Settler::Run::candidates(const std::vector<LayerId>& chain, Ino& next) {
  std::vector<Candidate> found;
  const std::string prefix = layer_prefix(chain.front());
  const auto cursor =
      parts_.database.scan_from(inode_key(chain.front(), next), kInodeFamily, prefix, prefix_end(prefix));
  next = 0;
  for (std::size_t seen = 1; cursor->valid(); cursor->next(), ++seen) {
    const auto key = decode_inode_key(cursor->key());
    if (!key) return fail(key.error());
    if (found.size() == kGroupFiles) {
      next = key->ino;
      return found;
    }
    if (seen % kBetweenQuestions == 0 && !going_on()) return found;
    const auto inode = decode_inode(cursor->value());
    if (!inode) return fail(inode.error());
    if (inode->body != Body::staged || inode->nlink == 0) continue;
    const auto below = belongs_below(chain, key->ino, inode->staged);
    if (!below) return fail(below.error());
    if (!*below) found.push_back({key->ino, inode->staged, inode->mode, inode->base});
  }
  if (auto walked = cursor->status(); !walked) return fail(walked.error());
  return found;
}

/// A record that was copied up for its attributes names the file of a frozen layer, with which it is settled.
Result<bool> Settler::Run::belongs_below(const std::vector<LayerId>& chain, Ino ino, StagedId staged) const {
  if (chain.size() <= 2) return false;  // below there is only the image
  const auto below = LayerReader{parts_.database, {chain.begin() + 1, chain.end()}}.inode(ino);
  if (!below) return fail(below.error());
  return *below && (*below)->body == Body::staged && (*below)->staged == staged;
}

Result<bool> Settler::Run::is_open(LayerId layer, Ino ino) {
  bool found = false;
  auto asked = parts_.clones.with({layer}, [&](std::span<const OpenClones::Clone> open) -> Result<void> {
    found = std::ranges::any_of(open, [&](const OpenClones::Clone& clone) { return clone.is_open(ino); });
    return {};
  });
  if (!asked) return fail(asked.error());
  return found;
}

Result<void> Settler::Run::drop_open(LayerId layer, std::vector<Candidate>& found) {
  return parts_.clones.with({layer}, [&](std::span<const OpenClones::Clone> open) -> Result<void> {
    for (const OpenClones::Clone& clone : open)
      report_.busy += std::erase_if(found, [&](const Candidate& file) { return clone.is_open(file.ino); });
    return {};
  });
}

Result<void> Settler::Run::layer(LayerId layer) {
  const auto record = read_layer(parts_.database, layer);
  if (!record) return fail(record.error());
  if (!*record || ((*record)->state != LayerRecord::State::writable && (*record)->state != LayerRecord::State::frozen))
    return {};  // removed meanwhile, or an image's
  writable_ = (*record)->state == LayerRecord::State::writable;
  const auto chain = layer_chain(parts_.database, layer);
  if (!chain) return fail(chain.error());
  Ino next = kRootIno;
  while (next != 0 && !stopped_) {
    auto found = candidates(*chain, next);
    if (!found) return fail(found.error());
    if (auto dropped = drop_open(layer, *found); !dropped) return dropped;
    for (const Candidate& candidate : *found) {
      if (!going_on()) break;
      if (auto done = read(layer, candidate); !done) return done;
      if (read_.size() < kGroupFiles && bytes_ < kGroupBytes) continue;
      if (auto flushed = flush(); !flushed) return flushed;
    }
  }
  return {};
}

Result<void> Settler::Run::read(LayerId layer, const Candidate& candidate) {
  if (parts_.staging.has_failed(candidate.staged)) {
    ++report_.failed;
    return {};
  }
  if (candidate.base) {
    const auto file = parts_.staging.find(candidate.staged);
    const auto exact = file ? make_holes_exact(parts_.staging, **file) : Result<void>{};  // one that is gone: below
    if (!exact) {
      ++report_.failed;
      log::warn("inode {} of layer {} stays a staged file: {}", candidate.ino, layer, to_string(exact.error()));
      return {};
    }
  }
  // A mapping outlives its handle, and stores to a page that is writable already leave no trace in the file's times.
  // One that comes later does.
  const auto written = parts_.staging.is_being_written(candidate.staged);
  if (written && *written) {
    ++report_.busy;
    return {};
  }
  const auto fd = parts_.staging.open_to_read(candidate.staged);
  if (!fd && fd.error().code == Errc::not_found) return {};  // dropped since
  auto done = fd ? read_open(layer, candidate, fd->get()) : fail(fd.error());
  if (done) return {};
  if (done.error().code == Errc::cancelled) return {};
  if (done.error().code == Errc::busy) {
    ++report_.busy;
    return {};
  }
  ++report_.failed;
  log::warn("inode {} of layer {} stays a staged file: {}", candidate.ino, layer, to_string(done.error()));
  if (done.error().code == Errc::out_of_space || ++failures_ == kMaxFailures) return done;
  return {};
}

/// What shows through the file's holes by now; nothing if the record names another body.
Result<std::optional<StagedBase>> Settler::Run::base_of(LayerId layer, const Candidate& candidate) const {
  const auto value = parts_.database.get(kInodeFamily, inode_key(layer, candidate.ino));
  if (!value) return fail(value.error());
  if (!*value) return std::nullopt;
  const auto inode = decode_inode(**value);
  if (!inode) return fail(inode.error());
  if (inode->body != Body::staged || inode->staged != candidate.staged) return std::nullopt;
  return inode->base;
}

Result<void> Settler::Run::read_open(LayerId layer, const Candidate& candidate, int fd) {
  auto seen = system_io().status(fd);
  if (!seen) return fail(seen.error());
  if (is_younger(*seen, writable_ ? quiet_time(static_cast<std::uint64_t>(seen->st_blocks) * 512, quiet_) : quiet_)) {
    ++report_.busy;
    return {};
  }
  if (is_younger(*seen, kClockTick)) {
    std::this_thread::sleep_for(kClockTick);
    seen = system_io().status(fd);
    if (!seen) return fail(seen.error());
    if (is_younger(*seen, kClockTick)) {  // somebody writes it all the time
      ++report_.busy;
      return {};
    }
  }
  const auto room = has_room(static_cast<std::uint64_t>(seen->st_blocks) * 512);
  if (!room) return fail(room.error());
  if (!*room) {
    lacked_room_ = true;
    ++report_.busy;
    return {};
  }
  // Less of it may show than when the record was found: the file was cut since, and has grown again. Who cuts it from
  // here on changes the file's times, and it is not as it was seen.
  const auto base = base_of(layer, candidate);
  if (!base) return fail(base.error());
  if (!*base) return {};
  if (!session_) session_ = parts_.contents.begin_session();
  const auto size = static_cast<std::uint64_t>(seen->st_size);
  std::size_t pieces = 0;
  const auto go_on = [&] {
    if (++pieces % kPiecesBetweenLooks != 0) return going_on();
    const auto open = is_open(layer, candidate.ino);  // who writes a large file need not wait to be found out
    report_.busy += open && *open ? 1 : 0;
    return open && !*open && going_on();
  };
  auto body = read_staged({fd, size, candidate.mode, **base}, parts_.tier, *session_, buffer_, go_on);
  if (!body) return fail(body.error());
  failures_ = 0;
  bytes_ += body->allocated;
  report_.bytes_read += body->allocated;
  read_.push_back({layer, candidate.ino, candidate.staged, *seen, std::move(*body)});
  return {};
}

/// Whether the group and this file fit beside the staged files that they are; what was read before goes first.
Result<bool> Settler::Run::has_room(std::uint64_t bytes) {
  if (parts_.headroom == nullptr) return true;
  const auto fits = [&] { return bytes_ + bytes + kSpare <= parts_.headroom->state().space.free; };
  if (fits()) return true;
  if (auto flushed = flush(); !flushed) return fail(flushed.error());
  return fits();
}

Result<void> Settler::Run::flush() {
  std::vector<ReadFile> files;
  files.swap(read_);
  bytes_ = 0;
  const auto session = std::move(session_);  // open until the records are written: gc keeps what it wrote
  if (files.empty()) return {};
  if (auto committed = session->commit(); !committed) return committed;
  Rebinding::Outcome outcome;
  for (std::size_t at = 0; at < files.size();) {
    std::size_t end = at;
    while (end < files.size() && files[end].layer == files[at].layer) ++end;
    if (auto bound = rebinding_.bind(std::span{files}.subspan(at, end - at), outcome); !bound) return bound;
    at = end;
  }
  report_.files += outcome.settled.size();
  report_.bytes += outcome.bytes;
  report_.busy += outcome.busy;
  const cas::WriteSession::Totals totals = session->totals();
  report_.bytes_new += totals.bytes_new;
  report_.bytes_stored += totals.bytes_stored;
  if (outcome.settled.empty()) return {};
  // That nobody names them must survive a power cut before they may go.
  if (auto synced = parts_.database.sync(); !synced) return synced;
  parts_.staging.leases().remove_when_free(std::move(outcome.settled));
  return {};
}

Settler::Settler(const Parts& parts) : parts_{parts} {}

std::chrono::milliseconds Settler::quiet_time(std::uint64_t bytes, std::chrono::milliseconds quiet) {
  return quiet * (1 + bytes / kPatience);
}

void Settler::begin() {
  MutexLock lock{mutex_};
  ++waiting_;
  while (running_) lock.wait(ended_);
  --waiting_;
  running_ = true;
}

void Settler::end() {
  {
    const MutexLock lock{mutex_};
    running_ = false;
  }
  ended_.notify_one();
}

bool Settler::somebody_waits() const {
  const MutexLock lock{mutex_};
  return waiting_ != 0;
}

Result<Settler::Report> Settler::settle(const std::vector<LayerId>& layers, std::chrono::milliseconds quiet,
                                        const GoOn& go_on) {
  const Turn turn{*this};
  Run run{parts_, quiet, go_on};
  // The lower ones first: what a layer above only borrows is settled with them. Higher ones have higher numbers.
  std::vector<LayerId> ordered = layers;
  std::ranges::sort(ordered);
  Result<void> done;
  for (const LayerId layer : ordered) {
    done = run.layer(layer);
    if (!done || run.stopped()) break;
  }
  Result<void> flushed = run.flush();
  if (!done) return fail(done.error());
  if (!flushed) return fail(flushed.error());
  if (run.lacked_room() && run.report().files == 0)
    return fail(Error{Errc::out_of_space, "there is no room to settle any file", ENOSPC});
  return run.report();
}

}  // namespace stellarium::fs
