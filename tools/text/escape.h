#pragma once
#include <string>
#include <string_view>

namespace stellarium::text {

/// `bytes` as people may safely see them: printable UTF-8 stays, everything else becomes \n, \t, \\ or \xNN. What comes
/// out holds no control character, so a file name cannot drive the terminal or fake a second line of a listing.
std::string escape(std::string_view bytes);

/// Whether `bytes` are well-formed UTF-8 (RFC 3629), and so can stand in JSON as they are.
bool is_utf8(std::string_view bytes);

}  // namespace stellarium::text
