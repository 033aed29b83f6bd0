// Uploads in parts whose writers were killed.
#include <utility>
#include <vector>

#include "cdn/s3/listing.h"
#include "cdn/s3/s3_target.h"
#include "cdn/s3/xml.h"

namespace stellarium::cdn::s3 {
namespace {

constexpr unsigned kMaxUploadPages = 10'000;

struct Unfinished {
  std::string key, id, begun;
};

struct UnfinishedPage {
  std::vector<Unfinished> uploads;
  bool more = false;
  std::string key_marker, id_marker;
};

Result<UnfinishedPage> parse_unfinished(std::string_view document) {
  UnfinishedPage page;
  Unfinished upload;
  const auto read = read_xml(document, [&](std::string_view path, std::string_view text) -> Result<void> {
    constexpr std::string_view kRoot = "ListMultipartUploadsResult/";
    if (!path.starts_with(kRoot)) return {};
    path.remove_prefix(kRoot.size());
    if (path == "Upload/Key") upload.key = text;
    if (path == "Upload/UploadId") upload.id = text;
    if (path == "Upload/Initiated") upload.begun = text;
    if (path == "Upload") page.uploads.push_back(std::exchange(upload, {}));
    if (path == "IsTruncated") page.more = text == "true";
    if (path == "NextKeyMarker") page.key_marker = text;
    if (path == "NextUploadIdMarker") page.id_marker = text;
    return {};
  });
  if (!read) return fail(read.error());
  return page;
}

}  // namespace

Result<std::uint64_t> S3Target::remove_unfinished(std::int64_t before) {
  const auto doing = [](Error error) { return fail(std::move(error), "looking for uploads that were not finished"); };
  const std::string& own = client_.address().key_prefix;
  std::uint64_t removed = 0;
  Fields place;
  for (unsigned pages = 0; pages < kMaxUploadPages; ++pages) {
    Request request{.method = "GET", .query = {{"uploads", ""}}, .limit = ListingWalk::kMaxPageBytes};
    if (!own.empty()) request.query.emplace_back("prefix", own);
    request.query.insert(request.query.end(), place.begin(), place.end());
    auto reply = client_.send(request);
    if (!reply) return doing(reply.error());
    if (!reply->success()) return doing(client_.error_of(*reply));
    const auto page = parse_unfinished(reply->body);
    if (!page) return doing(page.error());
    for (const Unfinished& upload : page->uploads) {
      const auto begun = seconds_of(upload.begun);
      // One of unknown age may be under way, and one that was not asked for is not ours.
      if (!begun || *begun >= before || upload.id.empty() || !upload.key.starts_with(own) ||
          !is_object_path(upload.key.substr(own.size())))
        continue;
      auto gone = client_.send({.method = "DELETE", .key = upload.key, .query = {{"uploadId", upload.id}}});
      if (!gone) return doing(gone.error());
      if (!gone->success() && gone->status != 404) return doing(client_.error_of(*gone));
      ++removed;
    }
    if (!page->more) return removed;
    Fields next{{"key-marker", page->key_marker}, {"upload-id-marker", page->id_marker}};
    if (page->key_marker.empty() || next == place) break;
    place = std::move(next);
  }
  return fail(Errc::invalid_argument,
              client_.address().shown + ": the server's list of unfinished uploads does not end");
}

}  // namespace stellarium::cdn::s3
