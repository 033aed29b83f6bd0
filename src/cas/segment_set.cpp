#include "cas/segment_set.h"

#include <fcntl.h>

#include <algorithm>

namespace stellarium::cas {
namespace {

constexpr std::size_t kMaxReaders = 256;  // open files; who still uses a dropped one keeps it

}  // namespace

SegmentSet::SegmentSet(Database& database, Io& io, std::filesystem::path dir, UniqueFd dir_fd, const StoreId& store)
    : database_{database}, io_{io}, dir_{std::move(dir)}, dir_fd_{std::move(dir_fd)}, store_{store} {}

Result<std::unique_ptr<SegmentSet>> SegmentSet::open(Database& database, Io& io, const std::filesystem::path& dir,
                                                     const StoreId& store) {
  if (auto made = io.make_dir(AT_FDCWD, dir.string(), 0700); !made) return fail(made.error());
  auto fd = io.open(AT_FDCWD, dir.string(), O_RDONLY | O_DIRECTORY, 0);
  if (!fd) return fail(std::move(fd).error());
  std::unique_ptr<SegmentSet> set{new SegmentSet{database, io, dir, *std::move(fd), store}};
  if (auto ok = set->recover(); !ok) return fail(std::move(ok).error(), "opening the segments in " + dir.string());
  return set;
}

Result<void> SegmentSet::recover() {
  if (auto ok = table_.load(database_); !ok) return ok;
  const auto present = files();
  if (!present) return fail(present.error());
  std::uint32_t last = 0;
  for (const std::uint32_t number : *present) last = std::max(last, number);
  for (const auto& [number, record] : table_.all()) {
    last = std::max(last, number);
    if (record.state == SegmentState::condemned || record.durable_size == 0) {
      // Never committed, or on its way out: a crash came between record and file.
      if (auto ok = remove_file(number); !ok) return ok;
    } else if (record.state == SegmentState::open && std::ranges::binary_search(*present, number)) {
      if (auto ok = recover_open(number, record); !ok) return ok;
    }
  }
  MutexLock lock{mutex_};
  next_number_ = last + 1;
  return {};
}

Result<void> SegmentSet::recover_open(std::uint32_t number, const SegmentRecord& record) {
  auto writer = SegmentWriter::resume(io_, dir_fd_.get(), number, store_, record.durable_size);
  if (writer) {
    MutexLock lock{mutex_};
    idle_.push_back(*std::move(writer));
    return {};
  }
  if (writer.error().code != Errc::corrupt) return fail(std::move(writer).error());
  return {};  // damaged below its durable size: check() says so
}

Result<void> SegmentSet::remove_file(std::uint32_t number) {
  if (auto gone = io_.unlink(dir_fd_.get(), segment_name(number)); !gone && gone.error().code != Errc::not_found)
    return gone;
  // The record goes last: a file that came back after a power cut without one would be kept for ever.
  if (auto ok = io_.sync(dir_fd_.get()); !ok) return ok;
  Database::Batch batch;
  SegmentTable::stage_removal(batch, number);
  if (auto ok = database_.write(std::move(batch), Database::Sync::no); !ok) return ok;
  table_.apply_removal(number);
  return {};
}

Result<void> SegmentSet::write_record(std::uint32_t number, const SegmentRecord& record, Database::Sync sync) {
  Database::Batch batch;
  SegmentTable::stage(batch, number, record);
  if (auto ok = database_.write(std::move(batch), sync); !ok) return ok;
  table_.apply(number, record);
  return {};
}

Result<SegmentWriter> SegmentSet::take_writer() {
  std::uint32_t number = 0;
  {
    MutexLock lock{mutex_};
    if (!idle_.empty()) {
      SegmentWriter writer = std::move(idle_.back());
      idle_.pop_back();
      in_use_.insert(writer.number());
      return writer;
    }
    number = next_number_++;
    in_use_.insert(number);
  }
  auto writer = [&]() -> Result<SegmentWriter> {
    if (auto ok = write_record(number, SegmentRecord{}, Database::Sync::yes); !ok) return fail(std::move(ok).error());
    return SegmentWriter::create(io_, dir_fd_.get(), number, store_);
  }();
  if (!writer) {
    cut_tail(number);
    release(number, std::nullopt);
  }
  return writer;
}

void SegmentSet::give_back(SegmentWriter writer) {
  const std::uint32_t number = writer.number();
  const auto record = table_.find(number);
  const bool usable = !writer.failed() && record && record->state == SegmentState::open;
  if (writer.failed()) cut_tail(number);
  release(number, usable ? std::optional{std::move(writer)} : std::nullopt);
}

void SegmentSet::cut_tail(std::uint32_t number) {
  // A full disk must not stay full of what a failed import left. If this fails too, the next open does it.
  const auto record = table_.find(number);
  if (!record || record->state != SegmentState::open) return;
  if (record->durable_size == 0)
    (void)remove_file(number);
  else
    (void)SegmentWriter::resume(io_, dir_fd_.get(), number, store_, record->durable_size);
}

void SegmentSet::release(std::uint32_t number, std::optional<SegmentWriter> writer) {
  MutexLock lock{mutex_};
  in_use_.erase(number);
  if (writer) idle_.push_back(*std::move(writer));
}

Result<void> SegmentSet::finish_idle(std::uint64_t least) {
  std::vector<SegmentWriter> large;
  {
    MutexLock lock{mutex_};
    const auto split = std::stable_partition(idle_.begin(), idle_.end(), [&](const SegmentWriter& writer) {
      return writer.size() < least || writer.entries().empty();
    });
    for (auto writer = split; writer != idle_.end(); ++writer) large.push_back(std::move(*writer));
    idle_.erase(split, idle_.end());
  }
  for (SegmentWriter& writer : large) {
    if (auto ok = writer.finish(); !ok) return ok;
    SegmentRecord record = table_.find(writer.number()).value_or(SegmentRecord{});
    record.state = SegmentState::finished;
    record.durable_size = writer.size();
    if (auto ok = write_record(writer.number(), record, Database::Sync::no); !ok) return ok;
  }
  return {};
}

Result<std::shared_ptr<const SegmentReader>> SegmentSet::reader(std::uint32_t number) {
  {
    MutexLock lock{mutex_};
    if (const auto found = readers_.find(number); found != readers_.end()) return found->second;
  }
  auto opened = SegmentReader::open(io_, dir_fd_.get(), number, store_);
  if (!opened) return fail(std::move(opened).error());
  auto reader = std::make_shared<const SegmentReader>(*std::move(opened));
  MutexLock lock{mutex_};
  if (readers_.size() >= kMaxReaders) readers_.erase(readers_.begin());
  return readers_.emplace(number, std::move(reader)).first->second;
}

Result<std::vector<SegmentEntry>> SegmentSet::containers(std::uint32_t number) {
  const auto record = table_.find(number);
  if (!record) return fail(Errc::not_found, segment_text(number) + " has no record");
  const auto from = reader(number);
  if (!from) return fail(from.error());
  if (record->state == SegmentState::finished) return (*from)->footer();
  auto walk = (*from)->walk(record->durable_size);
  if (!walk) return fail(std::move(walk).error());
  if (walk->damage) return fail(*std::move(walk->damage));
  return std::move(walk->entries);
}

SegmentSet::Hold::Hold(SegmentSet& set, std::uint32_t number, std::optional<SegmentWriter> writer)
    : set_{&set}, number_{number}, writer_{std::move(writer)} {}

SegmentSet::Hold::Hold(Hold&& other) noexcept
    : set_{std::exchange(other.set_, nullptr)}, number_{other.number_}, writer_{std::move(other.writer_)} {}

SegmentSet::Hold::~Hold() {
  if (set_ != nullptr) set_->release(number_, std::move(writer_));
}

std::optional<SegmentSet::Hold> SegmentSet::hold(std::uint32_t number) {
  if (!table_.find(number)) return std::nullopt;
  MutexLock lock{mutex_};
  if (!in_use_.insert(number).second) return std::nullopt;
  std::optional<SegmentWriter> writer;
  const auto idle = std::ranges::find(idle_, number, &SegmentWriter::number);
  if (idle != idle_.end()) {
    writer = std::move(*idle);
    idle_.erase(idle);
  }
  return Hold{*this, number, std::move(writer)};
}

Result<std::uint64_t> SegmentSet::free(const Hold& hold, std::span<const SegmentEntry> dead) {
  if (dead.empty()) return 0;
  const std::uint32_t number = hold.number();
  auto file = io_.open(dir_fd_.get(), segment_name(number), O_RDWR, 0);
  if (!file) return fail(std::move(file).error());
  const auto freed = free_containers(io_, file->get(), dead);
  if (!freed) return fail(freed.error(), segment_text(number));

  SegmentRecord record = table_.find(number).value_or(SegmentRecord{});
  for (const SegmentEntry& container : dead) {
    record.containers -= std::min(record.containers, 1u);
    record.chunks -= std::min<std::uint32_t>(record.chunks, container.count);
    record.raw_bytes -= std::min<std::uint64_t>(record.raw_bytes, container.raw_size);
  }
  record.freed_bytes += *freed;
  if (auto ok = write_record(number, record, Database::Sync::no); !ok) return fail(std::move(ok).error());
  return *freed;
}

Result<std::uint64_t> SegmentSet::remove(Hold hold) {
  const std::uint32_t number = hold.number();
  SegmentRecord record = table_.find(number).value_or(SegmentRecord{});
  const std::uint64_t bytes = record.durable_size - std::min(record.durable_size, record.freed_bytes);
  record.state = SegmentState::condemned;
  if (auto ok = write_record(number, record, Database::Sync::yes); !ok) return fail(std::move(ok).error());
  hold.writer_.reset();
  {
    MutexLock lock{mutex_};
    readers_.erase(number);
  }
  if (auto ok = remove_file(number); !ok) return fail(std::move(ok).error());
  return bytes;
}

Result<std::vector<std::uint32_t>> SegmentSet::unknown_files() const {
  auto numbers = files();
  if (!numbers) return numbers;
  std::erase_if(*numbers, [&](std::uint32_t number) { return table_.find(number).has_value(); });
  return numbers;
}

Result<std::vector<std::uint32_t>> SegmentSet::files() const {
  std::vector<std::uint32_t> numbers;
  std::error_code error;
  for (std::filesystem::directory_iterator entry{dir_, error}, end; !error && entry != end; entry.increment(error))
    if (const auto number = segment_number(entry->path().filename().string())) numbers.push_back(*number);
  if (error) return fail_errno("listing " + dir_.string(), error.value());
  std::ranges::sort(numbers);
  return numbers;
}

}  // namespace stellarium::cas
