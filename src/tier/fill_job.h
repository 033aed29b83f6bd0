#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/io.h"
#include "base/mutex.h"
#include "base/result.h"
#include "cas/hash.h"
#include "tier/content_reader.h"
#include "tier/hot_store.h"
#include "tier/worker_pool.h"

namespace stellarium::tier {

/// Makes one hot file: verifies the one of an earlier boot, or fills a new one from frames.
///
/// Shape:   a chain of steps of one frame each on the worker pool. The file is cut into slices of 2 MiB; as many as
///          there are threads are filled at a time, in ascending order, so that all cores decode and a sequential
///          reader can follow closely. Within a slice the steps follow each other, so files become hot in the order in
///          which they were asked for; after a slice others have their turn.
/// Checks:  every chunk against its id (by the source, when the frame was decoded); then the whole against the
/// content's
///          id, which also tells a wrong recipe. For a content of one chunk the two are the same. The whole is hashed
///          in order, from the decoded frames just before they are written; what was written out of order is read back.
/// Writes:  a slice at once: the page cache then keeps it in one folio where the file system has large ones, and hot
///          reads are a tenth faster than from folios of a frame's size. Nothing for zeros; no sync (docs/tiers.md,
///          trust).
/// Memory:  the frames of a slice, 64 at most, for each thread that fills.
/// Errors:  those of the reader and the store. On a full disk it evicts what it can and tries once more.
class FillJob : public std::enable_shared_from_this<FillJob> {
 public:
  struct Context {
    ContentReader& reader;
    HotStore& hot;
    Io& io;
    WorkerPool& pool;
    std::atomic<bool>& stopping;  ///< makes running jobs end with `cancelled`
  };
  using Done = std::function<void(Result<HotFilePtr>)>;
  FillJob(const Context& context, const ContentRef& content, Done done);

  void start();  ///< calls `done` once, on a thread of the pool
  /// Bytes that this job has already put in place (chunks checked); nothing if some of the range is missing.
  std::optional<std::size_t> read_filled(std::uint64_t offset, MutableByteSpan out);

 private:
  struct Slice {
    std::atomic<std::uint64_t> filled = 0;     // end of what is in the file, as an offset of it
    std::vector<ContentReader::Run> gathered;  // what comes behind that
    std::uint64_t gathered_bytes = 0;
  };
  /// The new file and how far each slice is.
  struct Target {
    std::unique_ptr<HotStore::NewFile> file;
    RecipeCache::MapPtr map;
    std::vector<Slice> slices;
    explicit Target(std::size_t count) : slices(count) {}
  };
  static constexpr std::uint64_t kSlice = 2u << 20;  // a huge page, the largest folio there is
  static constexpr std::size_t kMaxGathered = 64;    // runs; more than a slice of usual chunks has

  void later(void (FillJob::*step)());
  void prepare();
  void check_old_file();
  void begin_fill();
  void fill_next_slice();
  void fill_slice(std::size_t number);
  /// Takes the run that follows what the slice has; hashes it if it is next, writes where it ends the slice, or is a
  /// hole.
  Result<void> put(Slice& slice, ContentReader::Run run, std::uint64_t end);
  void slice_failed(const Error& error);
  void worker_ended();
  void check_new_file();
  void publish();
  void finish(Result<HotFilePtr> result);
  bool whole_is_hashed() const { return content_.size > cas::kMaxChunk; }  // else the check of its chunk was that
  /// Hashes what is next in the slice's gathered runs, if all before it is in the file or hashed.
  Result<void> hash_gathered(const Slice& slice);
  Result<void> hash_file(int fd, std::uint64_t stop);  ///< the same from the file, kHashStep at most
  std::uint64_t end_of(std::size_t slice) const;

  const Context context_;
  const ContentRef content_;
  Done done_;
  bool retried_ = false;

  UniqueFd old_file_;
  std::atomic<bool> hashing_{false};  // while several workers fill: who set it owns the two below
  cas::Hasher hasher_;
  std::uint64_t hashed_ = 0;  // what the hasher has, as an offset

  Mutex mutex_;
  std::shared_ptr<Target> target_ GUARDED_BY(mutex_);  // taken away once published; read_filled copies it
  std::optional<Error> error_ GUARDED_BY(mutex_);      // the first one
  Target* current_ = nullptr;                          // what `target_` owns, for the steps
  std::atomic<std::size_t> next_slice_{0};
  std::atomic<unsigned> workers_{0};
};

}  // namespace stellarium::tier
