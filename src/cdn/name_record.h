#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cas/hash.h"
#include "cdn/signing_key.h"

namespace stellarium::cdn {

/// What a published name stands for: `names/NAME/TAG`, signed (docs/formats/name-record.md). The only thing of a remote
/// that changes, and the only one that somebody has to be trusted for.
struct NameRecord {
  std::string repository;  ///< where the name counts: a record of one repository says nothing in another
  std::string name;        ///< NAME:TAG
  cas::Hash manifest;
  std::uint64_t revision = 1;   ///< grows; a reader takes no older one than it has seen
  std::int64_t not_before = 0;  ///< seconds since 1970
  std::int64_t expires = 0;     ///< the same; 0: never
  PublicKey key;
  bool operator==(const NameRecord&) const = default;
};

inline constexpr std::size_t kMaxNameRecord = 2048;              ///< bytes
inline constexpr std::uint64_t kMaxRevision = (1ull << 63) - 1;  ///< what JSON, where readers keep it, has room for

/// 1 … 128 bytes of [A-Za-z0-9._-], the first one a letter or a digit.
bool is_repository(std::string_view text);

/// The record as text, signed; `record.key` becomes the key's.
std::string sign_name(NameRecord record, const SigningKey& key);
/// Takes untrusted bytes. The signature is the contained key's; whether that key is trusted is for the caller to say.
/// Errors: corrupt (malformed, or not signed by its key), version.
[[nodiscard]] Result<NameRecord> parse_name(std::string_view text);

/// What a reader has seen of a name before; revision 0: nothing.
struct SeenName {
  std::uint64_t revision = 0;
  cas::Hash manifest;
};
/// Whether the record, which its reader asked for as `repository` and `name` (an empty repository: any), may be
/// followed at time `now`. Errors: permission (why not).
[[nodiscard]] Result<void> check_name(const NameRecord& record, std::string_view repository, std::string_view name,
                                      const SeenName& seen, std::int64_t now);

}  // namespace stellarium::cdn
