#include "fs/fuse/open_files.h"

#include "base/log.h"

#include <algorithm>
#include <cerrno>
#include <memory>

#include "fs/fuse/parked_replies.h"

namespace stellarium::fs::fuse {
namespace {

// Of a record that stands for no open: it only says that the node is its inode's incarnation.
constexpr std::uint64_t kNoRequest = 0;

/// `keep_pages`: those of an earlier open are still right; where nothing is written they always are.
abi::OpenOut answer_for(const HandleTable::Begun& begun, bool keep_pages) {
  abi::OpenOut out{};
  out.fh = begun.handle;
  out.open_flags = abi::open_flag::kNoFlush;  // nothing waits to be written at close
  if (begun.record.mode == OpenMode::passthrough) {
    out.open_flags |= abi::open_flag::kPassthrough;
    out.backing_id = static_cast<std::int32_t>(begun.record.backing_id);
  } else if (keep_pages) {
    out.open_flags |= abi::open_flag::kKeepCache;
  }
  return out;
}

}  // namespace

OpenFiles::OpenFiles(HandleTable table, BackingPort& port, tier::Tier& tier, bool passthrough)
    : tier_{tier}, passthrough_allowed_{passthrough}, table_{std::move(table)}, backing_ids_{port, table_} {
  const MutexLock lock{mutex_};
  restore();
}

void OpenFiles::restore() {
  nodes_.clear();
  for (const HandleTable::Handle& handle : table_.handles()) {
    if (handle.unique == kNoRequest) {
      NodeId& present = renewed_.try_emplace(handle.node.first().value(), handle.node).first->second;
      present = std::max(present, handle.node);
      any_renewed_ = true;
      continue;
    }
    NodeState& state = nodes_[handle.node.value()];
    state.mode = handle.mode;
    state.backing_id = handle.backing_id;
    ++state.handles;
    if (handle.mode == OpenMode::passthrough) backing_ids_.add_user(handle.backing_id);
  }
}

std::optional<std::uint64_t> OpenFiles::inherited_features() const {
  const MutexLock lock{mutex_};
  return table_.features();
}

void OpenFiles::started(std::uint64_t features, bool resumed) {
  const MutexLock lock{mutex_};
  passthrough_agreed_ = (features & abi::feature::kPassthrough) != 0;
  resumed_ = resumed;
  if (resumed) return;
  stale_pages_.clear();
  table_.clear();
  backing_ids_.clear();
  nodes_.clear();
  renewed_.clear();
  any_renewed_ = false;
  table_.set_features(features);
}

bool OpenFiles::is_open(NodeId node) const {
  const MutexLock lock{mutex_};
  return nodes_.contains(node.value());
}

Result<void> OpenFiles::renew(NodeId node) {
  const MutexLock lock{mutex_};
  const auto known = renewed_.find(node.first().value());
  if (node != (known == renewed_.end() ? node.first() : known->second)) return {};  // somebody else did
  if (node.incarnation() == NodeId::kMaxIncarnation)
    return fail(Error{Errc::busy, "the file is open through its hot file", ETXTBSY});
  const auto begun = table_.begin({.unique = kNoRequest, .node = node.next()});
  if (!begun) return fail(begun.error());
  table_.confirm(begun->handle);
  renewed_.insert_or_assign(node.first().value(), node.next());
  any_renewed_ = true;
  return {};
}

NodeId OpenFiles::current(NodeId first) const {
  if (!any_renewed_) return first;
  const MutexLock lock{mutex_};
  const auto known = renewed_.find(first.value());
  return known == renewed_.end() ? first : known->second;
}

bool OpenFiles::is_open_at_all(NodeId first) const {
  const MutexLock lock{mutex_};
  if (nodes_.contains(first.value())) return true;
  const auto known = renewed_.find(first.value());
  if (known == renewed_.end()) return false;
  for (NodeId node = first; node != known->second;) {
    node = node.next();
    if (nodes_.contains(node.value())) return true;
  }
  return false;
}

bool OpenFiles::open(const Request& request, const OpenTarget& target, Reply reply) {
  const bool may_pass = passthrough_allowed_ && passthrough_agreed_;
  const tier::HotFilePtr hot = may_pass ? tier_.find_hot(target.content) : nullptr;
  if (hot || !may_pass || is_open(target.node)) {
    finish(request.id(), target, hot, std::move(reply));
    return false;
  }
  // A large program that is not all here yet is read like data: what nobody uses of either need not come.
  const bool lacks = target.content.size > kEagerFill && tier_.lacks(target.content);
  if (lacks || (!target.program && target.content.size > kEagerFill)) {
    if (!lacks) tier_.make_hot(target.content, [](const Result<tier::HotFilePtr>&) {});
    finish(request.id(), target, nullptr, std::move(reply));
    return false;
  }
  // Parked: it keeps the connection, and with it this object, alive until the fill is over. A signal does not fail the
  // open, it ends the wait: the file is then read through the page cache.
  const std::uint64_t unique = request.id();
  const auto parked =
      ParkedReplies::park(request, std::move(reply), ParkedReply::By::any_signal,
                          [this, unique, target](Reply early) { finish(unique, target, nullptr, std::move(early)); });
  tier_.make_hot(target.content, [this, unique, target, parked](const Result<tier::HotFilePtr>& filled) {
    if (auto due = parked->take()) finish(unique, target, filled ? *filled : nullptr, std::move(*due));
  });
  return true;
}

void OpenFiles::finish(std::uint64_t unique, const OpenTarget& target, const tier::HotFilePtr& hot, Reply reply) {
  Result<HandleTable::Begun> begun = [&] {
    const MutexLock lock{mutex_};
    return begin(unique, target.node, body_of(hot), target.still);
  }();
  if (!begun) {
    log::error("opening node {:#x}: {}", target.node.value(), to_string(begun.error()));
    reply.error(ENFILE);
    return;
  }
  bool keep_pages = true;
  if (target.still) {  // the view is one that writes
    const MutexLock lock{mutex_};
    keep_pages = begun->record.mode == OpenMode::passthrough || may_keep_pages(target.node);
  }
  const abi::OpenOut out = answer_for(*begun, keep_pages);
  opened(out, target.node, reply.value(out) == 0);
}

OpenFiles::Body OpenFiles::body_of(const tier::HotFilePtr& hot) {
  return hot ? Body{{hot->content()}, hot->fd()} : Body{};
}

bool OpenFiles::is_backed_by(const NodeState& state, const BackingFile& file) const {
  return state.mode == OpenMode::passthrough && backing_ids_.file_of(state.backing_id) == file;
}

Result<HandleTable::Begun> OpenFiles::begin(std::uint64_t unique, NodeId opened, const Body& body,
                                            const std::function<bool()>& still) {
  if (const auto earlier = table_.find_request(unique)) {  // resent; already counted by restore()
    const auto state = nodes_.find(opened.value());
    const bool same_file = body.file.staged == 0 || earlier->record.mode != OpenMode::passthrough ||
                           (state != nodes_.end() && is_backed_by(state->second, body.file));
    if (earlier->record.node == opened && same_file) return *earlier;
    // A CREATE whose file did not come to be before the server was killed: this time it is another inode, or the same
    // with another staged file.
    end(earlier->handle, earlier->record.node);
  }
  HandleTable::Handle record{.unique = unique, .node = opened};
  const auto [node, first] = nodes_.try_emplace(opened.value());
  NodeState& state = node->second;
  if (first && body && (!still || still())) {
    const Result<std::uint32_t> id = backing_ids_.acquire(body.file, body.fd);
    if (id) {
      state.mode = OpenMode::passthrough;
      state.backing_id = *id;
    } else {
      note_failure(id.error());
    }
  } else if (state.mode == OpenMode::passthrough) {
    backing_ids_.add_user(state.backing_id);
  }
  record.mode = state.mode;
  record.backing_id = state.backing_id;
  Result<HandleTable::Begun> begun = table_.begin(record);
  if (begun) {
    ++state.handles;
    return begun;
  }
  if (state.mode == OpenMode::passthrough) backing_ids_.release(state.backing_id);
  if (first) nodes_.erase(node);
  return begun;
}

Result<abi::OpenOut> OpenFiles::open_now(std::uint64_t unique, const WritableTarget& target) {
  const MutexLock lock{mutex_};
  Body body;
  if (target.staged && passes_through()) body = {{.content = {}, .staged = target.staged->id()}, target.staged->fd()};
  const auto state = nodes_.find(target.node.value());
  if (target.for_writing && state != nodes_.end() && is_hot(state->second) && !table_.find_request(unique))
    return fail(Error{Errc::busy, "the file is open through its hot file", ETXTBSY});
  const auto begun = begin(unique, target.node, body, target.still);
  if (!begun) return fail(begun.error());
  const bool passed = begun->record.mode == OpenMode::passthrough;
  if (passed && !is_hot(nodes_.at(target.node.value()))) {
    right_pages_.erase(target.node.value());
    stale_pages_.insert(target.node.value());
  }
  abi::OpenOut out = answer_for(*begun, passed || may_keep_pages(target.node));
  if (passed && target.direct) out.open_flags |= abi::open_flag::kDirectIo;
  return out;
}

bool OpenFiles::is_hot(const NodeState& state) const {
  if (state.mode != OpenMode::passthrough) return false;
  const auto file = backing_ids_.file_of(state.backing_id);
  return !file || file->staged == 0;
}

bool OpenFiles::may_keep_pages(NodeId node) {
  const bool stale = stale_pages_.erase(node.value()) != 0;
  if (!resumed_) return !stale;
  return !right_pages_.insert(node.value()).second && !stale;
}

void OpenFiles::forgotten(NodeId node) {
  const MutexLock lock{mutex_};
  stale_pages_.erase(node.value());
  right_pages_.erase(node.value());
}

void OpenFiles::opened(const abi::OpenOut& answer, NodeId node, bool taken) {
  if (taken) {
    table_.confirm(answer.fh);
  } else {
    release(answer.fh, node);  // the program is gone, so no RELEASE will come
  }
}

bool OpenFiles::release(FileHandle handle, NodeId node) {
  if (handle == 0) return false;
  const MutexLock lock{mutex_};
  return end(handle, node);
}

bool OpenFiles::end(FileHandle handle, NodeId node) {
  const auto ended = table_.end(handle, node);
  if (!ended) return false;
  if (ended->mode == OpenMode::passthrough) backing_ids_.release(ended->backing_id);
  const auto state = nodes_.find(node.value());
  if (state == nodes_.end() || --state->second.handles != 0) return false;
  nodes_.erase(state);
  return true;
}

bool OpenFiles::is_open_through_hot_file(NodeId node) const {
  const MutexLock lock{mutex_};
  const auto state = nodes_.find(node.value());
  return state != nodes_.end() && is_hot(state->second);
}

bool OpenFiles::is_open_through_staged_file(NodeId node) const {
  const MutexLock lock{mutex_};
  const auto state = nodes_.find(node.value());
  return state != nodes_.end() && state->second.mode == OpenMode::passthrough && !is_hot(state->second);
}

std::vector<Ino> OpenFiles::open_staged() const {
  const MutexLock lock{mutex_};
  std::vector<Ino> inodes;
  for (const auto& [node, state] : nodes_) {
    if (state.mode != OpenMode::passthrough) continue;
    const auto file = backing_ids_.file_of(state.backing_id);
    if (!file || file->staged != 0) inodes.push_back(NodeId{node}.ino());
  }
  return inodes;
}

bool OpenFiles::let_go(const cas::ContentId& content) {
  const MutexLock lock{mutex_};
  return backing_ids_.let_go(content);
}

Result<std::uint32_t> OpenFiles::add_mapping(const HandleTable::Mapping& mapping) {
  const MutexLock lock{mutex_};
  return table_.add_mapping(mapping);
}

void OpenFiles::remove_mapping(std::uint32_t slot) {
  const MutexLock lock{mutex_};
  table_.remove_mapping(slot);
}

std::vector<std::pair<std::uint32_t, HandleTable::Mapping>> OpenFiles::mappings() const {
  const MutexLock lock{mutex_};
  return table_.mappings();
}

void OpenFiles::note_failure(const Error& error) {
  if (failure_noted_) return;
  failure_noted_ = true;
  log::warn("passthrough is not possible, files are read through the page cache instead: {}", to_string(error));
}

OpenFiles::Counts OpenFiles::counts() const {
  const MutexLock lock{mutex_};
  std::uint64_t handles = 0;
  for (const auto& [node, state] : nodes_) handles += state.handles;
  return {handles, backing_ids_.size()};
}

}  // namespace stellarium::fs::fuse
