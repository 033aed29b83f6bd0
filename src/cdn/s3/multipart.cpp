#include "cdn/s3/multipart.h"

#include <algorithm>
#include <cassert>
#include <random>
#include <utility>

#include "cdn/s3/xml.h"

namespace stellarium::cdn::s3 {
namespace {

constexpr std::uint64_t kMaxParts = 10'000;
constexpr std::uint64_t kMiB = 1u << 20;
constexpr std::size_t kMaxTag = 256;
constexpr std::size_t kMaxId = 2048;
constexpr const char* kMark = "x-amz-meta-stellarium-upload";

std::uint64_t part_size(std::uint64_t size, std::uint64_t wanted) {
  const std::uint64_t least = (size + kMaxParts - 1) / kMaxParts;
  return least <= wanted ? wanted : (least + kMiB - 1) / kMiB * kMiB;
}

std::string xml_escaped(std::string_view text) {
  std::string escaped;
  for (const char byte : text) {
    if (byte == '&') {
      escaped += "&amp;";
    } else if (byte == '<') {
      escaped += "&lt;";
    } else {
      escaped += byte;
    }
  }
  return escaped;
}

}  // namespace

std::string random_name() {
  constexpr char kDigits[] = "0123456789abcdef";
  std::random_device random;
  std::string name;
  for (int word = 0; word < 4; ++word) {
    std::uint32_t bits = random();
    for (int digit = 0; digit < 8; ++digit, bits >>= 4) name.push_back(kDigits[bits & 15]);
  }
  return name;
}

MultipartUpload::MultipartUpload(Client& client, std::string key, bool create_only)
    : client_{client}, key_{std::move(key)}, create_only_{create_only}, mark_{random_name()} {}

Result<void> MultipartUpload::begin() {
  auto reply = client_.send({.method = "POST", .key = key_, .query = {{"uploads", ""}}, .headers = {{kMark, mark_}}});
  if (!reply) return fail(reply.error());
  if (!reply->success()) return fail(client_.error_of(*reply));
  const auto read = read_xml(reply->body, [&](std::string_view path, std::string_view text) -> Result<void> {
    if (path == "InitiateMultipartUploadResult/UploadId") id_ = text;
    return {};
  });
  if (!read || id_.empty() || id_.size() > kMaxId) {
    id_.clear();
    return fail(Errc::invalid_argument, client_.address().shown + ": the server began no upload in parts");
  }
  return {};
}

Result<void> MultipartUpload::send_part(ByteSpan part) {
  auto reply = client_.send({.method = "PUT",
                             .key = key_,
                             .query = {{"partNumber", std::to_string(tags_.size() + 1)}, {"uploadId", id_}},
                             .body = part});
  if (!reply) return fail(reply.error());
  if (!reply->success()) return fail(client_.error_of(*reply));
  const std::string* const tag = reply->header("etag");
  if (tag == nullptr || tag->empty() || tag->size() > kMaxTag)
    return fail(Errc::invalid_argument, client_.address().shown + ": the server gave a part no tag");
  tags_.push_back(*tag);
  return {};
}

Result<MultipartUpload::Outcome> MultipartUpload::finish() {
  std::string body = "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">";
  for (std::size_t part = 0; part < tags_.size(); ++part)
    body += "<Part><PartNumber>" + std::to_string(part + 1) + "</PartNumber><ETag>" + xml_escaped(tags_[part]) +
            "</ETag></Part>";
  body += "</CompleteMultipartUpload>";
  Request request{.method = "POST",
                  .key = key_,
                  .query = {{"uploadId", id_}},
                  .body = as_bytes(body),
                  .slow = true,
                  .may_refuse_late = true};
  if (create_only_) request.headers.emplace_back("if-none-match", "*");
  auto reply = client_.send(request);
  if (!reply) return fail(reply.error());
  if (reply->status == 412 && create_only_) return Outcome::something_is_there;
  if (reply->success()) {
    bool complete = false;
    const auto read = read_xml(reply->body, [&](std::string_view path, std::string_view) -> Result<void> {
      complete = path == "CompleteMultipartUploadResult";
      return {};
    });
    if (!read || !complete)
      return fail(Errc::unavailable,
                  client_.address().shown + ": the server does not say that it made an object of the parts");
    id_.clear();
    return Outcome::written;
  }
  if (refusal_of(*reply).code == "NoSuchUpload") {
    // The answer to an earlier try was lost, perhaps, and this one came too late.
    const auto ours = is_ours();
    if (!ours) return fail(ours.error());
    if (*ours) {
      id_.clear();
      return Outcome::written;
    }
  }
  return fail(client_.error_of(*reply));
}

Result<bool> MultipartUpload::is_ours() {
  auto reply = client_.send({.method = "HEAD", .key = key_});
  if (!reply) return fail(reply.error());
  const std::string* const mark = reply->header(kMark);
  return reply->success() && mark != nullptr && *mark == mark_;
}

Result<MultipartUpload::Outcome> MultipartUpload::send(ByteSpan bytes) {
  assert(!bytes.empty());
  const std::uint64_t size = part_size(bytes.size(), client_.options().part_size);
  if (auto begun = begin(); !begun) return fail(begun.error());
  for (std::uint64_t at = 0; at < bytes.size(); at += size) {
    const ByteSpan part = bytes.subspan(at, std::min<std::uint64_t>(size, bytes.size() - at));
    if (auto sent = send_part(part); !sent) return fail(sent.error());
  }
  return finish();
}

Result<void> MultipartUpload::abort() {
  if (id_.empty()) return {};
  auto reply = client_.send({.method = "DELETE", .key = key_, .query = {{"uploadId", id_}}});
  if (!reply) return fail(reply.error());
  if (!reply->success() && reply->status != 404) return fail(client_.error_of(*reply));
  id_.clear();
  return {};
}

}  // namespace stellarium::cdn::s3
