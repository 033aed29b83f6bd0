#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/mutex.h"
#include "fs/fuse/filesystem.h"
#include "fs/fuse/open_files.h"
#include "fs/volumes.h"

namespace stellarium::fs::fuse {

/// Volumes as plain files, NAME.img, for the view of the whole store: they are read and written through us, whoever
/// else has them open, and never passed through.
///
/// A node is the volume's number, so a restarted server finds it again. Names and attributes are never remembered by
/// the kernel; what it has read is, from an open to the last close, so two mounts see each other's writes when they
/// open. Sizes change by the command only: truncate and O_TRUNC are refused (EPERM). Threads: all operations may be
/// called concurrently. Unlike other reads, one of a cold block holds its worker.
class VolumeFiles {
 public:
  /// `volumes` is borrowed.
  VolumeFiles(Volumes& volumes, std::shared_ptr<OpenFiles> open_files)
      : volumes_{volumes}, open_files_{std::move(open_files)} {}

  static constexpr std::string_view kSuffix = ".img";
  static constexpr Ino kVolumeBit = Ino{1} << 38;  ///< set in the inode numbers of volumes, which belong to tree 0
  static bool is_volume(NodeId node);

  [[nodiscard]] Result<std::vector<Volumes::Listed>> list() const { return volumes_.list(); }
  /// Errors: not_found.
  [[nodiscard]] Result<abi::EntryOut> entry(const std::string& name);

  void getattr(const Request& request, Reply reply);
  void statx(const Request& request, Reply reply);
  void setattr(const Request& request, const abi::SetattrIn& in, Reply reply);
  void open(const Request& request, const abi::OpenIn& in, Reply reply);
  void read(const Request& request, const abi::ReadIn& in, Reply reply);
  void write(const Request& request, const abi::WriteIn& in, ByteParts data, Reply reply);
  void lseek(const Request& request, const abi::LseekIn& in, Reply reply);
  void fallocate(const Request& request, const abi::FallocateIn& in, Reply reply);
  void copy_file_range(const Request& request, const abi::CopyFileRangeIn& in, bool wide, Reply reply);
  void fsync(const Request& request, Reply reply);
  void syncfs(Reply reply);
  void release(const Request& request, const abi::ReleaseIn& in, Reply reply);

 private:
  using Opened = std::shared_ptr<Volume>;
  Result<Opened> find(NodeId node);  ///< ESTALE for volumes that are gone
  Result<Inode> inode_of(const Volume& volume) const;

  Volumes& volumes_;
  const std::shared_ptr<OpenFiles> open_files_;
  Mutex mutex_;
  std::unordered_map<std::uint64_t, Opened> open_ GUARDED_BY(mutex_);  // by node: what this mount has open
};

}  // namespace stellarium::fs::fuse
