#include "cdn/strict_json.h"

#include <set>
#include <vector>

namespace stellarium::cdn {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxDepth = 16;

/// Looks only: nothing is built until it is known to be shallow and without doubles.
class Inspector final : public nlohmann::json_sax<json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return deeper(); }
  bool key(string_t& name) override {
    if (keys_.back().insert(name).second) return true;
    wrong = "the key \"" + name.substr(0, 64) + "\" comes twice";
    return false;
  }
  bool end_object() override { return shallower(); }
  bool start_array(std::size_t) override { return deeper(); }
  bool end_array() override { return shallower(); }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
    wrong = "no JSON at byte " + std::to_string(position);
    return false;
  }

  std::string wrong;

 private:
  bool deeper() {
    keys_.emplace_back();
    if (keys_.size() <= kMaxDepth) return true;
    wrong = "more than " + std::to_string(kMaxDepth) + " levels deep";
    return false;
  }
  bool shallower() {
    keys_.pop_back();
    return true;
  }
  std::vector<std::set<std::string>> keys_;  // one set for each open object (or array, which has none)
};

const json& nothing() {
  static const json empty;
  return empty;
}

}  // namespace

Result<json> parse_strict_json(std::string_view text) {
  // The parser takes a NUL for the end, whatever is behind it.
  if (text.find('\0') != std::string_view::npos) return fail(Errc::invalid_argument, "a NUL in it");
  Inspector inspector;
  if (!json::sax_parse(text, &inspector)) return fail(Errc::invalid_argument, inspector.wrong);
  json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) return fail(Errc::invalid_argument, "no JSON");
  return parsed;
}

JsonObject::JsonObject(const json& value, std::string where) : value_{&value}, where_{std::move(where)} {
  if (!value.is_object()) refuse("is no object");
}

void JsonObject::refuse(const std::string& what) {
  if (wrong_.empty()) wrong_ = where_ + " " + what;
}

const json* JsonObject::find(const char* key) {
  if (!wrong_.empty()) return nullptr;
  const auto found = value_->find(key);
  if (found != value_->end()) return &*found;
  refuse(std::string{"lacks \""} + key + "\"");
  return nullptr;
}

bool JsonObject::has(const char* key) const {
  return wrong_.empty() && value_->contains(key);
}

std::uint64_t JsonObject::number(const char* key, std::uint64_t most) {
  const json* const value = find(key);
  if (value == nullptr) return 0;
  if (value->is_number_unsigned() && value->get<std::uint64_t>() <= most) return value->get<std::uint64_t>();
  refuse(std::string{"has no number between 0 and "} + std::to_string(most) + " as \"" + key + "\"");
  return 0;
}

std::string JsonObject::text(const char* key) {
  const json* const value = find(key);
  if (value == nullptr) return {};
  if (value->is_string()) return value->get<std::string>();
  refuse(std::string{"has no text as \""} + key + "\"");
  return {};
}

const json& JsonObject::list(const char* key) {
  const json* const value = find(key);
  if (value == nullptr) return nothing();
  if (value->is_array()) return *value;
  refuse(std::string{"has no list as \""} + key + "\"");
  return nothing();
}

JsonObject JsonObject::object(const char* key) {
  const json* const value = find(key);
  JsonObject inner{value != nullptr ? *value : nothing(), where_ + "'s \"" + key + "\""};
  if (value == nullptr) inner.wrong_ = wrong_;
  return inner;
}

Result<void> JsonObject::error() const {
  if (wrong_.empty()) return {};
  return fail(Errc::corrupt, wrong_);
}

}  // namespace stellarium::cdn
