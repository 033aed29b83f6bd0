#include "cas/frame_pipeline.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace stellarium::cas {
namespace {

// Chunks that wait for the end of their segment. Only tiny ones get so many: a segment holds some 5,000 of usual size.
constexpr std::size_t kMaxUnpublished = 32'768;

FrameKind kind_of(FramePipeline::Lane lane) {
  switch (lane) {
    case FramePipeline::Lane::frames:
    case FramePipeline::Lane::merged:
      return FrameKind::chunks;
    case FramePipeline::Lane::packs:
      return FrameKind::pack;
    case FramePipeline::Lane::recipes:
      return FrameKind::recipe;
  }
  return FrameKind::chunks;
}

}  // namespace

FramePipeline::~FramePipeline() {
  MutexLock lock{mutex_};
  assert(in_flight_.empty() && !writer_ && "close() comes first");
}

Result<void> FramePipeline::add(Lane lane, const ChunkId& id, ByteSpan data, const std::optional<ChunkLocation>& from) {
  MutexLock lock{mutex_};
  auto& open = open_[static_cast<std::size_t>(lane)];
  // Submitting may sleep, and somebody else may submit meanwhile: look again each time.
  while (!failure_ && open && !open->builder.fits(data.size())) submit(lock, lane);
  if (failure_) {
    if (!from) parts_.pending.release(std::span{&id, 1}, *this);
    return fail(*failure_);
  }
  if (!open) open = std::make_shared<Frame>(kind_of(lane), parts_.buffers);
  open->builder.add(id, data);
  open->from.push_back(from);
  return {};
}

void FramePipeline::submit(MutexLock& lock, Lane lane) {
  auto& open = open_[static_cast<std::size_t>(lane)];
  const std::shared_ptr<Frame> frame = open;
  while (!failure_ && open == frame && in_flight_.size() >= room()) lock.wait(changed_);
  if (failure_ || open != frame) return;
  open.reset();
  put_in_flight(frame);
}

Result<void> FramePipeline::add_container(ByteSpan container, const std::vector<DecodedFrame::Entry>& entries) {
  const auto frame = std::make_shared<Frame>(FrameKind::chunks, parts_.buffers);
  frame->container = parts_.buffers->take(container.size());
  std::ranges::copy(container, frame->container.bytes().begin());
  frame->came = entries;
  frame->from.resize(entries.size());
  MutexLock lock{mutex_};
  while (!failure_ && in_flight_.size() >= room()) lock.wait(changed_);
  if (failure_) {
    std::vector<ChunkId> lost;
    for (const DecodedFrame::Entry& entry : entries) lost.push_back(entry.id);
    parts_.pending.release(lost, *this);
    return fail(*failure_);
  }
  put_in_flight(frame);
  return {};
}

void FramePipeline::put_in_flight(const std::shared_ptr<Frame>& frame) {
  in_flight_.push_back(frame);
  ++submitted_;
  ++jobs_;
  parts_.workers.submit([self = shared_from_this(), frame] { self->encode(*frame); });
}

void FramePipeline::encode(Frame& frame) {
  if (!frame.container) frame.container = frame.builder.encode(parts_.compressor);
  bool append = false;
  {
    MutexLock lock{mutex_};
    frame.encoded = true;
    // Whoever appends now comes to this frame, too.
    append = !std::exchange(appending_, true);
  }
  if (append) append_encoded();
  {
    MutexLock lock{mutex_};
    --jobs_;
  }
  changed_.notify_all();
}

/// The caller has set appending_; this gives it up.
void FramePipeline::append_encoded() {
  for (;;) {
    std::shared_ptr<Frame> next;
    {
      MutexLock lock{mutex_};
      if (failure_ || waiting_ != 0 || in_flight_.empty() || !in_flight_.front()->encoded) {
        appending_ = false;
        return;
      }
      next = in_flight_.front();
    }
    const Result<void> appended = append(*next);
    if (!appended) fail_with(appended.error());
    {
      MutexLock lock{mutex_};
      if (!failure_) {
        in_flight_.pop_front();
        ++done_;
        totals_.bytes_stored += next->container.size();
        ++totals_.containers;
      }
    }
    next->builder.clear();  // others need its memory; whoever encoded it may hold the frame for a moment longer
    next->container = FrameBuffer{};
    changed_.notify_all();
  }
}

Result<void> FramePipeline::append(const Frame& frame) {
  if (writer_ && writer_->size() + frame.container.size() > parts_.segment_bytes && !writer_->entries().empty()) {
    if (auto ok = writer_->finish(); !ok) return ok;
    if (auto ok = publish(/*finished=*/true); !ok) return ok;
    parts_.segments.give_back(*std::move(writer_));
    writer_.reset();
  }
  if (!writer_) {
    auto writer = parts_.segments.take_writer();
    if (!writer) return fail(std::move(writer).error());
    writer_.emplace(*std::move(writer));
    // One that was given back nearly full is finished by the next call.
    if (writer_->size() + frame.container.size() > parts_.segment_bytes && !writer_->entries().empty())
      return append(frame);
  }
  return append_to_segment(frame);
}

