#pragma once
#include <optional>
#include <string>

#include "base/result.h"
#include "cas/hash.h"
#include "tools/cli/remotes.h"

namespace stellarium::cli {

/// A remote and an image there, as `pull` takes them: BASE/NAME[:TAG] or BASE@MANIFEST.
struct RemoteSource {
  Remote remote;     ///< one of the user's; or, without a name, one that consists of BASE and `access`
  std::string name;  ///< NAME:TAG; empty if the manifest is given
  std::optional<cas::Hash> manifest;
};
/// Errors: invalid_argument, not_found (no such remote).
[[nodiscard]] Result<RemoteSource> parse_source(const std::string& text, const transport::RemoteAccess& access,
                                                const Remotes& remotes);

/// The same of `publish`: a remote's name, or where it is.
[[nodiscard]] Result<Remote> parse_target(const std::string& text, const transport::RemoteAccess& access,
                                          const Remotes& remotes);

/// Where the record of NAME:TAG lies. Errors: invalid_argument (no such name).
[[nodiscard]] Result<std::string> record_path(const std::string& name);
/// NAME[:TAG] with its tag.
[[nodiscard]] Result<std::string> full_name(const std::string& name);

}  // namespace stellarium::cli
