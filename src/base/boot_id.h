#pragma once
#include <string>

#include "base/io.h"

namespace stellarium {

/// Another one each time the host starts (random(4)): what says that nothing was lost with the page cache since.
/// Empty if /proc is not mounted: then no boot can be recognized.
std::string boot_id(Io& io);

}  // namespace stellarium
