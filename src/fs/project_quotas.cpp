#include "fs/project_quotas.h"

#include <fcntl.h>
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace stellarium::fs {
namespace {

constexpr int kProjects = 2;  // PRJQUOTA, which libc's header does not have
constexpr std::uint64_t kUnit = 1024;
constexpr int kNumbersTried = 16;
// Numbers that people give are small.
constexpr std::uint32_t kFirst = 1u << 30, kMask = kFirst - 1;

unsigned command(unsigned what) {
  return what << SUBCMDSHIFT | kProjects;
}

int quotactl_of(int dir, unsigned what, std::uint32_t id, void* data) {
  return static_cast<int>(::syscall(SYS_quotactl_fd, dir, command(what), id, data));
}

}  // namespace

std::unique_ptr<ProjectQuotas> ProjectQuotas::of(const std::filesystem::path& dir) {
  UniqueFd fd{::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!fd) return nullptr;
  fs_quota_statv state{};
  state.qs_version = FS_QSTATV_VERSION1;
  if (quotactl_of(fd.get(), Q_XGETQSTATV, 0, &state) != 0 || (state.qs_flags & FS_QUOTA_PDQ_ENFD) == 0) return nullptr;
  std::unique_ptr<ProjectQuotas> quotas{new ProjectQuotas{std::move(fd)}};
  return quotas->usage(0) ? std::move(quotas) : nullptr;
}

Result<std::uint32_t> ProjectQuotas::find_free() const {
  for (int tried = 0; tried < kNumbersTried; ++tried) {
    std::uint32_t number = 0;
    if (::getrandom(&number, sizeof number, 0) != static_cast<ssize_t>(sizeof number)) return fail_errno("getrandom");
    number = kFirst | (number & kMask);
    const auto used = usage(number);
    if (!used) return fail(used.error());
    if (used->files == 0 && used->limit == 0) return number;
  }
  return fail(Errc::busy, "no free project number was found");
}

Result<void> ProjectQuotas::label(int fd, std::uint32_t project) const {
  fsxattr attributes{};
  if (::ioctl(fd, FS_IOC_FSGETXATTR, &attributes) != 0) return fail_errno("project of a staged file");
  if (attributes.fsx_projid == project) return {};
  attributes.fsx_projid = project;
  if (::ioctl(fd, FS_IOC_FSSETXATTR, &attributes) != 0) return fail_errno("project of a staged file");
  return {};
}

Result<std::uint32_t> ProjectQuotas::label_of(int fd) const {
  fsxattr attributes{};
  if (::ioctl(fd, FS_IOC_FSGETXATTR, &attributes) != 0) return fail_errno("project of a staged file");
  return attributes.fsx_projid;
}

Result<void> ProjectQuotas::limit(std::uint32_t project, std::uint64_t bytes) const {
  if_dqblk block{};
  block.dqb_bhardlimit = bytes == 0 ? 0 : std::max<std::uint64_t>(bytes / kUnit, 1);
  block.dqb_valid = QIF_BLIMITS;
  if (quotactl_of(dir_.get(), Q_SETQUOTA, project, &block) != 0) return fail_errno("limit of a project");
  return {};
}

Result<ProjectQuotas::Usage> ProjectQuotas::usage(std::uint32_t project) const {
  if_dqblk block{};
  if (quotactl_of(dir_.get(), Q_GETQUOTA, project, &block) != 0) {
    if (errno == ENOENT) return Usage{};
    return fail_errno("usage of a project");
  }
  return Usage{block.dqb_curspace, block.dqb_curinodes, block.dqb_bhardlimit * kUnit};
}

}  // namespace stellarium::fs
