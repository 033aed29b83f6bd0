#include "tools/cli/doctor_checks.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "fs/project_quotas.h"
#include "tools/cli/connection.h"
#include "tools/cli/kernel_features.h"
#include "tools/cli/store_location.h"
#include "tools/protocol/build_info.h"
#include "tools/text/units.h"

namespace stellarium::cli {
namespace {

using State = Finding::State;

constexpr std::uint64_t kLittleSpace = 1u << 30;
constexpr rlim_t kFewDescriptors = 65536;
constexpr double kDaemonPatience = 2;  // seconds
constexpr unsigned kCapSysAdmin = 21;

std::string first_line(const std::filesystem::path& file) {
  std::ifstream in{file};
  std::string line;
  std::getline(in, line);
  return line;
}

bool has_capability(unsigned capability) {
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("CapEff:")) return (std::strtoull(line.c_str() + 7, nullptr, 16) >> capability & 1) != 0;
  }
  return false;
}

/// A time-out by which the kernel aborts connections whose server is slow, or just being restarted.
void check_request_timeout(std::vector<Finding>& out, const char* name) {
  const std::string value = first_line(std::filesystem::path{"/proc/sys/fs/fuse"} / name);
  if (value.empty() || value == "0") return;
  out.push_back(
      {"fuse limits", State::bad,
       fmt::format("fs.fuse.{} is {} s: the kernel aborts mounts whose server restarts slower than that", name, value),
       fmt::format("sysctl fs.fuse.{}=0", name)});
}

std::string file_system_of(const struct statfs& info) {
  switch (static_cast<unsigned long>(info.f_type)) {
    case EXT4_SUPER_MAGIC:
      return "ext4";
    case XFS_SUPER_MAGIC:
      return "xfs";
    case BTRFS_SUPER_MAGIC:
      return "btrfs";
    case TMPFS_MAGIC:
      return "tmpfs";
    case OVERLAYFS_SUPER_MAGIC:
      return "overlayfs";
    case FUSE_SUPER_MAGIC:
      return "fuse";
    case NFS_SUPER_MAGIC:
      return "nfs";
    default:
      return fmt::format("type {:#x}", static_cast<unsigned long>(info.f_type));
  }
}

/// What the server says of itself; an older one says nothing.
std::optional<Finding> check_sandbox(const Connection& connection) {
  std::string answer;
  Handlers handlers;
  handlers.capture_output = &answer;
  if (!connection.request({"--json", "daemon", "status"}, false) || follow(connection, {}, handlers) != 0)
    return std::nullopt;
  const auto status = nlohmann::json::parse(answer, nullptr, false);
  if (!status.is_object() || !status.contains("sandbox")) return std::nullopt;
  const auto in_words = [&](const char* which, const char* between) {
    std::string text;
    for (const auto& part : status["sandbox"].value(which, std::vector<std::string>{}))
      text += (text.empty() ? "" : between) + part;
    return text;
  };
  const std::string in_force = in_words("in_force", ", "), missing = in_words("missing", "; ");
  return Finding{"sandbox", missing.empty() ? State::good : State::limited,
                 in_force.empty() ? "the server may do all that its user may" : in_force,
                 missing.empty() ? "" : "without " + missing + " (docs/sandbox.md)"};
}

}  // namespace

std::vector<Finding> check_kernel() {
  std::vector<Finding> out;
  const std::string release = kernel_release();
  const KernelFeatures features = features_of_release(release);
  const auto feature = [&](bool present, const char* what, const char* good, const char* loss, const char* advice) {
    out.push_back({what, present ? State::good : State::limited, present ? good : loss, present ? "" : advice});
  };
  out.push_back({"kernel", State::good, release, ""});
  feature(features.passthrough, "passthrough", "files are read at the speed of the file system below (Linux 6.9)",
          "this kernel cannot pass reads through: every file is read through the server", "Linux 6.9 or later");
  feature(features.resend, "restart", "a killed server's requests are answered by the next one (Linux 6.9)",
          "after kill -9 of the server, requests that it had read are lost and their callers hang",
          "Linux 6.9 or later; stop the server with 'daemon restart' only");
  feature(features.idmapped_mounts, "idmapped", "idmapped mounts work (systemd-nspawn -U; Linux 6.12)",
          "no idmapped mounts: systemd-nspawn -U has to shift owners itself", "Linux 6.12 or later");
  check_request_timeout(out, "default_request_timeout");
  check_request_timeout(out, "max_request_timeout");
  if (const std::string limit = first_line("/sys/module/fuse/parameters/max_user_bgreq"); !limit.empty()) {
    out.push_back({"fuse limits", State::good, "at most " + limit + " background requests for users' mounts", ""});
  }
  return out;
}

