#include "fs/fuse/backing_ids.h"

namespace stellarium::fs::fuse {
namespace {

// The kernel numbers ids upwards, and making and recording one happen under one lock, so at most the next id was lost.
// A few more cost nothing: closing an unknown id is refused.
constexpr std::uint32_t kMaybeLost = 4;

}  // namespace

BackingIds::BackingIds(BackingPort& port, HandleTable& table) : port_{port}, table_{table} {
  for (const auto& [slot, backing] : table_.backings()) {
    by_file_.emplace(backing.file, Entry{backing.id, slot});
    file_of_.emplace(backing.id, backing.file);
  }
  const std::uint32_t highest = table_.highest_backing_id();
  if (!table_.features()) return;  // a new connection has none
  for (std::uint32_t id = highest + 1; id <= highest + kMaybeLost; ++id) port_.close(id);
}

Result<std::uint32_t> BackingIds::acquire(const BackingFile& file, int fd) {
  if (const auto found = by_file_.find(file); found != by_file_.end()) {
    ++found->second.users;
    return found->second.id;
  }
  const Result<std::uint32_t> id = file.staged != 0 ? port_.open_for_writing(fd) : port_.open(fd);
  if (!id) return id;
  const Result<std::uint32_t> slot = table_.add_backing({file, *id});
  if (!slot) {
    port_.close(*id);
    return slot;
  }
  by_file_.emplace(file, Entry{*id, *slot, 1});
  file_of_.emplace(*id, file);
  return id;
}

void BackingIds::add_user(std::uint32_t id) {
  if (const auto found = file_of_.find(id); found != file_of_.end()) ++by_file_.at(found->second).users;
}

void BackingIds::release(std::uint32_t id) {
  const auto found = file_of_.find(id);
  if (found == file_of_.end()) return;
  const auto entry = by_file_.find(found->second);
  if (entry->second.users > 0) --entry->second.users;
  if (entry->second.users == 0 && entry->first.staged != 0) close(entry);
}

std::optional<BackingFile> BackingIds::file_of(std::uint32_t id) const {
  const auto found = file_of_.find(id);
  if (found == file_of_.end()) return std::nullopt;
  return found->second;
}

bool BackingIds::let_go(const cas::ContentId& content) {
  const auto found = by_file_.find({.content = {content, 0}});
  if (found == by_file_.end()) return true;
  if (found->second.users > 0) return false;
  close(found);
  return true;
}

void BackingIds::close(ByFile::iterator found) {
  const Entry entry = found->second;
  // Forgotten before it is closed: a kill in between leaks one id until unmount. The other way round the next server
  // would offer an id that is no more, and opens would fail.
  table_.remove_backing(entry.slot);
  port_.close(entry.id);
  file_of_.erase(entry.id);
  by_file_.erase(found);
}

void BackingIds::clear() {
  by_file_.clear();
  file_of_.clear();
}

}  // namespace stellarium::fs::fuse
