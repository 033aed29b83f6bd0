#pragma once
#include <memory>

#include "tier/content_reader.h"
#include "tier/filler.h"
#include "tier/frame_cache.h"
#include "tier/hot_store.h"
#include "tier/readahead.h"
#include "tier/recipe_cache.h"
#include "tier/remote_contents.h"
#include "tier/repeated_contents.h"
#include "tier/tier.h"
#include "tier/worker_pool.h"

namespace stellarium::tier {

/// The tier of one host: hot files over frames in memory over the content store.
class LocalTier final : public Tier {
 public:
  LocalTier(cas::ContentStore& store, Io& io, std::unique_ptr<HotStore> hot, const Options& options);
  ~LocalTier() override;

  Result<std::size_t> read(const ContentRef& content, std::uint64_t offset, MutableByteSpan out) override;
  std::optional<std::size_t> read_if_present(const ContentRef& content, std::uint64_t offset,
                                             MutableByteSpan out) override;
  bool read_hot(const ContentRef& content, std::uint64_t offset, MutableByteParts out) override {
    return hot_->read_all(content, offset, out);
  }
  void read_async(const ContentRef& content, std::uint64_t offset, MutableByteSpan out,
                  std::function<void(Result<std::size_t>)> done) override;
  HotFilePtr find_hot(const ContentRef& content) override { return hot_->find(content); }
  void make_hot(const ContentRef& content, std::function<void(Result<HotFilePtr>)> done) override;
  bool prefetch(const ContentRef& content, Place place) override;
  bool lacks(const ContentRef& content) override { return may_be_remote() && remote_->lacks(content); }
  void bring(const ContentRef& content, std::uint64_t offset, std::uint64_t size,
             const std::function<void(Result<void>)>& done) override;
  void note_reader(const ContentRef& content) override;
  void set_release_hook(ReleaseHook hook) override { hot_->set_release_hook(std::move(hook)); }
  Result<void> pin(const ContentRef& content) override;
  void unpin(const cas::ContentId& content) override { hot_->unpin(content); }
  std::uint64_t evict(const std::optional<cas::ContentId>& content) override { return hot_->evict(content); }
  Result<ScrubReport> scrub(const cas::ContentStore::Progress& progress) override;
  Stats stats() override;

 private:
  /// Whether chunks of contents may have to come from elsewhere first.
  bool may_be_remote() const { return remote_ != nullptr && remote_->any(); }
  /// From a hot file, finished or being filled.
  std::optional<std::size_t> read_file(const ContentRef& content, std::uint64_t offset, MutableByteSpan out);
  void decode_ahead(const ContentRef& content, std::uint64_t begin, std::uint64_t end);
  void refill_pins();

  RemoteContents* const remote_;
  std::unique_ptr<HotStore> hot_;
  FrameCache frames_;
  RecipeCache recipes_;
  ContentReader reader_;
  Readahead readahead_;
  RepeatedContents repeated_;
  WorkerPool pool_;  // finished first when this is destroyed: its last tasks still use everything else
  Filler filler_;
};

}  // namespace stellarium::tier
