#include "tools/server/sandbox/landlock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

#include "base/unique_fd.h"
#include "tools/server/sandbox/places.h"

namespace stellarium::server::sandbox {
namespace {

// The kernel's interface as of version 6: Debian 12's <linux/landlock.h> ends with version 2.
struct RulesetAttributes {
  std::uint64_t files, network, scoped;
};
struct [[gnu::packed]] PathRule {
  std::uint64_t allowed;
  std::int32_t parent;
};
constexpr int kPathBeneath = 1;
constexpr unsigned kAskVersion = 1;

constexpr std::uint64_t bits(unsigned first, unsigned last) {
  return (std::uint64_t{2} << last) - (std::uint64_t{1} << first);
}
// By number: 0 execute, 1 write, 2 read, 3 list, 4 remove folder, 5 remove file, 6 device, 7 folder, 8 file, 9 socket,
// 10 FIFO, 11 block device, 12 symlink, 13 refer (version 2), 14 truncate (3), 15 ioctl of devices (5).
constexpr std::uint64_t kExecute = bits(0, 0), kWrite = bits(1, 1), kRead = bits(2, 3), kTruncate = bits(14, 14);
constexpr std::uint64_t kStore = kExecute | kWrite | kRead | bits(4, 5) | bits(7, 8) | bits(13, 13) | kTruncate;
constexpr std::uint64_t kOfFiles = kExecute | kWrite | bits(2, 2) | kTruncate;

constexpr int kRefer = 2, kTruncateSince = 3, kNetwork = 4, kIoctl = 5, kScopes = 6;

std::uint64_t known_rights(int version) {
  return bits(0, version >= kIoctl ? 15 : version >= kTruncateSince ? 14 : 13);
}

std::size_t size_of_attributes(int version) {
  if (version >= kScopes) return sizeof(RulesetAttributes);
  return version >= kNetwork ? 2 * sizeof(std::uint64_t) : sizeof(std::uint64_t);
}

Result<void> allow(int ruleset, const std::filesystem::path& path, std::uint64_t rights) {
  const UniqueFd parent{::open(path.c_str(), O_PATH | O_CLOEXEC)};
  struct stat status {};
  if (!parent || ::fstat(parent.get(), &status) != 0) return fail_errno(path.string());
  if (!S_ISDIR(status.st_mode)) rights &= kOfFiles;
  const PathRule rule{rights, parent.get()};
  if (::syscall(SYS_landlock_add_rule, ruleset, kPathBeneath, &rule, 0) != 0)
    return fail_errno("a Landlock rule for " + path.string());
  return {};
}

Result<void> allow_if_there(int ruleset, const std::filesystem::path& path, std::uint64_t rights) {
  auto allowed = allow(ruleset, path, rights);
  return !allowed && allowed.error().code == Errc::not_found ? Result<void>{} : allowed;
}

}  // namespace

Result<int> restrict_files(const std::filesystem::path& store) {
  const auto version = static_cast<int>(::syscall(SYS_landlock_create_ruleset, nullptr, 0, kAskVersion));
  if (version < kRefer) return fail(Errc::not_supported, "this kernel has no Landlock, or only its first version");
  const std::uint64_t known = known_rights(version);
  const RulesetAttributes attributes{known, bits(0, 1), bits(0, 1)};
  const UniqueFd ruleset{
      static_cast<int>(::syscall(SYS_landlock_create_ruleset, &attributes, size_of_attributes(version), 0))};
  if (!ruleset) return fail_errno("making a Landlock ruleset");
  if (auto allowed = allow(ruleset.get(), store, kStore & known); !allowed) return fail(allowed.error());
  for (const std::filesystem::path& folder : moved_folders(store)) {
    if (auto allowed = allow(ruleset.get(), folder, kStore & known); !allowed) return fail(allowed.error());
  }
  for (const char* const folder : kBackingFolders) {
    if (auto allowed = allow_if_there(ruleset.get(), store / folder, kStore & known); !allowed)
      return fail(allowed.error());
  }
  for (const Place& place : kPlaces) {
    const std::uint64_t rights = place.use == Place::Use::read ? kRead : kWrite;
    if (auto allowed = allow_if_there(ruleset.get(), place.path, rights); !allowed) return fail(allowed.error());
  }
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) return fail_errno("entering a Landlock ruleset");
  return version;
}

}  // namespace stellarium::server::sandbox
