#pragma once
#include <span>

namespace stellarium::server::sandbox {

/// By name, as libseccomp knows them. Those that are looked at more closely (ioctl, mmap, clone, …) are in neither list
/// but in system_call_filter.cpp.
std::span<const char* const> allowed_calls();
/// What no innocent part of the server ever calls, whatever library version it runs with: whoever does has taken it
/// over.
std::span<const char* const> deadly_calls();

}  // namespace stellarium::server::sandbox
