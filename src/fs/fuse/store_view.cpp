#include "fs/fuse/store_view.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "fs/companion_name.h"
#include "fs/fuse/attributes.h"
#include "fs/fuse/directory_listing.h"
#include "fs/fuse/dirent_writer.h"
#include "fs/fuse/session.h"
#include "fs/records.h"

namespace stellarium::fs::fuse {
namespace {

constexpr TreeId kListingTree = 0;
constexpr Ino kImagesIno = 2;
constexpr Ino kVolumesIno = 3;
constexpr Ino kNameBit = Ino{1} << 39;  // set in the numbers of NAME directories

bool is_listing(const Request& request) {
  return request.node().tree() == kListingTree;
}

Ino ino_of_name(std::string_view name) {
  return kNameBit | (name_hash(name) & (kNameBit - 1));
}
/// Where a listing goes on behind a name: above the offsets of "." and "..", and positive as loff_t.
std::uint64_t offset_of_name(std::string_view name) {
  return make_cookie(name_hash(name), 0);
}

Inode listing_inode(const Timespec& changed) {
  Inode inode;
  inode.mode = S_IFDIR | 0555;
  inode.nlink = 2;
  inode.atime = inode.mtime = inode.ctime = inode.btime = changed;
  return inode;
}

}  // namespace

StoreView::StoreView(const ViewParts& parts, std::shared_ptr<StoreTrees> trees,
                     const std::shared_ptr<OpenFiles>& open_files, bool want_passthrough, Volumes* volumes)
    : parts_{parts},
      trees_{trees},
      inside_{parts, std::move(trees), open_files, std::nullopt, want_passthrough},
      volumes_{volumes == nullptr ? nullptr : std::make_unique<VolumeFiles>(*volumes, open_files)} {}

std::uint64_t StoreView::features() const {
  // Directories are opened one by one, because the listing ones must not be cached; NFS handles would not find them.
  std::uint64_t unwanted = abi::feature::kNoOpendirSupport | abi::feature::kExportSupport;
  if (volumes_) unwanted |= abi::feature::kNoOpenSupport;  // opens of volumes are counted
  const std::uint64_t writing = volumes_ ? abi::feature::kBigWrites | abi::feature::kHandleKillprivV2 : 0;
  return (inside_.features() & ~unwanted) | abi::feature::kNoExportSupport | writing;
}

std::uint32_t StoreView::max_write() const {
  return volumes_ ? kMaxWrite : inside_.max_write();
}

Result<void> StoreView::list_volumes(const std::function<void(Child)>& add) const {
  const auto volumes = volumes_->list();
  if (!volumes) return fail(volumes.error());
  for (const Volumes::Listed& volume : *volumes)
    add({volume.name + std::string{VolumeFiles::kSuffix}, 0, {}, volume.record.created, volume.name});
  return {};
}

Result<StoreView::Directory> StoreView::directory(NodeId node) const {
  const Result<std::vector<Image>> images = parts_.catalog.list();
  if (!images) return fail(images.error());
  Directory found;
  const auto add = [&found](Child child) {
    const std::uint64_t offset = offset_of_name(child.name);
    const auto [at, added] = found.children.try_emplace(offset, child);
    if (at->second.name != child.name) {
      log::error("the name {} is not shown: its hash is that of {}", child.name, at->second.name);
    } else if (!added) {
      at->second.changed = std::max(at->second.changed, child.changed);
    }
    found.changed = std::max(found.changed, child.changed);
  };
  if (volumes_ && node.ino() == kVolumesIno && node.incarnation() == 0) {
    found.parent = kRootIno;
    if (auto listed = list_volumes(add); !listed) return fail(listed.error());
    return found;
  }
  const bool is_name = (node.ino() & kNameBit) != 0;
  found.parent = is_name ? kImagesIno : kRootIno;
  if (node.ino() == kRootIno) add({"images", kImagesIno, {}, {}});
  if (node.ino() == kRootIno && volumes_) add({"volumes", kVolumesIno, {}, {}});
  for (const Image& image : *images) {
    if (is_companion(image.name)) continue;
    if (is_name && ino_of_name(image.name.name) != node.ino()) continue;
    if (node.ino() == kRootIno) add({"images", kImagesIno, {}, image.created});
    if (node.ino() == kImagesIno) add({image.name.name, ino_of_name(image.name.name), {}, image.created});
    if (is_name) add({image.name.tag, 0, image.name, image.created});
  }
  const bool known = node.ino() == kRootIno || node.ino() == kImagesIno || !found.children.empty();
  if (node.incarnation() != 0 || !known) return fail(Error{Errc::not_found, "no image of this name", ENOENT});
  return found;
}

Result<abi::EntryOut> StoreView::entry(const Child& child) const {
  if (!child.volume.empty()) return volumes_->entry(child.volume);
  abi::EntryOut out{};
  if (child.ino != 0) {
    out.nodeid = NodeId::of(kListingTree, child.ino).value();
    out.attr = to_attr(listing_inode(child.changed), out.nodeid);
    return out;
  }
  const Result<const ImageTree*> tree = trees_->find(child.image);
  if (!tree) return fail(tree.error());
  const Result<std::optional<Inode>> root = (*tree)->reader.inode(kRootIno);
  if (!root) return fail(root.error());
  if (!*root) return fail(Errc::corrupt, "image " + child.image.text() + " has no root");
  out = inside_.entry(**tree, kRootIno, **root);
  out.entry_valid = 0;  // the name may move to another layer
  return out;
}

void StoreView::lookup(const Request& request, std::string_view name, Reply reply) {
  if (!is_listing(request)) return inside_.lookup(request, name, std::move(reply));
  const Result<Directory> parent = directory(request.node());
  if (!parent) {
    reply.error(errno_of(parent.error()));
    return;
  }
  const auto child = parent->children.find(offset_of_name(name));
  if (child == parent->children.end() || child->second.name != name) {
    reply.error(ENOENT);  // not remembered: the next import may bring it
    return;
  }
  const Result<abi::EntryOut> found = entry(child->second);
  if (!found) {
    reply.error(errno_of(found.error()));
    return;
  }
  reply.value(*found);
}

void StoreView::getattr(const Request& request, Reply reply) {
  if (is_volume(request)) return volumes_->getattr(request, std::move(reply));
  if (!is_listing(request)) return inside_.getattr(request, std::move(reply));
  const Result<Directory> found = directory(request.node());
  if (!found) {
    reply.error(errno_of(found.error()));
    return;
  }
  abi::AttrOut out{};
  out.attr = to_attr(listing_inode(found->changed), request.node().value());
  reply.value(out);
}

void StoreView::statx(const Request& request, Reply reply) {
  if (is_volume(request)) return volumes_->statx(request, std::move(reply));
  if (!is_listing(request)) return inside_.statx(request, std::move(reply));
  const Result<Directory> found = directory(request.node());
  if (!found) {
    reply.error(errno_of(found.error()));
    return;
  }
  abi::StatxOut out{};
  out.stat = to_statx(listing_inode(found->changed), request.node().value());
  reply.value(out);
}

void StoreView::opendir(const Request& request, Reply reply) {
  if (!is_listing(request)) return inside_.opendir(request, std::move(reply));
  reply.value(abi::OpenOut{});  // neither cached nor kept
}

void StoreView::readdir(const Request& request, const abi::ReadIn& in, bool plus, Reply reply) {
  if (!is_listing(request)) return inside_.readdir(request, in, plus, std::move(reply));
  const Result<Directory> found = directory(request.node());
  if (!found) {
    reply.error(errno_of(found.error()));
    return;
  }
  DirentWriter out{reply.scratch(in.size), plus};
  const abi::EntryOut nothing{};
  const std::uint64_t parent = NodeId::of(kListingTree, found->parent).value();
  bool room = in.offset >= kBehindDot || out.add(".", request.node().value(), DT_DIR, kBehindDot, nothing);
  room = room && (in.offset >= kBehindDotDot || out.add("..", parent, DT_DIR, kBehindDotDot, nothing));
  for (auto child = found->children.upper_bound(in.offset); room && child != found->children.end(); ++child) {
    const Result<abi::EntryOut> shown = entry(child->second);
    if (!shown) continue;  // removed just now
    const bool is_file = !child->second.volume.empty();
    room = out.add(child->second.name, shown->nodeid, is_file ? DT_REG : DT_DIR, child->first, *shown);
  }
  reply.bytes(out.written());
}

void StoreView::readlink(const Request& request, Reply reply) {
  if (!is_listing(request)) return inside_.readlink(request, std::move(reply));
  reply.error(EINVAL);
}

void StoreView::open(const Request& request, const abi::OpenIn& in, Reply reply) {
  if (is_volume(request)) return volumes_->open(request, in, std::move(reply));
  if (!is_listing(request)) return inside_.open(request, in, std::move(reply));
  reply.error(EISDIR);
}

void StoreView::read(const Request& request, const abi::ReadIn& in, Reply reply) {
  if (is_volume(request)) return volumes_->read(request, in, std::move(reply));
  if (!is_listing(request)) return inside_.read(request, in, std::move(reply));
  reply.error(EISDIR);
}

void StoreView::lseek(const Request& request, const abi::LseekIn& in, Reply reply) {
  if (is_volume(request)) return volumes_->lseek(request, in, std::move(reply));
  if (!is_listing(request)) return inside_.lseek(request, in, std::move(reply));
  reply.error(EINVAL);
}

void StoreView::release(const Request& request, const abi::ReleaseIn& in, Reply reply) {
  if (is_volume(request)) return volumes_->release(request, in, std::move(reply));
  inside_.release(request, in, std::move(reply));
}

void StoreView::getxattr(const Request& request, std::string_view name, std::uint32_t size, Reply reply) {
  if (!is_listing(request)) return inside_.getxattr(request, name, size, std::move(reply));
  reply.error(ENODATA);
}

void StoreView::listxattr(const Request& request, std::uint32_t size, Reply reply) {
  if (!is_listing(request)) return inside_.listxattr(request, size, std::move(reply));
  if (size == 0) {
    reply.value(abi::GetxattrOut{});
  } else {
    reply.done();
  }
}

void StoreView::statfs(const Request& request, Reply reply) {
  if (!is_listing(request)) return inside_.statfs(request, std::move(reply));
  abi::StatfsOut out{};
  out.block_size = out.fragment_size = 4096;
  out.name_size = abi::kMaxName;
  if (const auto images = parts_.catalog.list()) {
    for (const Image& image : *images) {
      out.files += image.files;
      out.blocks += image.bytes / out.block_size + 1;
    }
  }
  reply.value(out);
}

void StoreView::setattr(const Request& request, const abi::SetattrIn& in, Reply reply) {
  if (is_volume(request)) return volumes_->setattr(request, in, std::move(reply));
  reply.error(EROFS);
}

void StoreView::write(const Request& request, const abi::WriteIn& in, ByteParts data, Reply reply) {
  if (is_volume(request)) return volumes_->write(request, in, data, std::move(reply));
  reply.error(EROFS);
}

void StoreView::fallocate(const Request& request, const abi::FallocateIn& in, Reply reply) {
  if (is_volume(request)) return volumes_->fallocate(request, in, std::move(reply));
  reply.error(EROFS);
}

void StoreView::copy_file_range(const Request& request, const abi::CopyFileRangeIn& in, bool wide, Reply reply) {
  if (volumes_ && VolumeFiles::is_volume(NodeId{in.node_out}))
    return volumes_->copy_file_range(request, in, wide, std::move(reply));
  reply.error(EROFS);
}

void StoreView::fsync(const Request& request, const abi::FsyncIn&, Reply reply) {
  if (is_volume(request)) return volumes_->fsync(request, std::move(reply));
  reply.done();  // not ENOSYS, which the kernel would remember for volumes, too
}

void StoreView::syncfs(const Request&, Reply reply) {
  if (volumes_) return volumes_->syncfs(std::move(reply));
  reply.done();
}

}  // namespace stellarium::fs::fuse
