#include "base/host_journal.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "base/mount_table.h"

namespace stellarium {
namespace {

// Neither the mount table nor statfs tells whether an ext4 has a journal, but the number of its journal's thread does.
bool has_journal_thread(const std::string& device) {
  std::error_code error;
  const auto block = std::filesystem::read_symlink("/sys/dev/block/" + device, error);
  if (error) return false;
  std::ifstream task{"/sys/fs/ext4/" + block.filename().string() + "/journal_task"};
  unsigned thread = 0;
  return task >> thread && thread != 0;  // without a journal it reads "<none>"
}

}  // namespace

bool has_ordered_journal(dev_t device) {
  const auto mounted = mount_of(device);
  if (!mounted) return false;
  if (mounted->type == "xfs") return true;
  return mounted->type == "ext4" && has_journal_thread(mounted->device);
}

}  // namespace stellarium
