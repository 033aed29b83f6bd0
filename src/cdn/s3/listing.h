#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cdn/objects.h"
#include "cdn/s3/sigv4.h"

namespace stellarium::cdn::s3 {

/// "2026-11-30T04:05:06.789Z" as seconds since 1970; nothing if it is something else.
std::optional<std::int64_t> seconds_of(std::string_view timestamp);

/// Asks for a listing page by page (ListObjectsV2) and trusts none of them.
///
/// Checks:  every key begins as asked and is an object's path behind the target's own prefix; keys ascend, within a
/// page
///          and from page to page, so that a repeated page is noticed; a page that says which part it is says the right
///          one, so that a page of another request is noticed, too; a page has no more keys than were asked for and as
///          many as it says; the pages end. What cannot be noticed is a server that leaves keys out and says nothing.
/// Skipped: markers of folders, which consoles make: empty objects whose key ends in a slash.
/// Errors:  invalid_argument (the server's listing is not one), and those of `found`.
class ListingWalk {
 public:
  static constexpr std::size_t kPageKeys = 1000;
  static constexpr std::uint64_t kMaxPageBytes = 8u << 20;

  using Found = std::function<Result<void>(const ObjectTarget::Listed&)>;
  /// `own` is what stands before every path of the target ("" or "images/"); of those, the ones that begin with
  /// `begin`.
  ListingWalk(std::string own, std::string begin);

  bool ended() const { return ended_; }
  Fields query() const;  ///< of the next page
  [[nodiscard]] Result<void> take(std::string_view page, const Found& found);

 private:
  struct Page;
  struct Key;
  static Result<Page> parse(std::string_view document);
  Result<std::optional<ObjectTarget::Listed>> checked(const Key& key);
  Result<void> turn(const Page& page);

  const std::string own_, prefix_;  // prefix_ includes own_
  std::string token_, last_key_;
  std::uint64_t pages_ = 0, empty_pages_ = 0;
  bool ended_ = false;
};

}  // namespace stellarium::cdn::s3
