#pragma once
#include <cstdint>
#include <memory>
#include <optional>

#include "cas/content_store.h"
#include "fs/byte_stream.h"

namespace stellarium::fs {

/// Streams one content out of the store, from its first byte to its last: layer objects, mostly. File contents are read
/// through the tier.
///
/// Every chunk is verified as it is read, and at the end all of them together against the content's id.
/// Errors: corrupt, not_found, io. Memory: one decoded frame. Threads: one at a time.
class ContentInput final : public ByteInput {
 public:
  ContentInput(cas::ContentStore& store, const cas::ContentId& content, std::uint64_t size)
      : store_{store}, content_{content}, left_{size}, size_{size} {}
  Result<std::size_t> read(MutableByteSpan out) override;

 private:
  Result<void> load_next_chunk();

  cas::ContentStore& store_;
  cas::ContentId content_;
  std::uint64_t left_, size_;
  std::optional<cas::Recipe> recipe_;
  std::size_t next_entry_ = 0;
  std::uint32_t repeats_done_ = 0;  // of recipe_->entries[next_entry_]
  std::shared_ptr<const cas::DecodedFrame> frame_;
  ByteSpan chunk_;  // what is left of the chunk being read; points into frame_
  cas::Hasher hasher_;
};

}  // namespace stellarium::fs
