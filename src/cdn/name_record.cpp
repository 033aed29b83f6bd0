#include "cdn/name_record.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace stellarium::cdn {
namespace {

constexpr std::string_view kHead = "stellarium-name ";
constexpr std::string_view kVersion = "1";
constexpr std::string_view kSignature = "signature: ";

Error wrong(const std::string& what) {
  return Error{Errc::corrupt, "name record: " + what, 0};
}

std::string body_of(const NameRecord& record) {
  std::string text{kHead};
  text.append(kVersion).append("\nrepository: ").append(record.repository).append("\nname: ").append(record.name);
  text.append("\nmanifest: ").append(record.manifest.hex());
  text.append("\nrevision: ").append(std::to_string(record.revision));
  text.append("\nnot-before: ").append(std::to_string(record.not_before));
  text.append("\nexpires: ").append(std::to_string(record.expires));
  text.append("\nkey: ").append(record.key.text()).append("\n");
  return text;
}

std::string signature_text(const Signature& signature) {
  // Two hashes' worth of hexadecimal digits.
  const ByteSpan bytes = signature;
  return cas::Hash::from_bytes(bytes.first(32))->hex() + cas::Hash::from_bytes(bytes.subspan(32))->hex();
}

std::optional<Signature> signature_from(std::string_view text) {
  if (text.size() != 128) return std::nullopt;
  const auto low = cas::Hash::from_hex(text.substr(0, 64)), high = cas::Hash::from_hex(text.substr(64));
  if (!low || !high) return std::nullopt;
  Signature signature;
  std::copy(low->bytes.begin(), low->bytes.end(), signature.begin());
  std::copy(high->bytes.begin(), high->bytes.end(), signature.begin() + 32);
  return signature;
}

/// Takes lines of "KEY: VALUE" from the front.
class Lines {
 public:
  explicit Lines(std::string_view text) : rest_{text} {}
  std::string_view take(std::string_view prefix) {
    const std::size_t end = rest_.find('\n');
    if (!ok_ || end == std::string_view::npos || !rest_.starts_with(prefix)) {
      ok_ = false;
      return {};
    }
    const std::string_view value = rest_.substr(prefix.size(), end - prefix.size());
    rest_.remove_prefix(end + 1);
    return value;
  }
  template <typename Number>
  Number take_number(std::string_view prefix) {
    const std::string_view text = take(prefix);
    Number number{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    ok_ = ok_ && error == std::errc{} && end == text.data() + text.size();
    return number;
  }
  bool ok() const { return ok_; }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

std::string date(std::int64_t seconds) {
  return std::to_string(seconds) + " seconds after 1970";
}

}  // namespace

bool is_repository(std::string_view text) {
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); };
  return !text.empty() && text.size() <= 128 && plain(text.front()) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return plain(c) || c == '.' || c == '_' || c == '-'; });
}

std::string sign_name(NameRecord record, const SigningKey& key) {
  record.key = key.public_key();
  std::string text = body_of(record);
  const Signature signature = key.sign(as_bytes(text));
  return text.append(kSignature).append(signature_text(signature)).append("\n");
}

Result<NameRecord> parse_name(std::string_view text) {
  if (text.size() > kMaxNameRecord) return fail(wrong("larger than " + std::to_string(kMaxNameRecord) + " bytes"));
  Lines lines{text};
  const std::string_view version = lines.take(kHead);
  if (!lines.ok()) return fail(wrong("it does not begin with \"" + std::string{kHead} + "\""));
  if (version != kVersion)
    return fail(Errc::version, "name record: version " + std::string{version.substr(0, 20)} + ", this program knows " +
                                   std::string{kVersion});
  NameRecord record;
  record.repository = lines.take("repository: ");
  record.name = lines.take("name: ");
  const auto manifest = cas::Hash::from_hex(lines.take("manifest: "));
  record.revision = lines.take_number<std::uint64_t>("revision: ");
  record.not_before = lines.take_number<std::int64_t>("not-before: ");
  record.expires = lines.take_number<std::int64_t>("expires: ");
  const auto key = PublicKey::from_text(lines.take("key: "));
  const auto signature = signature_from(lines.take(kSignature));
  if (!lines.ok() || !lines.rest().empty() || !manifest || !key || !signature || record.revision == 0 ||
      record.revision > kMaxRevision || !is_repository(record.repository))
    return fail(wrong("malformed"));
  record.manifest = *manifest;
  record.key = *key;
  const std::string body = body_of(record);
  if (body != text.substr(0, body.size())) return fail(wrong("not in its one form"));
  if (!is_signed(as_bytes(body), *signature, record.key)) return fail(wrong("not signed by the key that it names"));
  return record;
}

Result<void> check_name(const NameRecord& record, std::string_view repository, std::string_view name,
                        const SeenName& seen, std::int64_t now) {
  const auto refuse = [&](const std::string& why) {
    return fail(Errc::permission, "the name " + std::string{name} + ": " + why);
  };
  if (!repository.empty() && record.repository != repository)
    return refuse("its record is of repository " + record.repository + ", expected " + std::string{repository});
  if (record.name != name) return refuse("its record is that of " + record.name);
  if (record.revision < seen.revision)
    return refuse("revision " + std::to_string(record.revision) + " is older than " + std::to_string(seen.revision) +
                  ", which was seen before");
  if (record.revision == seen.revision && record.manifest != seen.manifest)
    return refuse("revision " + std::to_string(record.revision) + " was another manifest before");
  if (now < record.not_before) return refuse("it counts from " + date(record.not_before) + " on: is the clock right?");
  if (record.expires != 0 && now >= record.expires) return refuse("it expired at " + date(record.expires));
  return {};
}

}  // namespace stellarium::cdn
