#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/result.h"

// JSON from others.
namespace stellarium::cdn {

/// Parses one JSON text (RFC 8259) that nobody vouches for: at most 16 levels deep, no key twice in one object, nothing
/// behind the end. Errors: invalid_argument, with what is wrong. Memory: about 20 times the text, which the caller
/// bounds.
[[nodiscard]] Result<nlohmann::json> parse_strict_json(std::string_view text);

/// Reads members of one object. After the first one that is missing or of another kind all further answers are empty,
/// so that a reader may take everything and ask `error` once.
class JsonObject {
 public:
  JsonObject(const nlohmann::json& value, std::string where);

  std::uint64_t number(const char* key, std::uint64_t most = INT64_MAX);  ///< a whole one, 0 … `most`
  std::string text(const char* key);
  const nlohmann::json& list(const char* key);
  JsonObject object(const char* key);
  bool has(const char* key) const;
  /// What was the first that is wrong, as corrupt; or success.
  Result<void> error() const;

 private:
  const nlohmann::json* find(const char* key);
  void refuse(const std::string& what);

  const nlohmann::json* value_;
  std::string where_;
  std::string wrong_;
};

}  // namespace stellarium::cdn
