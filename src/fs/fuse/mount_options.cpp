#include "fs/fuse/mount_options.h"

#include <sys/mount.h>

#include <algorithm>
#include <array>

namespace stellarium::fs::fuse {
namespace {

struct Flag {
  std::string_view name;
  unsigned long set, clear;
};
constexpr unsigned long kTimes = MS_NOATIME | MS_RELATIME | MS_STRICTATIME;
constexpr unsigned long kUntrusted = MS_NOSUID | MS_NODEV;
constexpr std::array kFlags{Flag{"nosuid", MS_NOSUID, 0},
                            Flag{"suid", 0, MS_NOSUID},
                            Flag{"nodev", MS_NODEV, 0},
                            Flag{"dev", 0, MS_NODEV},
                            Flag{"noexec", MS_NOEXEC, 0},
                            Flag{"exec", 0, MS_NOEXEC},
                            Flag{"noatime", MS_NOATIME, kTimes},
                            Flag{"atime", 0, kTimes},
                            Flag{"relatime", MS_RELATIME, kTimes},
                            Flag{"norelatime", 0, MS_RELATIME},
                            Flag{"strictatime", MS_STRICTATIME, kTimes},
                            Flag{"nostrictatime", 0, MS_STRICTATIME},
                            Flag{"nodiratime", MS_NODIRATIME, 0},
                            Flag{"diratime", 0, MS_NODIRATIME},
                            Flag{"sync", MS_SYNCHRONOUS, 0},
                            Flag{"async", 0, MS_SYNCHRONOUS},
                            Flag{"dirsync", MS_DIRSYNC, 0},
                            Flag{"silent", MS_SILENT, 0},
                            Flag{"loud", 0, MS_SILENT},
                            Flag{"user", kUntrusted | MS_NOEXEC, 0},
                            Flag{"users", kUntrusted | MS_NOEXEC, 0},
                            Flag{"owner", kUntrusted, 0},
                            Flag{"group", kUntrusted, 0}};
constexpr std::array<std::string_view, 4> kTakenByFusermount{"nosuid", "nodev", "noexec", "noatime"};

/// When, by whom and after what something is mounted: that was decided before we are called.
constexpr std::array<std::string_view, 11> kOfOthers{"defaults", "auto",    "noauto",  "nofail", "_netdev", "nouser",
                                                     "nousers",  "noowner", "nogroup", "nomtab", "mtab"};
constexpr std::array<std::string_view, 5> kPrefixesOfOthers{"x-", "X-", "comment=", "helper=", "uhelper="};

bool is_of_others(std::string_view word) {
  return std::ranges::find(kOfOthers, word) != kOfOthers.end() ||
         std::ranges::any_of(kPrefixesOfOthers, [&](std::string_view prefix) { return word.starts_with(prefix); });
}

const Flag* flag_of(std::string_view word) {
  if (word.starts_with("user=")) word = "user";  // with the name of who mounted it
  const auto found = std::ranges::find(kFlags, word, &Flag::name);
  return found == kFlags.end() ? nullptr : &*found;
}

Result<void> apply(std::string_view word, MountOptions& options) {
  constexpr std::string_view kSource = "source=";
  if (word.empty() || is_of_others(word)) return {};
  if (word == "ro" || word == "rw") {
    options.read_only = word == "ro";
  } else if (word == "allow_other") {
    options.allow_other = true;
  } else if (word.starts_with(kSource)) {
    options.source = word.substr(kSource.size());
  } else if (const Flag* flag = flag_of(word)) {
    options.flags = (options.flags & ~flag->clear) | flag->set;
  } else if (word == "remount") {
    return fail(Errc::invalid_argument, "'remount' is not possible: unmount it and mount it anew");
  } else {
    return fail(Errc::invalid_argument, "unknown mount option '" + std::string{word} + "'");
  }
  return {};
}

}  // namespace

Result<MountOptions> parse_mount_options(std::string_view given, MountOptions options) {
  while (!given.empty()) {
    const std::size_t end = std::min(given.find(','), given.size());
    if (auto applied = apply(given.substr(0, end), options); !applied) return fail(applied.error());
    given.remove_prefix(std::min(end + 1, given.size()));
  }
  return options;
}

std::string flags_for_fusermount(unsigned long flags) {
  std::string words;
  for (const std::string_view name : kTakenByFusermount)
    if ((flags & flag_of(name)->set) != 0) words.append(",").append(name);
  return words;
}

}  // namespace stellarium::fs::fuse
