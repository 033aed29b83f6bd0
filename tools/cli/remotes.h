#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cdn/name_record.h"
#include "cdn/signing_key.h"
#include "tools/cli/remote_name.h"
#include "tools/transport/remote_access.h"

namespace stellarium::cli {

/// A remote as the user described it.
struct Remote {
  std::string name;
  transport::RemoteAccess access;
  std::string repository;            ///< empty: any
  std::vector<cdn::PublicKey> keys;  ///< who may sign names there
};

/// The user's remotes, keys, and what names were seen to stand for: files of the command's own, which the server, who
/// listens to guests, never sees. $STELLARIUM_CONFIG, else /etc/stellarium for root and $XDG_CONFIG_HOME/stellarium for
/// others.
///
/// Files:   remotes.d/NAME.json; seen/ID.json and its lock; default.key. Each is replaced as a whole.
/// Errors:  not_found, exists, invalid_argument (a name), corrupt (a file, with its path), permission, io.
class Remotes {
 public:
  static Remotes of_user();
  explicit Remotes(std::filesystem::path folder) : folder_{std::move(folder)} {}

  [[nodiscard]] Result<std::optional<Remote>> find(const std::string& name) const;
  [[nodiscard]] Result<std::vector<Remote>> list() const;  ///< by name
  [[nodiscard]] Result<void> save(const Remote& remote) const;
  [[nodiscard]] Result<void> remove(const std::string& name) const;

  /// What `name` was seen to stand for at the remote whose preferred address is `base`.
  [[nodiscard]] Result<cdn::SeenName> seen(const std::string& base, const std::string& name) const;
  /// Whatever is older than what was seen before changes nothing.
  [[nodiscard]] Result<void> remember(const std::string& base, const std::string& name, const cdn::SeenName& now) const;

  std::filesystem::path default_key() const { return folder_ / "default.key"; }
  /// The key in `file`, made if it is the default one and there is none.
  [[nodiscard]] Result<cdn::SigningKey> key(const std::string& file) const;

 private:
  std::filesystem::path folder_;
};

}  // namespace stellarium::cli