std::vector<Finding> check_permissions() {
  std::vector<Finding> out;
  // Opening the device makes no mount and no connection.
  const UniqueFd device{::open("/dev/fuse", O_RDWR | O_CLOEXEC)};
  if (device) {
    out.push_back({"/dev/fuse", State::good, "can be opened", ""});
  } else if (errno == ENOENT) {
    out.push_back({"/dev/fuse", State::bad, "is missing", "modprobe fuse, or pass the device into this container"});
  } else {
    out.push_back({"/dev/fuse", State::bad, "cannot be opened by this user", "ask for rw permission on /dev/fuse"});
  }
  if (::geteuid() != 0 && ::access("/usr/bin/fusermount3", X_OK) != 0 && ::access("/bin/fusermount3", X_OK) != 0) {
    out.push_back(
        {"mounting", State::bad, "users mount through fusermount3, which is not installed", "apt install fuse3"});
  }
  if (has_capability(kCapSysAdmin)) {
    out.push_back({"privilege", State::good,
                   "CAP_SYS_ADMIN: passthrough and the private read-only mount of hot files are possible", ""});
  } else {
    out.push_back({"privilege", State::limited, "without CAP_SYS_ADMIN every file is read through the server",
                   "run the daemon as root for full speed"});
  }
  const bool may_limit = ::access("/dev/cpu_dma_latency", W_OK) == 0;
  out.push_back({"wake-up latency", may_limit ? State::good : State::limited,
                 may_limit ? "processors can be kept awake during a stream of requests"
                           : "/dev/cpu_dma_latency cannot be written: each request waits for a processor to wake up",
                 may_limit ? "" : "run the daemon as root for full speed"});
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    const bool enough = files.rlim_max >= kFewDescriptors;
    out.push_back(
        {"descriptors", enough ? State::good : State::limited,
         fmt::format("at most {} open files a process", files.rlim_max),
         enough ? "" : fmt::format("raise the hard limit to {} or more (ulimit -Hn, LimitNOFILE=)", kFewDescriptors)});
  }
  return out;
}

std::vector<Finding> check_store(const std::filesystem::path& store) {
  std::vector<Finding> out;
  const auto state = examine_store(store);
  if (!state) return {{"store", State::bad, to_string(state.error()), ""}};
  if (*state == StoreState::absent) {
    out.push_back({"store", State::limited, "there is none at " + store.string(), "'stellarium import' makes one"});
    return out;
  }
  struct stat status {};
  struct statfs info {};
  if (::stat(store.c_str(), &status) != 0 || ::statfs(store.c_str(), &info) != 0) {
    return {{"store", State::bad, store.string() + " cannot be looked at", "check its permissions"}};
  }
  const bool closed = (status.st_mode & 077) == 0;
  out.push_back({"store", closed ? State::good : State::bad,
                 fmt::format("{}, owner {}, mode {:o}", store.string(), status.st_uid, status.st_mode & 07777),
                 closed ? "" : "chmod 700: whoever may read segments and hot files reads every image"});
  const std::string type = file_system_of(info);
  if (type == "overlayfs" || type == "fuse") {
    out.push_back({"file system", type == "fuse" ? State::bad : State::limited,
                   "the store is on " + type + ", below which the kernel passes nothing through",
                   "move the store to ext4, xfs or btrfs"});
  } else {
    out.push_back({"file system", State::good, type, ""});
  }
  const bool projects = fs::ProjectQuotas::of(store) != nullptr;
  out.push_back(
      {"quotas", projects ? State::good : State::limited,
       projects ? "project quotas: clones with a quota are written at full speed"
                : "no project quotas are enforced here: what clones with a quota write comes through the daemon",
       projects ? "" : "ext4: tune2fs -O quota,project -Q prjquota, and mount with prjquota; XFS: mount with pquota"});
  struct stat ballast {};
  if (::stat((store / "ballast").c_str(), &ballast) == 0 && ballast.st_size != 0) {
    const bool held = ballast.st_blocks * 512 >= ballast.st_size;
    out.push_back({"ballast", held ? State::good : State::limited,
                   held ? text::format_bytes(static_cast<std::uint64_t>(ballast.st_size)) + " held for a full disk"
                        : "given up, because the disk was full or cannot be allocated ahead",
                   held ? "" : "free some space: it is taken back by itself"});
  }
  const auto free_bytes = static_cast<std::uint64_t>(info.f_bavail) * static_cast<std::uint64_t>(info.f_bsize);
  const bool enough = free_bytes >= kLittleSpace;
  out.push_back({"space", enough ? State::good : State::limited, text::format_bytes(free_bytes) + " free",
                 enough ? "" : "free some: 'stellarium gc', 'stellarium tier evict'"});
  return out;
}

std::vector<Finding> check_daemon(const std::filesystem::path& store) {
  auto connection = Connection::open(store, Start::never, true, kDaemonPatience);
  if (!connection && connection.error().code == Errc::not_found)
    return {{"daemon", State::good, "not running: the first command starts it", ""}};
  if (!connection) return {{"daemon", State::bad, to_string(connection.error()), "see run/server.log in the store"}};
  const auto& server = connection->server();
  const bool same = server.build == protocol::build_id();
  std::vector<Finding> out{
      {"daemon", same ? State::good : State::limited,
       fmt::format("answers, pid {}, build {}", server.server_pid, server.build),
       same ? "" : "'stellarium daemon upgrade' replaces it with build " + std::string{protocol::build_id()}}};
  if (auto sandbox = check_sandbox(*connection)) out.push_back(std::move(*sandbox));
  return out;
}

}  // namespace stellarium::cli
