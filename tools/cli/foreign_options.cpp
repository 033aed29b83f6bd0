#include "tools/cli/foreign_options.h"

#include <algorithm>
#include <array>

namespace stellarium::cli {
namespace {

constexpr std::string_view kIds = "owners are stored as the guest gives them";
constexpr std::string_view kNames = "extended attributes are stored under the guest's names";
constexpr std::string_view kMigration = "a machine with this device cannot be migrated";

// What is not refused is how others share a folder of the host (caches, handles, submounts, privileges); here a guest
// has the store's own tree for itself, and the server touches no file that it names.
constexpr auto kKnown = std::to_array<ForeignOption>({
    {"allow-direct-io"},
    {"allow-mmap"},
    {"announce-submounts"},
    {"cache", true},
    {"debug"},
    {"flock"},
    {"foreground"},
    {"gid-map", true, kIds},
    {"inode-file-handles", true},
    {"killpriv-v2"},
    {"log-level", true},
    {"migration-confirm-paths", false, kMigration},
    {"migration-mode", true, kMigration},
    {"migration-on-error", true, kMigration},
    {"migration-verify-handles", false, kMigration},
    {"modcaps", true},
    {"no-announce-submounts"},
    {"no-killpriv-v2"},
    {"no-readdirplus"},
    {"norace"},
    {"posix-acl"},
    {"posix-lock"},
    {"preserve-noatime"},
    {"readdirplus"},
    {"rlimit-nofile", true},
    {"sandbox", true},
    {"seccomp", true},
    {"security-label", false, "a new file gets its security label after it was made"},
    {"syslog"},
    {"thread-pool-size", true},
    {"timeout", true},
    {"translate-gid", true, kIds},
    {"translate-uid", true, kIds},
    {"uid-map", true, kIds},
    {"writeback"},
    {"xattr"},
    {"xattrmap", true, kNames},
});

const ForeignOption* find_foreign(std::string_view name) {
  const auto found = std::ranges::lower_bound(kKnown, name, {}, &ForeignOption::name);
  return found != kKnown.end() && found->name == name ? &*found : nullptr;
}

Result<void> read_one(const ForeignOption& option, const std::string& given, ForeignMeaning& meaning) {
  if (!option.refusal.empty()) return fail(Errc::not_supported, given + " cannot be: " + std::string{option.refusal});
  meaning.ignored.push_back(given);
  return {};
}

Result<void> read_list(std::string_view list, ForeignMeaning& meaning) {
  while (!list.empty()) {
    const std::string_view one = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), one.size() + 1));
    std::string name{one.substr(0, one.find('='))};
    std::ranges::replace(name, '_', '-');
    const std::string given = "-o " + std::string{one};
    if (name == "source") {
      meaning.shared_dir = one.size() > name.size() ? one.substr(name.size() + 1) : "";
      continue;
    }
    const bool is_off = name.starts_with("no-");
    const ForeignOption* const option = find_foreign(is_off ? name.substr(3) : name);
    if (option == nullptr) return fail(Errc::invalid_argument, given + " is not known");
    if (is_off) {
      meaning.ignored.push_back(given);  // which is how it is
    } else if (auto read = read_one(*option, given, meaning); !read) {
      return read;
    }
  }
  return {};
}

}  // namespace

std::span<const ForeignOption> foreign_options() {
  return kKnown;
}

Result<ForeignMeaning> read_foreign(const std::vector<std::string>& given) {
  ForeignMeaning meaning;
  for (const std::string& each : given) {
    const std::string name = each.substr(0, each.find('='));
    if (name == "o") {
      if (auto read = read_list(std::string_view{each}.substr(2), meaning); !read) return fail(read.error());
    } else if (const ForeignOption* const option = find_foreign(name)) {
      if (auto read = read_one(*option, "--" + each, meaning); !read) return fail(read.error());
    } else {
      return fail(Errc::invalid_argument, "--" + each + " is not known");
    }
  }
  return meaning;
}

}  // namespace stellarium::cli
