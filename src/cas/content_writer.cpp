#include <algorithm>
#include <array>
#include <cassert>

#include "cas/write_session.h"

namespace stellarium::cas {
namespace {

using Lane = FramePipeline::Lane;

constexpr std::size_t kMaxPacked = 16u << 10;  // contents up to this size go into packs, unless they are programs

constexpr std::array<std::byte, kMaxChunk> kZeros{};

}  // namespace

SessionContentWriter::SessionContentWriter(StoreSession& session, Placement placement)
    : session_{session},
      placement_{placement},
      buffer_{session.buffer()},
      most_buffered_{session.dedup_before_cutting()} {
  buffer_.clear();
}

Result<void> SessionContentWriter::append(ByteSpan data) {
  size_ += data.size();
  if (!streaming_) {
    if (buffer_.size() + data.size() <= most_buffered_) {
      buffer_.insert(buffer_.end(), data.begin(), data.end());
      return {};
    }
    if (auto ok = begin_streaming(); !ok) return ok;
  }
  whole_.update(data);
  return cut(data);
}

Result<void> SessionContentWriter::append_zeros(std::uint64_t count) {
  size_ += count;
  if (!streaming_) {
    if (count <= most_buffered_ - buffer_.size()) {
      buffer_.resize(buffer_.size() + count);
      return {};
    }
    if (auto ok = begin_streaming(); !ok) return ok;
  }
  // The hash of the whole content has to see every byte (its leaves are numbered); nothing else does.
  whole_.update_zeros(count);
  return cut_zeros(count);
}

Result<void> SessionContentWriter::begin_streaming() {
  streaming_ = true;
  std::vector<std::byte> start;
  start.swap(buffer_);
  whole_.update(start);
  auto ok = cut(start);
  start.assign(buffer_.begin(), buffer_.end());
  buffer_.swap(start);  // keeps the large one for the contents to come
  return ok;
}

Result<void> SessionContentWriter::cut(ByteSpan data) {
  while (!data.empty()) {
    const Chunker::Step step = chunker_.next(data);
    const ByteSpan taken = data.first(step.taken);
    data = data.subspan(step.taken);
    if (step.cut && buffer_.empty()) {  // the whole chunk lies in `data`: no copy
      if (auto ok = end_chunk(taken); !ok) return ok;
      continue;
    }
    buffer_.insert(buffer_.end(), taken.begin(), taken.end());
    if (!step.cut) continue;
    if (auto ok = end_chunk(buffer_); !ok) return ok;
    buffer_.clear();
  }
  return {};
}

Result<void> SessionContentWriter::cut_zeros(std::uint64_t count) {
  while (count != 0) {
    if (const std::uint64_t whole = buffer_.empty() ? chunker_.whole_zero_bytes(count) : 0; whole != 0) {
      static_assert(Chunker::Params{}.max == kMaxChunk);
      if (!zero_chunk_) zero_chunk_ = hash_of(kZeros);
      if (auto ok = session_.store(Lane::frames, *zero_chunk_, kZeros); !ok) return ok;
      recipe_.append(*zero_chunk_, kMaxChunk, whole / kMaxChunk);
      count -= whole;
      continue;
    }
    const Chunker::ZeroStep step = chunker_.next_zeros(count);
    buffer_.resize(buffer_.size() + static_cast<std::size_t>(step.taken));
    count -= step.taken;
    if (!step.cut) continue;
    if (auto ok = end_chunk(buffer_); !ok) return ok;
    buffer_.clear();
  }
  return {};
}

Result<void> SessionContentWriter::end_chunk(ByteSpan chunk) {
  const ChunkId id = hash_of(chunk);
  recipe_.append(id, static_cast<std::uint32_t>(chunk.size()));
  return session_.store(Lane::frames, id, chunk);
}

Result<ContentId> SessionContentWriter::finish_one_chunk(ByteSpan content) {
  const ContentId id = hash_of(content);
  if (content.empty()) return id;
  const bool packed = placement_ == Placement::data && content.size() <= kMaxPacked;
  if (auto ok = session_.store(packed ? Lane::packs : Lane::frames, id, content); !ok)
    return fail(std::move(ok).error());
  return id;
}

Result<ContentId> SessionContentWriter::finish_whole(ByteSpan content) {
  session_.count(content.size());
  if (content.size() <= kMaxChunk) return finish_one_chunk(content);
  recipe_.content = hash_of(content);
  const auto known = session_.has(recipe_.content, content.size());
  if (!known) return fail(known.error());
  if (*known) {
    session_.count(0, 1);
    return recipe_.content;
  }
  if (auto ok = cut(content); !ok) return fail(std::move(ok).error());
  return finish_chunks();
}

/// Everything is cut but what is in buffer_, which is the last chunk.
Result<ContentId> SessionContentWriter::finish_chunks() {
  if (!buffer_.empty())
    if (auto ok = end_chunk(buffer_); !ok) return fail(std::move(ok).error());
  buffer_.clear();
  recipe_.size = size_;
  const auto known = session_.has(recipe_.content, size_);
  if (!known) return fail(known.error());
  if (!*known)
    if (auto ok = session_.store(recipe_); !ok) return fail(std::move(ok).error());
  return recipe_.content;
}

Result<ContentId> SessionContentWriter::finish() {
  if (streaming_) {
    session_.count(size_);
    recipe_.content = whole_.finish();
    return finish_chunks();
  }
  std::vector<std::byte> content;  // stays alive while its chunks are cut out of it
  content.swap(buffer_);
  auto id = finish_whole(content);
  if (content.capacity() > buffer_.capacity()) buffer_.swap(content);  // the larger one for the contents to come
  buffer_.clear();
  return id;
}

Result<ContentId> SessionContentWriter::finish(ByteSpan last) {
  if (size_ == 0 && last.size() <= most_buffered_) {
    size_ = last.size();
    return finish_whole(last);
  }
  return ContentWriter::finish(last);
}

}  // namespace stellarium::cas
