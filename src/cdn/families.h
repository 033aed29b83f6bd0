#pragma once
#include <array>

#include "cas/database.h"

namespace stellarium::cdn {

/// Layer object's content id 32 → lazy_record.h: images of which not everything is in the store yet.
inline constexpr cas::Family kLazyFamily{"lazy"};

inline constexpr std::array kFamilies{&kLazyFamily};

}  // namespace stellarium::cdn
