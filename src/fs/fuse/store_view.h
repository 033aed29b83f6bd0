#pragma once
#include <map>
#include <memory>
#include <string>

#include "fs/fuse/read_only_view.h"
#include "fs/fuse/store_trees.h"
#include "fs/fuse/volume_files.h"

namespace stellarium::fs::fuse {

/// The whole store as a tree: images/NAME/TAG/…, and volumes/NAME.img, which can be written.
///
/// The listing directories belong to tree 0 and are computed from the catalog at each request: time-out 0, never
/// cached, so that an image is visible as soon as it was imported. Below a tag, ReadOnlyView answers.
///
/// Nodes of tree 0: 1 the root, 2 `images`, 3 `volumes`, for a NAME its hash, so that a restarted server finds it
/// again, and the volumes' own (VolumeFiles). Two
/// names of one hash (1 in 5·10^11 for a pair) are refused: the later one is not shown, and the log says so.
/// Threads: all operations may be called concurrently.
class StoreView final : public Filesystem {
 public:
  StoreView(const ViewParts& parts, std::shared_ptr<StoreTrees> trees, const std::shared_ptr<OpenFiles>& open_files,
            bool want_passthrough, Volumes* volumes = nullptr);

  std::uint64_t features() const override;
  std::uint32_t max_write() const override;
  void started(std::uint64_t features, bool resumed) override { inside_.started(features, resumed); }
  void lookup(const Request& request, std::string_view name, Reply reply) override;
  void getattr(const Request& request, Reply reply) override;
  void statx(const Request& request, Reply reply) override;
  void readlink(const Request& request, Reply reply) override;
  void open(const Request& request, const abi::OpenIn& in, Reply reply) override;
  void read(const Request& request, const abi::ReadIn& in, Reply reply) override;
  void lseek(const Request& request, const abi::LseekIn& in, Reply reply) override;
  void release(const Request& request, const abi::ReleaseIn& in, Reply reply) override;
  void opendir(const Request& request, Reply reply) override;
  void readdir(const Request& request, const abi::ReadIn& in, bool plus, Reply reply) override;
  void getxattr(const Request& request, std::string_view name, std::uint32_t size, Reply reply) override;
  void listxattr(const Request& request, std::uint32_t size, Reply reply) override;
  void statfs(const Request& request, Reply reply) override;

  // What is not EROFS for volumes.
  void setattr(const Request& request, const abi::SetattrIn& in, Reply reply) override;
  void write(const Request& request, const abi::WriteIn& in, ByteParts data, Reply reply) override;
  void fallocate(const Request& request, const abi::FallocateIn& in, Reply reply) override;
  void copy_file_range(const Request& request, const abi::CopyFileRangeIn& in, bool wide, Reply reply) override;
  void fsync(const Request& request, const abi::FsyncIn& in, Reply reply) override;
  void syncfs(const Request& request, Reply reply) override;

 private:
  /// One listing directory: its own inode, and what is in it by resume offset.
  struct Child {
    std::string name;
    Ino ino = 0;              ///< of tree 0; 0 if the child is an image or a volume
    ImageName image;          ///< that image
    Timespec changed;         ///< as in Directory
    std::string volume = {};  ///< that volume; else empty
  };
  struct Directory {
    Ino parent = 0;
    Timespec changed;  ///< when the newest image below was made
    std::map<std::uint64_t, Child> children;
  };
  [[nodiscard]] Result<Directory> directory(
      NodeId node) const;  ///< not_found (ENOENT) when the last image of a name went
  [[nodiscard]] Result<abi::EntryOut> entry(const Child& child) const;
  [[nodiscard]] Result<void> list_volumes(const std::function<void(Child)>& add) const;
  bool is_volume(const Request& request) const { return volumes_ && VolumeFiles::is_volume(request.node()); }

  ViewParts parts_;
  std::shared_ptr<StoreTrees> trees_;
  ReadOnlyView inside_;
  const std::unique_ptr<VolumeFiles> volumes_;  // null: none are shown
};

}  // namespace stellarium::fs::fuse
