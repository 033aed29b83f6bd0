#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace stellarium::cdn::oci {

/// Where the members of an uncompressed tar lie in its file, so that they can be read in another order than theirs.
///
/// Only what archives of images hold is understood: plain files, folders, links to other members, short names or those
/// of pax and GNU tar. Memory: about 200 bytes a member, 65,536 of them at most. Threads: reading may be concurrent.
class ArchiveIndex {
 public:
  struct Member {
    std::uint64_t offset = 0, size = 0;
  };
  /// Whether a member of this name can be in the archive; the first one that cannot ends the search.
  using Expected = std::function<bool(std::string_view name)>;

  /// Nothing if the file is no such archive: not a tar, or with a member that was not expected.
  /// Errors: invalid_argument (cut off, too many members), io.
  static Result<std::optional<ArchiveIndex>> read(int file, const Expected& expected);

  /// The last member of that name, links followed.
  std::optional<Member> find(std::string_view name) const;

 private:
  std::map<std::string, Member, std::less<>> members_;
  std::map<std::string, std::string, std::less<>> links_;  // name → name
};

}  // namespace stellarium::cdn::oci
