#include "fs/fuse/window_nodes.h"

#include <utility>

namespace stellarium::fs::fuse {

void WindowNodes::start(bool resumed) {
  const MutexLock lock{mutex_};
  resumed_ = resumed;
  pieces_.clear();
  retired_.clear();
}

bool WindowNodes::resumed() const {
  const MutexLock lock{mutex_};
  return resumed_;
}

bool WindowNodes::decide(Ino ino, bool now) {
  const MutexLock lock{mutex_};
  if (resumed_) return false;
  Piece& piece = pieces_[ino / kPiece];
  const std::size_t at = ino % kPiece;
  if (!piece.told[at]) {
    piece.told.set(at);
    piece.by_window.set(at, now);
  }
  return piece.by_window[at];
}

bool WindowNodes::contains(Ino ino) const {
  const MutexLock lock{mutex_};
  if (resumed_) return true;
  const auto piece = pieces_.find(ino / kPiece);
  return piece != pieces_.end() && piece->second.by_window[ino % kPiece];
}

void WindowNodes::retire(NodeId node, const tier::ContentRef& content) {
  const MutexLock lock{mutex_};
  retired_.try_emplace(node.value(), Retired{content, nullptr});
}

void WindowNodes::hold(NodeId node, tier::HotFilePtr file) {
  const MutexLock lock{mutex_};
  const auto found = retired_.find(node.value());
  if (found != retired_.end()) found->second.file = std::move(file);
}

std::optional<tier::ContentRef> WindowNodes::retired(NodeId node) const {
  const MutexLock lock{mutex_};
  const auto found = retired_.find(node.value());
  if (found == retired_.end()) return std::nullopt;
  return found->second.content;
}

void WindowNodes::forget(NodeId node) {
  tier::HotFilePtr let_go;  // when no lock is held
  const MutexLock lock{mutex_};
  const auto found = retired_.find(node.value());
  if (found == retired_.end()) return;
  let_go = std::move(found->second.file);
  retired_.erase(found);
}

}  // namespace stellarium::fs::fuse
