#pragma once
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/byte_parts.h"
#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "tier/hot_folder.h"
#include "tier/pin_list.h"
#include "tier/s3_fifo.h"
#include "tier/tier.h"

namespace stellarium::tier {

/// The hot files: which there are, who uses them, and which goes when the budget is full.
///
/// Life:    create() reserves room (evicting), the filler writes and checks, publish() names the file. evict() and the
///          room that create() makes take only files without users: no HotFilePtr, the release hook agrees, and a write
///          lease on the file is granted, which tells that nobody on the host has it open or mapped.
/// Memory:  about 250 bytes per hot file.
/// Threads: all functions may be called concurrently. The release hook is called without any lock held.
class HotStore {
 public:
  static Result<std::unique_ptr<HotStore>> open(Io& io, const std::filesystem::path& folder, std::uint64_t budget,
                                                bool private_mount);
  /// Syncs the hot files and says so in the folder, so that they need no second check after a reboot.
  ~HotStore();

  HotFilePtr find(const ContentRef& content);  ///< trusted files only; counts as a use
  /// Reads from the hot file, cut at its end; nothing if there is none. A file that cannot be read is dropped.
  std::optional<std::size_t> read(const ContentRef& content, std::uint64_t offset, MutableByteSpan out);
  /// Whether all of a range that lies in the content was read.
  bool read_all(const ContentRef& content, std::uint64_t offset, MutableByteParts out);

  /// A file that is being filled, and its share of the budget. Destroying it without publish() leaves nothing behind.
  class NewFile {
   public:
    NewFile(HotStore& store, ContentRef content, std::uint64_t reserved)
        : store_{&store}, content_{content}, reserved_{reserved} {}
    ~NewFile() { store_->unreserve(reserved_); }
    NewFile(const NewFile&) = delete;
    NewFile& operator=(const NewFile&) = delete;
    int fd() const { return fd_.get(); }

   private:
    friend class HotStore;
    HotStore* store_;
    ContentRef content_;
    std::uint64_t reserved_;
    UniqueFd fd_;
  };
  /// `data_bytes`: what it will take on disk. Errors: out_of_space if that cannot be made free, io, not_supported.
  Result<std::unique_ptr<NewFile>> create(const ContentRef& content, std::uint64_t data_bytes);
  Result<HotFilePtr> publish(NewFile& file);  ///< the bytes must have been checked
  /// Gives up files without users until `bytes` are free or none is left: the disk is fuller than the budget knows.
  void make_room(std::uint64_t bytes);

  /// A file of an earlier boot that must be hashed before it is used: read-only, null if there is none.
  UniqueFd open_unverified(const ContentRef& content);
  Result<HotFilePtr> accept(const ContentRef& content);  ///< its hash was right
  /// Forgets a file whose bytes are wrong. Who has it open keeps the old inode; the next fill makes a new one.
  void drop(const cas::ContentId& id);

  void set_release_hook(Tier::ReleaseHook hook);
  bool release(const cas::ContentId& id);  ///< asks the hook
  Result<void> pin(const ContentRef& content);
  void unpin(const cas::ContentId& id);
  std::vector<ContentRef> pins();
  std::uint64_t evict(const std::optional<cas::ContentId>& content);  ///< bytes freed

  /// For scrub: every hot file there is, and a descriptor to read one with the means to read it from disk.
  std::vector<ContentRef> all();
  struct Inspected {
    UniqueFd fd;
    bool in_use;
  };
  std::optional<Inspected> inspect(const cas::ContentId& id);

  struct Stats {
    std::uint64_t files = 0, bytes = 0, budget = 0, pinned_files = 0, pinned_bytes = 0, hits = 0, evictions = 0;
  };
  Stats stats();
  /// Whether the file system has so much room that nobody will miss what a hot file takes.
  bool has_room_to_spare() const;
  bool verity() const { return verity_; }  ///< whether the file system finds a changed bit, or scrub must
  void protect(const HotFile& file);       ///< with fs-verity; slow, and nothing where there is none

 private:
  struct Nothing {};
  using Order = S3Fifo<cas::ContentId, Nothing, cas::HashOfHash>;
  struct Record {
    std::uint64_t size = 0, allocated = 0;
    Order::NodePtr node;  // null while pinned
    std::weak_ptr<const HotFile> open;
    bool verified = false, pinned = false, synced = false;
  };
  using Records = std::unordered_map<cas::ContentId, Record, cas::HashOfHash>;

  HotStore(HotFolder folder, PinList pins, std::uint64_t budget);
  void enter(const HotFolder::Listed& file, bool pinned, bool synced) REQUIRES(mutex_);
  void erase(Records::iterator record) REQUIRES(mutex_);
  HotFilePtr adopt_open(const ContentRef& content, UniqueFd fd) REQUIRES(mutex_);
  void keep_open(const HotFilePtr& file) REQUIRES(mutex_);
  Result<void> reserve(std::uint64_t bytes);
  void unreserve(std::uint64_t bytes);
  std::uint64_t evict_unused(const cas::ContentId& id);

  const HotFolder folder_;
  Mutex mutex_;
  PinList pins_ GUARDED_BY(mutex_);
  Records records_ GUARDED_BY(mutex_);
  Order order_ GUARDED_BY(mutex_);
  std::deque<HotFilePtr> kept_open_ GUARDED_BY(mutex_);  // for `read`; gives way to eviction
  std::uint64_t bytes_ GUARDED_BY(mutex_) = 0, reserved_ GUARDED_BY(mutex_) = 0;
  const std::uint64_t budget_;
  const bool verity_;
  Mutex hook_mutex_;
  Tier::ReleaseHook hook_ GUARDED_BY(hook_mutex_);
  std::atomic<std::uint64_t> hits_{0}, evictions_{0};
};

}  // namespace stellarium::tier