Result<void> FramePipeline::append_to_segment(const Frame& frame) {
  const auto offset = writer_->append(frame.container.bytes());
  if (!offset) return fail(offset.error());
  const auto& entries = frame.entries();
  for (std::size_t at = 0; at < entries.size(); ++at) {
    const ChunkLocation here{writer_->number(), *offset, entries[at].offset, entries[at].size};
    if (frame.from[at])
      moved_.push_back({entries[at].id, *frame.from[at], here});
    else
      appended_.push_back({entries[at].id, here});
  }
  delta_.containers += 1;
  delta_.chunks += static_cast<std::uint32_t>(entries.size());
  for (const DecodedFrame::Entry& entry : entries) delta_.raw_bytes += entry.size;
  if (appended_.size() + moved_.size() < kMaxUnpublished) return {};
  if (auto ok = writer_->sync(); !ok) return ok;
  return publish(/*finished=*/false);
}

/// Enters what is on disk into the index, together with the size up to which the segment counts.
Result<void> FramePipeline::publish(bool finished) {
  SegmentRecord record = parts_.segments.table().find(writer_->number()).value_or(SegmentRecord{});
  record.state = finished ? SegmentState::finished : SegmentState::open;
  record.durable_size = writer_->size();
  record.containers += delta_.containers;
  record.chunks += delta_.chunks;
  record.raw_bytes += delta_.raw_bytes;
  // In order, each record's place is near the one before (database_options.cpp): half the time.
  std::ranges::sort(appended_, {}, &ChunkIndex::Entry::id);
  Database::Batch batch;
  SegmentTable::stage(batch, writer_->number(), record);
  if (moved_.empty()) {
    if (auto ok = parts_.index.add(appended_, std::move(batch)); !ok) return ok;
  } else {
    assert(appended_.empty());
    if (const auto ok = parts_.index.move(moved_, std::move(batch)); !ok) return fail(ok.error());
  }
  parts_.segments.table().apply(writer_->number(), record);
  delta_ = {};

  std::vector<ChunkId> settled;
  for (const ChunkIndex::Entry& entry : appended_) settled.push_back(entry.id);
  parts_.pending.release(settled, *this);
  appended_.clear();
  moved_.clear();
  return {};
}

Result<void> FramePipeline::make_durable() {
  {
    MutexLock lock{mutex_};
    for (std::size_t lane = 0; lane < kLanes; ++lane)
      if (open_[lane]) submit(lock, static_cast<Lane>(lane));
    // Only for what was added so far: the producer may be faster than the workers for as long as it likes.
    const std::uint64_t wanted = submitted_;
    while (!failure_ && done_ < wanted) lock.wait(changed_);
    ++waiting_;
    while (!failure_ && appending_) lock.wait(changed_);
    --waiting_;
    if (failure_) return fail(*failure_);
    appending_ = true;
  }
  Result<void> done;
  if (writer_) {
    done = writer_->sync();
    if (done && delta_.containers != 0) done = publish(/*finished=*/false);
  }
  if (!done) fail_with(done.error());
  append_encoded();  // what the producer submitted meanwhile
  changed_.notify_all();
  return done;
}

void FramePipeline::fail_with(const Error& error) {
  std::vector<ChunkId> lost;
  for (const ChunkIndex::Entry& entry : appended_) lost.push_back(entry.id);
  MutexLock lock{mutex_};
  if (!failure_) failure_ = error;
  const auto drop = [&](const std::shared_ptr<Frame>& frame) {
    if (!frame) return;
    for (std::size_t at = 0; at < frame->from.size(); ++at)
      if (!frame->from[at]) lost.push_back(frame->entries()[at].id);
  };
  for (const auto& frame : in_flight_) drop(frame);
  for (auto& frame : open_) {
    drop(frame);
    frame.reset();
  }
  in_flight_.clear();
  appended_.clear();
  moved_.clear();
  parts_.pending.release(lost, *this);
}

void FramePipeline::close() {
  (void)make_durable();  // what others met as pending must not vanish; for the rest it is garbage at most
  {
    MutexLock lock{mutex_};
    while (appending_ || jobs_ != 0) lock.wait(changed_);  // after a failure there may be some
    appending_ = true;
  }
  if (writer_) parts_.segments.give_back(*std::move(writer_));
  writer_.reset();
  {
    MutexLock lock{mutex_};
    appending_ = false;  // nothing was submitted meanwhile: the producer is gone
  }
  changed_.notify_all();  // another session may wait in make_durable for chunks that it met as pending
}

FramePipeline::Totals FramePipeline::totals() const {
  MutexLock lock{mutex_};
  return totals_;
}

}  // namespace stellarium::cas
