#include "fs/fuse/host_processes.h"

#include <fcntl.h>

#include "base/io.h"

namespace stellarium::fs::fuse {
namespace {

class ProcessesInProc final : public HostProcesses {
 public:
  std::string read(std::uint32_t thread, File file) const override {
    const auto opened =
        system_io().open(AT_FDCWD, "/proc/" + std::to_string(thread) + "/" + name_of(file), O_RDONLY, 0);
    if (!opened) return {};
    std::string text(kMaxText, '\0');
    const auto size = system_io().read_at(opened->get(), std::as_writable_bytes(std::span{text}), 0);
    text.resize(size.value_or(0));
    return text;
  }
};

}  // namespace

const char* name_of(HostProcesses::File file) {
  switch (file) {
    case HostProcesses::File::status:
      return "status";
    case HostProcesses::File::gid_map:
      return "gid_map";
  }
  return "";
}

const HostProcesses& processes_in_proc() {
  static const ProcessesInProc processes;  // has no state
  return processes;
}

}  // namespace stellarium::fs::fuse
