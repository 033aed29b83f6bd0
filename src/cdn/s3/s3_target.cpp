#include "cdn/s3/s3_target.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "cdn/s3/listing.h"
#include "cdn/s3/multipart.h"
#include "cdn/s3/printable.h"

namespace stellarium::cdn::s3 {

Result<std::unique_ptr<S3Target>> S3Target::create(const Options& options, Credentials credentials) {
  auto address = address_of(options);
  if (!address) return fail(address.error());
  return std::unique_ptr<S3Target>{new S3Target{options, std::move(*address), std::move(credentials)}};
}

S3Target::S3Target(const Options& options, Address address, Credentials credentials)
    : client_{options, std::move(address), std::move(credentials)} {}

Result<std::string> S3Target::key_of(const std::string& path) const {
  if (!is_object_path(path)) return fail(Errc::invalid_argument, "'" + printable(path) + "' is no path of an object");
  return client_.address().key_prefix + path;
}

/// Whether there is a bucket, asked once: "no such object" without a body is also what a missing bucket answers.
Result<void> S3Target::see_bucket() {
  if (bucket_seen_) return {};
  auto reply = client_.send({.method = "GET", .query = {{"list-type", "2"}, {"max-keys", "1"}}});
  if (!reply) return fail(reply.error());
  const Error error = reply->success() ? Error{} : client_.error_of(*reply);
  // Whoever may not list may still write.
  if (!reply->success() && refusal_of(*reply).code != "AccessDenied") return fail(error);
  bucket_seen_ = true;
  return {};
}

Result<std::optional<std::uint64_t>> S3Target::size_of_key(const std::string& key) {
  auto reply = client_.send({.method = "HEAD", .key = key});
  if (!reply) return fail(reply.error());
  if (reply->status == 404) {
    if (auto seen = see_bucket(); !seen) return fail(seen.error());
    return std::nullopt;
  }
  if (!reply->success()) {
    // An answer to HEAD has no body that says why; the one to a GET of one byte has.
    auto worded = client_.send({.method = "GET", .key = key, .headers = {{"range", "bytes=0-0"}}});
    const bool refused = worded && !worded->success() && worded->status != 404;
    return fail(client_.error_of(refused ? *worded : *reply));
  }
  const std::string* const text = reply->header("content-length");
  std::uint64_t size = 0;
  if (text == nullptr ||
      std::from_chars(text->data(), text->data() + text->size(), size).ptr != text->data() + text->size())
    return fail(Errc::invalid_argument, client_.address().shown + ": the server does not say its size");
  return size;
}

Result<std::optional<std::string>> S3Target::read_key(const std::string& key, std::uint64_t limit) {
  auto reply = client_.send({.method = "GET", .key = key, .limit = limit});
  if (!reply) return fail(reply.error());
  if (reply->status == 404 && refusal_of(*reply).code != "NoSuchBucket") {
    if (refusal_of(*reply).code == "NoSuchKey") return std::nullopt;
    if (auto seen = see_bucket(); !seen) return fail(seen.error());
    return std::nullopt;
  }
  if (!reply->success()) return fail(client_.error_of(*reply));
  const std::string* const encoding = reply->header("content-encoding");
  if (encoding != nullptr && !encoding->empty() && *encoding != "identity")
    return fail(Errc::invalid_argument, client_.address().shown + ": the server sent it as '" + printable(*encoding) +
                                            "', which was not asked for: switch off what compresses on the way");
  return std::move(reply->body);
}

/// What is in the way of an object that should only be created: itself, if the size is the same.
Result<void> S3Target::same_size(const std::string& key, std::uint64_t size) {
  const auto there = size_of_key(key);
  if (!there) return fail(there.error());
  if (!*there) return fail(Errc::unavailable, client_.address().shown + ": it was there, and is not: try again");
  if (**there == size) return {};
  return fail(Errc::exists, client_.address().shown + ": another object of that name is there already, of " +
                                std::to_string(**there) + " bytes instead of " + std::to_string(size) +
                                ": it is damaged or not of this program; remove it");
}

Result<void> S3Target::write_key(const std::string& key, ByteSpan bytes, Existing existing) {
  if (bytes.size() > client_.options().parts_over) return write_in_parts(key, bytes, existing);
  Request request{.method = "PUT", .key = key, .body = bytes};
  if (existing == Existing::keep) request.headers.emplace_back("if-none-match", "*");
  auto reply = client_.send(request);
  if (!reply) return fail(reply.error());
  if (reply->success()) return {};
  // Also the answer to a repeated request whose first try arrived.
  if (reply->status == 412 && existing == Existing::keep) return same_size(key, bytes.size());
  return fail(client_.error_of(*reply));
}

Result<void> S3Target::write_in_parts(const std::string& key, ByteSpan bytes, Existing existing) {
  if (existing == Existing::keep) {
    const auto there = size_of_key(key);
    if (!there) return fail(there.error());
    if (*there) return same_size(key, bytes.size());
  }
  MultipartUpload upload{client_, key, existing == Existing::keep};
  auto uploaded = upload.send(bytes);
  if (!uploaded) {
    auto aborted = upload.abort();
    // Someone else wants the same object at the same time, and was there first.
    if (existing == Existing::keep && uploaded.error().code == Errc::unavailable && same_size(key, bytes.size()))
      return {};
    if (!aborted)
      return fail(Error{uploaded.error().code,
                        uploaded.error().context + "; its parts are left (" + aborted.error().context + ")"});
    return fail(uploaded.error());
  }
  switch (*uploaded) {
    case MultipartUpload::Outcome::written:
      return {};
    case MultipartUpload::Outcome::something_is_there:
      if (auto aborted = upload.abort(); !aborted) return fail(aborted.error(), "removing its parts");
      return same_size(key, bytes.size());
  }
  return {};
}

Result<void> S3Target::remove_key(const std::string& key) {
  auto reply = client_.send({.method = "DELETE", .key = key});
  if (!reply) return fail(reply.error());
  if (reply->success() || (reply->status == 404 && refusal_of(*reply).code != "NoSuchBucket")) return {};
  return fail(client_.error_of(*reply));
}

Result<std::optional<std::uint64_t>> S3Target::size_of(const std::string& path) {
  const auto key = key_of(path);
  if (!key) return fail(key.error());
  auto size = size_of_key(*key);
  if (!size) return fail(size.error(), "asking for the size of " + *key);
  return size;
}

Result<std::optional<std::string>> S3Target::read(const std::string& path, std::uint64_t limit) {
  const auto key = key_of(path);
  if (!key) return fail(key.error());
  auto bytes = read_key(*key, limit);
  if (!bytes) return fail(bytes.error(), "reading " + *key);
  return bytes;
}

Result<void> S3Target::write(const std::string& path, ByteSpan bytes, Existing existing) {
  const auto key = key_of(path);
  if (!key) return fail(key.error());
  if (auto written = write_key(*key, bytes, existing); !written) return fail(written.error(), "writing " + *key);
  return {};
}

Result<void> S3Target::remove(const std::string& path) {
  const auto key = key_of(path);
  if (!key) return fail(key.error());
  if (auto removed = remove_key(*key); !removed) return fail(removed.error(), "removing " + *key);
  return {};
}

Result<void> S3Target::list(const std::string& prefix, const std::function<Result<void>(const Listed&)>& found) {
  // The beginning of an object path: a letter more makes one of it.
  if (!prefix.empty() && !is_object_path(prefix + "x"))
    return fail(Errc::invalid_argument, "'" + printable(prefix) + "' does not begin any path of an object");
  ListingWalk walk{client_.address().key_prefix, prefix};
  // What `found` reports is about what the caller does, and passes as it is.
  std::optional<Error> callers;
  const auto pass = [&](const Listed& listed) -> Result<void> {
    auto taken = found(listed);
    if (!taken) callers = taken.error();
    return taken;
  };
  while (!walk.ended()) {
    auto reply = client_.send({.method = "GET", .query = walk.query(), .limit = ListingWalk::kMaxPageBytes});
    if (reply && !reply->success()) reply = fail(client_.error_of(*reply));
    if (!reply) return fail(reply.error(), "listing " + client_.address().key_prefix + prefix);
    if (auto taken = walk.take(reply->body, pass); !taken) {
      if (callers) return fail(*callers);
      return fail(taken.error(), "listing " + client_.address().shown + "/" + client_.address().key_prefix + prefix);
    }
  }
  return {};
}

}  // namespace stellarium::cdn::s3
