// A writable view in a guest's DAX window.
#include <sys/stat.h>

#include <cerrno>

#include "base/log.h"
#include "fs/fuse/answers.h"
#include "fs/fuse/attributes.h"
#include "fs/fuse/dax_mappings.h"
#include "fs/fuse/writable_view.h"

namespace stellarium::fs::fuse {

void WritableView::start_window(std::uint64_t features, bool resumed) {
  window_nodes_->start(resumed);
  maps_ = parts_.dax && (features & abi::feature::kMapAlignment) != 0;
  if (parts_.dax) parts_.dax->started(resumed);
}

abi::Attr WritableView::attr_of(const Entry& entry) const {
  abi::Attr attr = to_attr(entry.inode, entry.ino);
  if (!maps_ || !S_ISREG(entry.inode.mode)) return attr;
  const bool first = node_of(entry.ino) == first_node_of(entry.ino);
  if (window_nodes_->decide(entry.ino, first && DaxMappings::worth(entry.inode)) && first)
    attr.flags |= abi::attr_flag::kDax;
  return attr;
}

bool WritableView::in_window(NodeId node) const {
  return maps_ && node.incarnation() == 0 && window_nodes_->contains(node.ino());
}

Result<void> WritableView::leave_window(NodeId node, Ino ino) {
  const auto inode = clone_.records->inode(ino);
  if (!inode) return fail(inode.error());
  if (!*inode) return stale();
  if ((*inode)->body != Body::content) {
    // Nothing but contents is ever in a window: either somebody else has made this node leave it, and written the next
    // one, or it is a file of which an earlier server knew that it is none of them.
    if (node != node_of(ino)) return stale();
    return {};
  }
  const tier::ContentRef content{(*inode)->content, (*inode)->size};
  window_nodes_->retire(node, content);
  if (auto hot = parts_.tier.find_hot(content)) {
    window_nodes_->hold(node, std::move(hot));
  } else {
    parts_.tier.make_hot(content, [nodes = window_nodes_, node](const Result<tier::HotFilePtr>& filled) {
      if (filled) nodes->hold(node, *filled);
    });
  }
  // Before a byte is copied: what is written is a node that no window shows.
  if (auto renewed = open_files_->renew(node); !renewed) return renewed;
  return stale();
}

void WritableView::setup_mapping(const Request& request, const abi::SetupMappingIn& in, Reply reply) {
  if (!maps_) return reply.error(ENOSYS), void();
  const NodeId node = request.node();
  const Result<Ino> ino = locate(node);
  if (!ino) return refuse(reply, ino.error());
  if (!in_window(node)) return reply.error(EINVAL), void();
  auto content = window_nodes_->retired(node);
  if (!content && window_nodes_->resumed() && node != node_of(*ino)) content = content_below(*ino);
  if (!content) {
    const auto inode = clone_.records->inode(*ino);
    if (!inode) return refuse(reply, inode.error());
    if (!*inode) return refuse(reply, stale().value());
    if ((*inode)->body == Body::content) content = {(*inode)->content, (*inode)->size};
    // It may have been retired, and then written, since it was asked.
    if (const auto before = window_nodes_->retired(node)) content = before;
  }
  if (!content) return reply.error(EINVAL), void();
  parts_.dax->set_up(request, *content, in, std::move(reply));
}

/// What a node showed that was retired when another server served it: what the image says.
std::optional<tier::ContentRef> WritableView::content_below(Ino ino) const {
  const auto inode = clone_.bodies->frozen(ino);
  if (!inode || !*inode || (*inode)->body != Body::content) return std::nullopt;
  return tier::ContentRef{(*inode)->content, (*inode)->size};
}

void WritableView::remove_mappings(const Request&, std::span<const abi::RemoveMappingOne> which, Reply reply) {
  if (!maps_) return reply.error(ENOSYS), void();
  parts_.dax->remove(which, std::move(reply));
}

}  // namespace stellarium::fs::fuse
