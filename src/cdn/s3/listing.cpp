#include "cdn/s3/listing.h"

#include <charconv>
#include <ctime>
#include <utility>
#include <vector>

#include "cdn/s3/printable.h"
#include "cdn/s3/xml.h"

namespace stellarium::cdn::s3 {
namespace {

constexpr std::size_t kMaxToken = 4096;
constexpr std::uint64_t kMaxPages = 1'000'000;   // a thousand million objects
constexpr std::uint64_t kMaxEmptyPages = 1'000;  // in a row: servers skip what was deleted, but not for ever

tl::unexpected<Error> bad(std::string what) {
  return fail(Errc::invalid_argument, "the server's listing cannot be trusted: " + std::move(what));
}

template <typename Number>
std::optional<Number> number_of(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// As `encoding-type=url` writes keys: %XX, and by some servers + for a blank (a + itself is %2B).
std::optional<std::string> url_decoded(std::string_view text) {
  std::string decoded;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] == '+') {
      decoded += ' ';
    } else if (text[at] != '%') {
      decoded += text[at];
    } else {
      const int high = at + 2 < text.size() ? digit_of(text[at + 1]) : -1;
      const int low = at + 2 < text.size() ? digit_of(text[at + 2]) : -1;
      if (high < 0 || low < 0) return std::nullopt;
      decoded += static_cast<char>(high * 16 + low);
      at += 2;
    }
  }
  return decoded;
}

}  // namespace

struct ListingWalk::Key {
  std::string key, size, written;
};

struct ListingWalk::Page {
  std::vector<Key> keys;
  std::optional<std::string> truncated, next, count, prefix, token;
  std::string encoding;
};

std::optional<std::int64_t> seconds_of(std::string_view timestamp) {
  // YYYY-MM-DDTHH:MM:SS, then perhaps a fraction, then Z
  constexpr std::string_view kShape = "0000-00-00T00:00:00";
  if (timestamp.size() <= kShape.size() || timestamp.back() != 'Z') return std::nullopt;
  for (std::size_t at = 0; at < kShape.size(); ++at) {
    const bool digit = timestamp[at] >= '0' && timestamp[at] <= '9';
    if (kShape[at] == '0' ? !digit : timestamp[at] != kShape[at]) return std::nullopt;
  }
  const auto part = [&](std::size_t at, std::size_t size) { return *number_of<int>(timestamp.substr(at, size)); };
  std::tm parts{};
  parts.tm_year = part(0, 4) - 1900;
  parts.tm_mon = part(5, 2) - 1;
  parts.tm_mday = part(8, 2);
  parts.tm_hour = part(11, 2);
  parts.tm_min = part(14, 2);
  parts.tm_sec = part(17, 2);
  if (parts.tm_mon < 0 || parts.tm_mon > 11 || parts.tm_mday < 1 || parts.tm_mday > 31 || parts.tm_hour > 23 ||
      parts.tm_min > 59 || parts.tm_sec > 60)
    return std::nullopt;
  return ::timegm(&parts);
}

ListingWalk::ListingWalk(std::string own, std::string begin) : own_{std::move(own)}, prefix_{own_ + std::move(begin)} {}

Fields ListingWalk::query() const {
  Fields query{{"list-type", "2"}, {"max-keys", std::to_string(kPageKeys)}, {"encoding-type", "url"}};
  if (!prefix_.empty()) query.emplace_back("prefix", prefix_);
  if (!token_.empty()) query.emplace_back("continuation-token", token_);
  return query;
}

Result<ListingWalk::Page> ListingWalk::parse(std::string_view document) {
  Page page;
  Key key;
  bool is_listing = false;
  const auto done = read_xml(document, [&](std::string_view path, std::string_view text) -> Result<void> {
    constexpr std::string_view kRoot = "ListBucketResult";
    is_listing = path == kRoot;
    if (is_listing || !path.starts_with(kRoot)) return {};
    path.remove_prefix(kRoot.size() + 1);
    const auto once = [&](std::optional<std::string>& field) -> Result<void> {
      if (field) return bad("it says " + std::string{path} + " twice");
      field = text;
      return {};
    };
    if (path == "Contents/Key") key.key = text;
    if (path == "Contents/Size") key.size = text;
    if (path == "Contents/LastModified") key.written = text;
    if (path == "Contents") {
      if (page.keys.size() == kPageKeys) return bad("a page has more keys than were asked for");
      page.keys.push_back(std::exchange(key, {}));
    }
    if (path == "EncodingType") page.encoding = text;
    if (path == "IsTruncated") return once(page.truncated);
    if (path == "NextContinuationToken") return once(page.next);
    if (path == "KeyCount") return once(page.count);
    if (path == "Prefix") return once(page.prefix);
    if (path == "ContinuationToken") return once(page.token);
    return {};
  });
  if (!done) return fail(done.error());
  if (!is_listing) return bad("it is none");
  if (page.encoding == "url") {
    const auto decode = [](std::string& text) {
      auto decoded = url_decoded(text);
      if (decoded) text = std::move(*decoded);
      return decoded.has_value();
    };
    for (Key& each : page.keys) {
      if (!decode(each.key)) return bad("a key is encoded wrongly");
    }
    if (page.prefix && !decode(*page.prefix)) return bad("its prefix is encoded wrongly");
  }
  return page;
}

Result<std::optional<ObjectTarget::Listed>> ListingWalk::checked(const Key& key) {
  if (!key.key.starts_with(prefix_)) return bad("key '" + printable(key.key) + "' does not begin as was asked");
  if (key.key <= last_key_) return bad("key '" + printable(key.key) + "' comes again, or out of order");
  last_key_ = key.key;
  const auto size = number_of<std::uint64_t>(key.size);
  const auto written = seconds_of(key.written);
  if (!size || !written) return bad("key '" + printable(key.key) + "' has no size or time");
  std::string path = key.key.substr(own_.size());
  if ((path.empty() || path.back() == '/') && *size == 0) return std::nullopt;
  if (!is_object_path(path))
    return fail(Errc::invalid_argument,
                "'" + printable(key.key) +
                    "' is no object of ours: remove it from the bucket, or publish under a prefix "
                    "of its own");
  return ObjectTarget::Listed{std::move(path), *size, *written};
}

/// What the page says about itself and the next one.
Result<void> ListingWalk::turn(const Page& page) {
  if (page.prefix && *page.prefix != prefix_) return bad("a page of another prefix");
  if (page.token && *page.token != token_) return bad("a page of another request");
  if (page.count && number_of<std::uint64_t>(*page.count) != page.keys.size())
    return bad("a page has not as many keys as it says");
  if (page.truncated == "false") {
    ended_ = true;
    return {};
  }
  if (page.truncated != "true") return bad("it does not say whether there is more");
  if (!page.next || page.next->empty() || page.next->size() > kMaxToken)
    return bad("there is more, but not how to ask for it");
  if (*page.next == token_) return bad("the next page is the same again");
  empty_pages_ = page.keys.empty() ? empty_pages_ + 1 : 0;
  if (empty_pages_ > kMaxEmptyPages || ++pages_ > kMaxPages) return bad("it does not end");
  token_ = *page.next;
  return {};
}

Result<void> ListingWalk::take(std::string_view document, const Found& found) {
  const auto page = parse(document);
  if (!page) return fail(page.error());
  if (auto turned = turn(*page); !turned) return turned;
  for (const Key& key : page->keys) {
    const auto listed = checked(key);
    if (!listed) return fail(listed.error());
    if (!*listed) continue;
    if (auto taken = found(**listed); !taken) return taken;
  }
  return {};
}

}  // namespace stellarium::cdn::s3
