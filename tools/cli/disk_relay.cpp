#include "tools/cli/disk_relay.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/io.h"
#include "fs/disk_stream.h"
#include "fs/tinyvol.h"
#include "tools/cli/stream.h"

namespace stellarium::cli {
namespace {

/// The read end of a pipe as what the disk's reader reads from.
class PipeInput final : public fs::ByteInput {
 public:
  explicit PipeInput(int fd) : fd_{fd} {}
  Result<std::size_t> read(MutableByteSpan out) override {
    for (;;) {
      const ssize_t got = ::read(fd_, out.data(), out.size());
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno != EINTR) return fail_errno("reading the server's stream");
    }
  }

 private:
  int fd_;
};

struct Extent {
  std::uint64_t begin = 0, end = 0;
};
/// The next part at or behind `at` that is no hole, widened to blocks; empty at the end. A file system or device that
/// knows no holes has one part.
Result<Extent> next_extent(int fd, std::uint64_t at, std::uint64_t size, const std::string& name) {
  const off_t data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
  if (data < 0 && errno == ENXIO) return Extent{size, size};
  if (data < 0 && errno == EINVAL) return Extent{at, size};
  if (data < 0) return fail_errno(name);
  const off_t hole = ::lseek(fd, data, SEEK_HOLE);
  if (hole < 0) return fail_errno(name);
  const auto begin = static_cast<std::uint64_t>(data), end = static_cast<std::uint64_t>(hole);
  if (begin >= size) return Extent{size, size};
  const std::uint64_t rounded = (end + fs::kVolumeBlock - 1) / fs::kVolumeBlock * fs::kVolumeBlock;
  return Extent{std::max(at, begin / fs::kVolumeBlock * fs::kVolumeBlock), std::min(rounded, size)};
}

/// Bytes of a target that is no plain file, which must be written whole.
Result<void> write_zeros(fs::ByteOutput& out, std::uint64_t count) {
  static const std::vector<std::byte> zeros(fs::kMaxDiskRun);
  for (; count > 0; count -= std::min<std::uint64_t>(count, zeros.size())) {
    if (auto written = out.write(ByteSpan{zeros}.first(std::min<std::uint64_t>(count, zeros.size()))); !written)
      return written;
  }
  return {};
}

}  // namespace

Result<void> send_disk(int from, std::uint64_t size, int to, const std::string& name) {
  PipeOutput out{to};
  auto stream = fs::DiskStreamWriter::begin(out, size);
  if (!stream) return fail(stream.error());
  std::vector<std::byte> buffer(fs::kMaxDiskRun);
  for (std::uint64_t at = 0; at < size;) {
    const auto extent = next_extent(from, at, size, name);
    if (!extent) return fail(extent.error());
    for (at = extent->begin; at < extent->end;) {
      const MutableByteSpan part =
          MutableByteSpan{buffer}.first(std::min<std::uint64_t>(buffer.size(), extent->end - at));
      const auto read = system_io().read_at(from, part, at);
      if (!read) return fail(read.error(), name);
      if (*read != part.size())
        return fail(Errc::invalid_argument,
                    name + " became shorter while it was read: import it while nobody writes it");
      if (auto written = stream->write(at, part); !written) return written;
      at += part.size();
    }
  }
  return stream->finish();
}

Result<void> receive_disk(int from, int to, bool sparse, const std::string& name) {
  PipeInput in{from};
  PipeOutput out{to};
  auto stream = fs::DiskStreamReader::begin(in);
  if (!stream) return fail(stream.error());
  for (std::uint64_t at = 0;;) {
    const auto run = stream->next();
    if (!run) return fail(run.error());
    const std::uint64_t next = *run ? (*run)->offset : stream->size();
    if (!sparse) {
      if (auto written = write_zeros(out, next - at); !written) return fail(written.error(), name);
    }
    if (!*run) break;
    auto written = sparse ? system_io().write_at(to, (*run)->bytes, next) : out.write((*run)->bytes);
    if (!written) return fail(written.error(), name);
    at = next + (*run)->bytes.size();
  }
  if (sparse && ::ftruncate(to, static_cast<off_t>(stream->size())) != 0) return fail_errno(name);
  return {};
}

}  // namespace stellarium::cli
