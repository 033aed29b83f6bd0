#include "fs/fuse/backing_ids.h"

namespace stellarium::fs::fuse {
namespace {

// The kernel numbers ids upwards, and making and recording one happen under one lock, so at most the next id was lost.
// A few more cost nothing: closing an unknown id is refused.
constexpr std::uint32_t kMaybeLost = 4;

}  // namespace

BackingIds::BackingIds(BackingPort& port, HandleTable& table) : port_{port}, table_{table} {
  for (const auto& [slot, backing] : table_.backings()) {
    by_content_.emplace(backing.content.id, Entry{backing.id, slot});
    content_of_.emplace(backing.id, backing.content.id);
  }
  const std::uint32_t highest = table_.highest_backing_id();
  if (!table_.features()) return;  // a new connection has none
  for (std::uint32_t id = highest + 1; id <= highest + kMaybeLost; ++id) port_.close(id);
}

Result<std::uint32_t> BackingIds::acquire(const tier::HotFile& file) {
  const tier::ContentRef& content = file.content();
  if (const auto found = by_content_.find(content.id); found != by_content_.end()) {
    ++found->second.users;
    return found->second.id;
  }
  const Result<std::uint32_t> id = port_.open(file.fd());
  if (!id) return id;
  const Result<std::uint32_t> slot = table_.add_backing({content, *id});
  if (!slot) {
    port_.close(*id);
    return slot;
  }
  by_content_.emplace(content.id, Entry{*id, *slot, 1});
  content_of_.emplace(*id, content.id);
  return id;
}

void BackingIds::add_user(std::uint32_t id) {
  if (const auto found = content_of_.find(id); found != content_of_.end()) ++by_content_.at(found->second).users;
}

void BackingIds::release(std::uint32_t id) {
  const auto found = content_of_.find(id);
  if (found == content_of_.end()) return;
  Entry& entry = by_content_.at(found->second);
  if (entry.users > 0) --entry.users;
}

bool BackingIds::let_go(const cas::ContentId& content) {
  const auto found = by_content_.find(content);
  if (found == by_content_.end()) return true;
  if (found->second.users > 0) return false;
  const Entry entry = found->second;
  // Forgotten before it is closed: a kill in between leaks one id until unmount. The other way round the next server
  // would offer an id that is no more, and opens would fail.
  table_.remove_backing(entry.slot);
  port_.close(entry.id);
  content_of_.erase(entry.id);
  by_content_.erase(found);
  return true;
}

void BackingIds::clear() {
  by_content_.clear();
  content_of_.clear();
}

}  // namespace stellarium::fs::fuse
