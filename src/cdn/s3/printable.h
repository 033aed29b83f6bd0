#pragma once
#include <string>
#include <string_view>

namespace stellarium::cdn::s3 {

/// What a server sent, for an error's one line: at most 200 characters, of which those that are no printable ASCII are
/// '?'.
std::string printable(std::string_view text);

}  // namespace stellarium::cdn::s3
