#include "fs/fuse/read_only_view.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "fs/fuse/answers.h"
#include "fs/fuse/attributes.h"
#include "fs/fuse/directory_listing.h"

namespace stellarium::fs::fuse {
namespace {

bool has_content(const Inode& inode) {
  return inode.body == Body::content;
}

/// What is not kept by the page cache alone is passed through.
bool needs_handle(const Inode& inode) {
  return has_content(inode) && (inode.program || inode.size > ReadOnlyView::kPacked);
}

}  // namespace

ReadOnlyView::ReadOnlyView(const ViewParts& parts, std::shared_ptr<TreeSource> trees,
                           std::shared_ptr<OpenFiles> open_files, std::optional<TreeId> root, bool want_passthrough)
    : parts_{parts},
      trees_{std::move(trees)},
      open_files_{std::move(open_files)},
      root_{root},
      want_passthrough_{want_passthrough},
      sparse_{parts.contents} {}

std::uint64_t ReadOnlyView::features() const {
  std::uint64_t wanted = abi::feature::kNoOpenSupport | abi::feature::kNoOpendirSupport | abi::feature::kExportSupport;
  if (want_passthrough_) wanted |= abi::feature::kPassthrough;
  if (parts_.dax) wanted |= abi::feature::kMapAlignment | abi::feature::kHasInodeDax;
  return wanted;
}

void ReadOnlyView::started(std::uint64_t features, bool resumed) {
  features_ = features;
  gives_pages_ = !resumed;
  if (parts_.dax) parts_.dax->started(resumed);
  maps_ = parts_.dax && (features & abi::feature::kMapAlignment) != 0;
  open_files_->started(features, resumed);
}

Result<ReadOnlyView::Node> ReadOnlyView::locate(NodeId node) const {
  const bool at_root = root_ && node == NodeId::root();
  if (node.incarnation() != 0 || node.ino() == 0) return stale();
  const ImageTree* tree = trees_->find(at_root ? *root_ : node.tree());
  if (tree == nullptr) return stale();
  return Node{tree, node.ino()};
}

Result<ReadOnlyView::Found> ReadOnlyView::find(NodeId node) const {
  const Result<Node> located = locate(node);
  if (!located) return fail(located.error());
  Result<std::optional<Inode>> inode = inode_of(*located->tree, located->ino);
  if (!inode) return fail(inode.error());
  if (!*inode) return stale();
  return Found{located->tree, located->ino, std::move(**inode)};
}

Result<std::optional<Inode>> ReadOnlyView::inode_of(const ImageTree& tree, Ino ino) const {
  const NodeId node = NodeId::of(tree.tree, ino);
  if (auto known = parts_.inodes.find(node)) return known;
  Result<std::optional<Inode>> inode = tree.reader.inode(ino);
  if (inode && *inode) parts_.inodes.insert(node, **inode);
  return inode;
}

NodeId ReadOnlyView::node_of(const ImageTree& tree, Ino ino) const {
  return root_ && ino == kRootIno ? NodeId::root() : NodeId::of(tree.tree, ino);
}

std::uint64_t ReadOnlyView::shown_ino(const ImageTree& tree, Ino ino) const {
  return root_ ? ino : NodeId::of(tree.tree, ino).value();
}

abi::Attr ReadOnlyView::attr_of(const ImageTree& tree, Ino ino, const Inode& inode) const {
  abi::Attr attr = to_attr(inode, shown_ino(tree, ino));
  if (maps_ && DaxMappings::worth(inode)) attr.flags |= abi::attr_flag::kDax;
  return attr;
}

abi::EntryOut ReadOnlyView::entry(const ImageTree& tree, Ino ino, const Inode& inode) const {
  abi::EntryOut out{};
  out.nodeid = node_of(tree, ino).value();
  out.entry_valid = kForever;
  out.attr_valid = kForever;
  out.attr = attr_of(tree, ino, inode);
  return out;
}

void ReadOnlyView::lookup(const Request& request, std::string_view name, Reply reply) {
  const Result<Node> parent = locate(request.node());
  if (!parent) return refuse(reply, parent.error());
  Ino child = parent->ino;
  if (name == "..") {  // asked by NFS only, as is "."
    const Result<Found> directory = find(request.node());
    if (!directory) return refuse(reply, directory.error());
    child = directory->inode.parent;
  } else if (name != ".") {
    const Result<std::optional<Dirent>> found = parent->tree->reader.lookup(parent->ino, name);
    if (!found) return refuse(reply, found.error());
    if (!*found) {
      abi::EntryOut missing{};
      missing.entry_valid = kForever;
      reply.value(missing);
      return;
    }
    child = (*found)->ino;
  }
  const Result<std::optional<Inode>> inode = inode_of(*parent->tree, child);
  if (!inode) return refuse(reply, inode.error());
  if (!*inode) {
    const bool entry_without_inode = name != "." && name != "..";
    return refuse(reply, entry_without_inode
                             ? Error{Errc::corrupt, "layer " + std::to_string(parent->tree->reader.layer()) +
                                                        ", inode " + std::to_string(child) + " is missing"}
                             : Error{Errc::invalid_argument, "no such node", ESTALE});
  }
  reply.value(entry(*parent->tree, child, **inode));
}

void ReadOnlyView::getattr(const Request& request, Reply reply) {
  const Result<Found> found = find(request.node());
  if (!found) return refuse(reply, found.error());
  abi::AttrOut out{};
  out.attr_valid = kForever;
  out.attr = attr_of(*found->tree, found->ino, found->inode);
  reply.value(out);
}

void ReadOnlyView::statx(const Request& request, Reply reply) {
  const Result<Found> found = find(request.node());
  if (!found) return refuse(reply, found.error());
  abi::StatxOut out{};
  out.attr_valid = kForever;
  out.stat = to_statx(found->inode, shown_ino(*found->tree, found->ino));
  reply.value(out);
}

void ReadOnlyView::readlink(const Request& request, Reply reply) {
  const Result<Found> found = find(request.node());
  if (!found) return refuse(reply, found.error());
  if (!S_ISLNK(found->inode.mode)) {
    reply.error(EINVAL);
    return;
  }
  answer(reply, found->inode.inline_bytes);
}

void ReadOnlyView::open(const Request& request, const abi::OpenIn& in, Reply reply) {
  if (opens_for_writing(in.flags)) {
    reply.error(EROFS);
    return;
  }
  if ((features_ & abi::feature::kNoOpenSupport) != 0 && (features_ & abi::feature::kPassthrough) == 0) {
    reply.error(ENOSYS);  // without passthrough no open needs us: the kernel opens by itself from now on
    return;
  }
  // Read from memory, kept by the page cache; no record and no handle.
  constexpr abi::OpenOut kUnhandled{0, abi::open_flag::kKeepCache | abi::open_flag::kNoFlush, 0};
  if (parts_.unhandled.contains(request.node())) {
    give_pages(request.node(), reply);
    reply.value(kUnhandled);
    return;
  }
  const Result<Found> found = find(request.node());
  if (!found) return refuse(reply, found.error());
  const Inode& inode = found->inode;
  if (!S_ISREG(inode.mode)) {
    reply.error(S_ISDIR(inode.mode) ? EISDIR : EINVAL);
    return;
  }
  if (needs_handle(inode)) {
    const OpenTarget target{request.node(), {inode.content, inode.size}, inode.program};
    fetch_ahead(*found->tree, found->ino, open_files_->open(request, target, std::move(reply)));
    return;
  }
  parts_.unhandled.insert(request.node());
  give_pages(request.node(), reply);
  reply.value(kUnhandled);
  fetch_ahead(*found->tree, found->ino, false);
}

void ReadOnlyView::give_pages(NodeId node, const Reply& reply) {
  if (!gives_pages_) return;
  opened_.note(node, [&] {
    const Result<Found> found = find(node);
    if (!found) return;
    const Inode& inode = found->inode;
    ByteSpan content = as_bytes(inode.inline_bytes);
    if (has_content(inode)) {
      const MutableByteSpan scratch = reply.scratch(inode.size);
      if (parts_.tier.read_if_present({inode.content, inode.size}, 0, scratch) != inode.size) return;
      content = scratch;
    }
    if (!content.empty()) reply.sink()->store(node, content);
  });
}

void ReadOnlyView::fetch_ahead(const ImageTree& tree, Ino ino, bool missed) const {
  const auto range = parts_.readahead.note(tree.tree, ino, missed);
  if (!range) return;
  const bool pass_through = (features_ & abi::feature::kPassthrough) != 0;
  LayerReader::InodeScan inodes = tree.reader.scan_inodes();
  bool useful = false;
  for (Ino next = range->begin; next < range->end; ++next) {
    const Result<std::optional<Inode>> inode = inodes.at(next);
    if (!inode || !*inode) break;  // the end; damage is for the request that meets it
    parts_.inodes.insert(NodeId::of(tree.tree, next), **inode);
    if (!S_ISREG((*inode)->mode) || !has_content(**inode)) continue;
    // A guess must not cost much: large files are not fetched, nor several frames of which a reader may need one.
    const bool hot = pass_through && needs_handle(**inode);
    if ((*inode)->size > (hot ? OpenFiles::kEagerFill : cas::kMaxChunk)) continue;
    const auto place = hot ? tier::Tier::Place::hot_file : tier::Tier::Place::memory;
    useful |= parts_.tier.prefetch({(*inode)->content, (*inode)->size}, place);
  }
  if (!useful) parts_.readahead.was_useless(tree.tree, *range);
}

void ReadOnlyView::read(const Request& request, const abi::ReadIn& in, Reply reply) {
  const Result<Found> found = find(request.node());
  if (!found) return refuse(reply, found.error());
  const Inode& inode = found->inode;
  if (!S_ISREG(inode.mode)) {
    reply.error(S_ISDIR(inode.mode) ? EISDIR : EINVAL);
    return;
  }
  if (has_content(inode)) {
    const tier::ContentRef content{inode.content, inode.size};
    const bool missed = parts_.reader.read(request, content, in.offset, in.size, std::move(reply));
    if (missed) fetch_ahead(*found->tree, found->ino, true);
    return;
  }
  const std::uint64_t length = readable(inode.inline_bytes.size(), in.offset, in.size);
  answer(reply, length == 0 ? std::string_view{} : std::string_view{inode.inline_bytes}.substr(in.offset, length));
}

void ReadOnlyView::setup_mapping(const Request& request, const abi::SetupMappingIn& in, Reply reply) {
  if (!maps_) return reply.error(ENOSYS), void();
  const Result<Found> found = find(request.node());
  if (!found) return refuse(reply, found.error());
  if (!DaxMappings::worth(found->inode)) return reply.error(EINVAL), void();
  parts_.dax->set_up(request, {found->inode.content, found->inode.size}, in, std::move(reply));
}

void ReadOnlyView::remove_mappings(const Request&, std::span<const abi::RemoveMappingOne> which, Reply reply) {
  if (!maps_) return reply.error(ENOSYS), void();
  parts_.dax->remove(which, std::move(reply));
}

void ReadOnlyView::lseek(const Request& request, const abi::LseekIn& in, Reply reply) {
  const Result<Found> found = find(request.node());
  if (!found) return refuse(reply, found.error());
  const Inode& inode = found->inode;
  const bool data = in.whence == SEEK_DATA;
  if (!S_ISREG(inode.mode) || (!data && in.whence != SEEK_HOLE)) {
    reply.error(EINVAL);
    return;
  }
  if (in.offset >= inode.size) {
    reply.error(ENXIO);
    return;
  }
  std::uint64_t at = data ? in.offset : inode.size;
  if (has_content(inode) && inode.allocated < inode.size) {
    const auto map = sparse_.find({inode.content, inode.size});
    if (!map) return refuse(reply, map.error());
    at = data ? (*map)->next_data(in.offset) : (*map)->next_hole(in.offset);
    if (data && at >= inode.size) {
      reply.error(ENXIO);
      return;
    }
  }
  reply.value(abi::LseekOut{at});
}

void ReadOnlyView::release(const Request& request, const abi::ReleaseIn& in, Reply reply) {
  open_files_->release(in.fh, request.node());
  reply.done();
}

void ReadOnlyView::opendir(const Request&, Reply reply) {
  if ((features_ & abi::feature::kNoOpendirSupport) != 0) {
    reply.error(ENOSYS);  // the kernel opens and caches directories by itself from now on
    return;
  }
  abi::OpenOut out{};
  out.open_flags = abi::open_flag::kKeepCache | abi::open_flag::kCacheDir;
  reply.value(out);
}

Result<ReadOnlyView::LaidOut> ReadOnlyView::lay_out(const ImageTree& tree, Ino directory, std::uint64_t offset,
                                                    bool plus, MutableByteSpan room) const {
  DirentWriter out{room, plus};
  LaidOut laid;
  ListingRules rules{.shown_ino = [&](Ino ino) { return shown_ino(tree, ino); },
                     .directory = [&](Ino ino) { return inode_of(tree, ino); },
                     .entry = {}};
  if (plus) {
    rules.entry = [&](Ino ino, Inode& inode) -> Result<abi::EntryOut> {
      parts_.inodes.insert(NodeId::of(tree.tree, ino), inode);
      if (S_ISDIR(inode.mode)) laid.folders.push_back(NodeId::of(tree.tree, ino));
      return entry(tree, ino, inode);
    };
  }
  const auto listed = list_directory(tree.reader, directory, offset, rules, out);
  // What fits before the damage is shown; the next call begins at it and fails.
  if (!listed && out.written().empty()) return fail(listed.error());
  if (listed) laid.last = *listed;
  laid.entries = out.written();
  return laid;
}

void ReadOnlyView::readdir(const Request& request, const abi::ReadIn& in, bool plus, Reply reply) {
  const Result<Node> node = locate(request.node());
  if (!node) return refuse(reply, node.error());
  const ImageTree& tree = *node->tree;
  const NodeId directory = NodeId::of(tree.tree, node->ino);
  const MutableByteSpan room = reply.scratch(in.size);
  if (ends_.contains(directory, in.offset)) {
    reply.bytes({});
    lay_out_ahead(tree, in.size, room);
    return;
  }
  const bool begins = plus && in.offset == 0;
  if (begins) {
    if (auto ready = ahead_.take(directory, in.size)) {
      std::ranges::copy(as_bytes(ready->payload), room.begin());
      reply.bytes(room.first(ready->payload.size()));
      if (ready->last) ends_.insert(directory, *ready->last);
      ahead_.listed(directory, ready->folders);
      return;
    }
  }
  const Result<LaidOut> laid = lay_out(tree, node->ino, in.offset, plus, room);
  if (!laid) return refuse(reply, laid.error());
  if (laid->last) ends_.insert(directory, *laid->last);
  reply.bytes(laid->entries);
  if (begins) ahead_.listed(directory, laid->folders);
}

void ReadOnlyView::lay_out_ahead(const ImageTree& tree, std::uint32_t size, MutableByteSpan room) {
  const auto next = ahead_.next(size);
  if (!next || next->tree() != tree.tree) return;
  Result<LaidOut> laid = lay_out(tree, next->ino(), 0, /*plus=*/true, room);
  if (!laid) return;  // damage is for the request that meets it
  ahead_.keep({*next, size, std::string{as_text(laid->entries)}, laid->last, std::move(laid->folders)});
}

void ReadOnlyView::getxattr(const Request& request, std::string_view name, std::uint32_t size, Reply reply) {
  const Result<Found> found = find(request.node());
  if (!found) return refuse(reply, found.error());
  if (const auto told = introspect(*found, name)) {
    answer_xattr(reply, *told, size);
    return;
  }
  if (!found->inode.has_xattrs) {
    reply.error(may_stop_asking(*found->tree, name) ? ENOSYS : ENODATA);
    return;
  }
  const Result<std::optional<std::string>> value = found->tree->reader.xattr(found->ino, name);
  if (!value) return refuse(reply, value.error());
  if (!*value) {
    reply.error(ENODATA);
    return;
  }
  answer_xattr(reply, **value, size);
}

void ReadOnlyView::listxattr(const Request& request, std::uint32_t size, Reply reply) {
  const Result<Found> found = find(request.node());
  if (!found) return refuse(reply, found.error());
  std::string names;
  if (found->inode.has_xattrs) {
    const auto xattrs = found->tree->reader.xattrs(found->ino);
    if (!xattrs) return refuse(reply, xattrs.error());
    for (const auto& [name, value] : *xattrs) names.append(name).push_back('\0');
  }
  answer_xattr(reply, names, size);
}

void ReadOnlyView::statfs(const Request& request, Reply reply) {
  constexpr std::uint32_t kBlock = 4096;
  abi::StatfsOut out{};
  out.block_size = kBlock;
  out.fragment_size = kBlock;
  out.name_size = abi::kMaxName;
  // As other read-only file systems do: full, and as large as what is in it.
  if (const Result<Node> node = locate(request.node())) {
    if (const auto images = parts_.catalog.list()) {
      const auto image = std::ranges::find(*images, node->tree->reader.layer(), &Image::layer);
      if (image != images->end()) {
        out.files = image->files;
        out.blocks = image->bytes / kBlock + (image->bytes % kBlock != 0 ? 1 : 0);
      }
    }
  }
  reply.value(out);
}

bool ReadOnlyView::may_stop_asking(const ImageTree& tree, std::string_view name) {
  if (!root_ || !name.starts_with("trusted.overlay.")) return false;
  Xattrs known = xattrs_.load(std::memory_order_relaxed);
  if (known == Xattrs::unknown) {
    const Result<bool> any = tree.reader.any_xattrs();
    known = any && !*any ? Xattrs::none : Xattrs::some;
    xattrs_.store(known, std::memory_order_relaxed);
  }
  return known == Xattrs::none;
}

std::optional<std::string> ReadOnlyView::introspect(const Found& found, std::string_view name) const {
  constexpr std::string_view kPrefix = "user.stellarium.";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  const std::string_view what = name.substr(kPrefix.size());
  const Inode& inode = found.inode;
  if (what == "layer") return std::to_string(found.tree->reader.layer());
  if (what == "ino") return std::to_string(found.ino);
  if (what == "content" && has_content(inode)) return inode.content.hex();
  if (what == "body" && S_ISREG(inode.mode)) {
    if (!has_content(inode)) return inode.size == 0 ? "none" : "inline";
    return parts_.tier.find_hot({inode.content, inode.size}) ? "hot" : "stored";
  }
  return std::nullopt;
}

}  // namespace stellarium::fs::fuse
