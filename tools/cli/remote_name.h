#pragma once
#include <string_view>

#include "cdn/name_record.h"

namespace stellarium::cli {

/// 1 … 64 bytes of [A-Za-z0-9._-], the first one a letter or a digit.
inline bool is_remote_name(std::string_view name) {
  return name.size() <= 64 && cdn::is_repository(name);
}

}  // namespace stellarium::cli
