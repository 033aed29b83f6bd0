#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/byte_parts.h"
#include "base/io.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cas/chunk_source.h"
#include "cas/content_store.h"
#include "cas/hash.h"

namespace stellarium::tier {

/// Names a content together with its size, which every inode record knows anyway.
struct ContentRef {
  cas::ContentId id;
  std::uint64_t size = 0;
  bool operator==(const ContentRef&) const = default;
};

/// A complete, verified, uncompressed host file of one content. While any copy of the pointer lives, the file is not
/// evicted.
class HotFile {
 public:
  virtual ~HotFile() = default;
  virtual const ContentRef& content() const = 0;
  /// An O_RDONLY descriptor inside the private read-only mount of the hot folder; borrowed, valid while this object
  /// lives.
  virtual int fd() const = 0;
};
using HotFilePtr = std::shared_ptr<const HotFile>;

class RemoteContents;

/// Where the bytes of a content are: frames in memory, hot files, local segments, later remote sources [Photon].
///
/// Threads: all functions may be called concurrently. Callbacks run on the tier's own threads and must not block.
/// Errors:  corrupt or not_found (the bytes cannot be delivered: EIO at the edge), out_of_space (no room for a hot
/// file;
///          `read` still works), io.
class Tier {
 public:
  struct Options {
    std::uint64_t hot_budget = 0;            ///< bytes of hot files; 0: a quarter of the file system's free space
    std::uint64_t frame_budget = 32u << 20;  ///< bytes of decoded frames kept in memory
    unsigned fill_threads = 2;
    bool private_mount = true;         ///< open hot files through a private read-only bind mount (needs CAP_SYS_ADMIN)
    RemoteContents* remote = nullptr;  ///< borrowed; null: everything is in the store
  };
  static Result<std::unique_ptr<Tier>> open(cas::ContentStore& store, Io& io, const std::filesystem::path& hot_dir,
                                            const Options& options);
  virtual ~Tier() = default;

  /// Copies bytes [offset, offset + out.size()) of the content, cut at its end; returns how many. Every byte was
  /// verified.
  [[nodiscard]] virtual Result<std::size_t> read(const ContentRef& content, std::uint64_t offset,
                                                 MutableByteSpan out) = 0;
  /// The same, only if it can be answered from memory or a hot file without decoding; nothing otherwise.
  virtual std::optional<std::size_t> read_if_present(const ContentRef& content, std::uint64_t offset,
                                                     MutableByteSpan out) = 0;
  /// From the hot file only, straight to where the bytes are wanted, which must lie within the content. Returns whether
  /// they are there.
  virtual bool read_hot(const ContentRef& content, std::uint64_t offset, MutableByteParts out) = 0;
  /// Runs `read` on a fill thread, so that a cold miss never holds a worker of the transport.
  virtual void read_async(const ContentRef& content, std::uint64_t offset, MutableByteSpan out,
                          std::function<void(Result<std::size_t>)> done) = 0;

  /// The hot file if it is there and trusted; never fills.
  virtual HotFilePtr find_hot(const ContentRef& content) = 0;
  /// Fills the hot file if needed (verified while it is filled, published complete) and then calls back. Concurrent
  /// calls share one fill.
  virtual void make_hot(const ContentRef& content, std::function<void(Result<HotFilePtr>)> done) = 0;

  /// Begins to bring the content where a reader will look for it: into its hot file, or as frames into memory. Never
  /// waits and reports no error: whoever reads the content meets it. Returns false if it is there already.
  enum class Place : std::uint8_t { hot_file, memory };
  virtual bool prefetch(const ContentRef& content, Place place) = 0;

  /// Whether some of the content is at another host still. Cheap where there is no such content.
  virtual bool lacks(const ContentRef& /*content*/) { return false; }

  /// Fetches what of the bytes is at another host still, and then calls back; at once where nothing is. `read` does the
  /// same: this is for who would hold something back meanwhile that others need. Errors: those of a RemoteContents.
  virtual void bring(const ContentRef& /*content*/, std::uint64_t /*offset*/, std::uint64_t /*size*/,
                     const std::function<void(Result<void>)>& done) {
    done({});
  }

  /// Somebody with pages of their own (a virtual machine without a window, a mount without passthrough) begins to read
  /// a content that has no hot file. The second one within a while is not the last: then it is filled, in the
  /// background, if there is room to spare.
  virtual void note_reader(const ContentRef& /*content*/) {}

  /// Who keeps hot files busy outside this process's pointers: asked before eviction, told to let go (close its backing
  /// ids). Returns false if the content cannot be let go now.
  using ReleaseHook = std::function<bool(const cas::ContentId&)>;
  virtual void set_release_hook(ReleaseHook hook) = 0;

  [[nodiscard]] virtual Result<void> pin(const ContentRef& content) = 0;  ///< fills, and exempts from eviction
  virtual void unpin(const cas::ContentId& content) = 0;
  /// Evicts one content, or with nullopt everything that is neither pinned nor in use; returns the bytes freed.
  virtual std::uint64_t evict(const std::optional<cas::ContentId>& content) = 0;

  struct ScrubReport {
    std::uint64_t files = 0, bytes = 0;
    std::vector<std::string>
        damaged;  ///< one line per hot file whose bytes had changed; each was dropped and is filled anew on use
  };
  [[nodiscard]] virtual Result<ScrubReport> scrub(const cas::ContentStore::Progress& progress) = 0;

  struct Stats {
    std::uint64_t hot_files = 0, hot_bytes = 0, hot_budget = 0, pinned_files = 0, pinned_bytes = 0;
    std::uint64_t frame_bytes = 0, frame_budget = 0;
    std::uint64_t hot_hits = 0, frame_hits = 0, frame_misses = 0, fills = 0, evictions = 0, fill_failures = 0;
    std::string integrity;  ///< "fs-verity" or "scrub": how a flipped bit in a hot file is found
  };
  virtual Stats stats() = 0;
};

}  // namespace stellarium::tier
