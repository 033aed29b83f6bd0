#include "tier/scrub.h"

#include "base/log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <optional>
#include <vector>

namespace stellarium::tier {
namespace {

constexpr std::size_t kBuffer = 256u << 10;

// What is wrong with the file, or nothing; cancelled if `proceed` says so.
Result<std::optional<std::string>> damage_of(const ContentRef& file, int fd,
                                             const std::function<bool(std::uint64_t)>& proceed) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return fail_errno("hot file " + file.id.hex());
  std::vector<std::byte> buffer(kBuffer);
  cas::Hasher hasher;
  std::uint64_t at = 0;
  for (;;) {
    const ssize_t n = ::pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return "cannot be read at " + std::to_string(at) + " (" + to_string(fail_errno("pread").value()) + ")";
    if (n == 0) break;
    hasher.update(ByteSpan{buffer}.first(static_cast<std::size_t>(n)));
    at += static_cast<std::uint64_t>(n);
    if (!proceed(static_cast<std::uint64_t>(n))) return fail(Errc::cancelled, "scrub was stopped");
  }
  if (const cas::Hash found = hasher.finish(); found != file.id) {
    return "expected its own id, found " + found.hex() + " in " + std::to_string(at) + " bytes";
  }
  return std::nullopt;
}

}  // namespace

Result<Tier::ScrubReport> scrub_hot_files(HotStore& hot, const cas::ContentStore::Progress& progress) {
  const std::vector<ContentRef> files = hot.all();
  std::uint64_t total = 0;
  for (const auto& file : files) total += file.size;
  Tier::ScrubReport report;
  const auto proceed = [&](std::uint64_t bytes) {
    report.bytes += bytes;
    return !progress || progress(report.bytes, std::max(total, report.bytes));
  };
  for (const auto& file : files) {
    const auto inspected = hot.inspect(file.id);
    if (!inspected) continue;  // evicted since
    if (!inspected->in_use) ::posix_fadvise(inspected->fd.get(), 0, 0, POSIX_FADV_DONTNEED);
    const Result<std::optional<std::string>> damage = damage_of(file, inspected->fd.get(), proceed);
    if (!inspected->in_use) ::posix_fadvise(inspected->fd.get(), 0, 0, POSIX_FADV_DONTNEED);
    if (!damage) return fail(damage.error());
    ++report.files;
    if (!*damage) continue;
    std::string line = "hot file " + file.id.hex() + ": " + **damage;
    hot.drop(file.id);
    if (!hot.release(file.id) || inspected->in_use)
      line += "; still open, its readers keep the damaged bytes until they close it";
    log::error("{}", line);
    report.damaged.push_back(std::move(line));
  }
  return report;
}

}  // namespace stellarium::tier
