#pragma once
#include <string_view>

namespace stellarium::protocol {

/// What a folder without the file `format` may hold and still become a store: the run folder of the daemon that is just
/// starting, the beginning of an attempt that a power cut ended, and what ext4 puts into a new file system.
constexpr bool may_precede_store(std::string_view name) {
  return name == "run" || name == "format.new" || name == "lost+found";
}

}  // namespace stellarium::protocol
