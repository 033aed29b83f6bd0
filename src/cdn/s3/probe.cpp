// Whether a bucket can hold published images: asked of the server itself, with one object that is gone afterwards.
#include <string_view>
#include <utility>

#include "cdn/s3/multipart.h"
#include "cdn/s3/s3_target.h"
#include "cdn/s3/xml.h"

namespace stellarium::cdn::s3 {
namespace {

constexpr std::string_view kFirst = "the first content of a probe", kSecond = "another";

constexpr const char* kVersioned =
    "the bucket keeps old versions, so that what is removed or replaced stays and is paid for: suspend its versioning, "
    "or "
    "use another bucket";
constexpr const char* kOverwrites =
    "the server overwrites an object where it was told to create one only (If-None-Match: *), so that two publishers "
    "can "
    "damage each other's images: use a server or a version of it that honours this";
constexpr const char* kStale =
    "the server (or a cache before it) shows what was before a write that it has acknowledged: use the origin's "
    "address";

/// What the bucket says of itself; nothing if it may not be asked or the server does not know the question.
Result<std::optional<bool>> is_versioned(Client& client) {
  auto reply = client.send({.method = "GET", .query = {{"versioning", ""}}});
  if (!reply) return fail(reply.error());
  if (!reply->success()) {
    const std::string code = refusal_of(*reply).code;
    if (code == "AccessDenied" || code == "NotImplemented" || code == "MethodNotAllowed" || reply->status == 501)
      return std::nullopt;
    return fail(client.error_of(*reply));
  }
  bool versioned = false;
  const auto read = read_xml(reply->body, [&](std::string_view path, std::string_view text) -> Result<void> {
    if (path == "VersioningConfiguration/Status") versioned = text == "Enabled";
    return {};
  });
  // No XML: a server that ignores the question and lists the bucket, or worse. The first write tells.
  if (!read) return std::nullopt;
  return versioned;
}

/// The probe's one object, which goes again whatever happens.
class ProbeObject {
 public:
  ProbeObject(Client& client, std::string key) : client_{client}, key_{std::move(key)} {}
  ProbeObject(const ProbeObject&) = delete;
  ProbeObject& operator=(const ProbeObject&) = delete;
  ~ProbeObject() { static_cast<void>(remove()); }

  const std::string& key() const { return key_; }

  Result<Reply> create(std::string_view content) {
    there_ = true;
    auto reply =
        client_.send({.method = "PUT", .key = key_, .headers = {{"if-none-match", "*"}}, .body = as_bytes(content)});
    if (!reply) return reply;
    const std::string* const version = reply->header("x-amz-version-id");
    if (version != nullptr && *version != "null") version_ = *version;
    return reply;
  }
  bool versioned() const { return !version_.empty(); }

  Result<void> remove() {
    if (!there_) return {};
    Request request{.method = "DELETE", .key = key_};
    // Without it, a version would stay, and a mark that the object is deleted.
    if (!version_.empty()) request.query.emplace_back("versionId", version_);
    auto reply = client_.send(request);
    if (!reply) return fail(reply.error(), "removing " + key_);
    if (!reply->success() && reply->status != 404) return fail(client_.error_of(*reply), "removing " + key_);
    there_ = false;
    return {};
  }

 private:
  Client& client_;
  const std::string key_;
  bool there_ = false;
  std::string version_;
};

}  // namespace

Result<Capabilities> S3Target::probe() {
  const std::string path = "stellarium-probe-" + random_name();
  ProbeObject object{client_, client_.address().key_prefix + path};
  const auto error = [&](Errc code, const char* why) { return fail(code, client_.address().shown + ": " + why); };
  const auto refuse = [&](const char* why) { return error(Errc::not_supported, why); };
  // Whether the object is what it should be, for those who read and for those who list.
  const auto shows = [&](std::optional<std::string_view> expected) -> Result<bool> {
    const auto read = read_key(object.key(), 1024);
    if (!read) return fail(read.error());
    std::optional<std::uint64_t> listed;
    const auto done = list(path, [&](const Listed& found) -> Result<void> {
      listed = found.size;
      return {};
    });
    if (!done) return fail(done.error());
    if (!expected) return !read->has_value() && !listed;
    return *read == *expected && listed == expected->size();
  };

  const auto versioned = is_versioned(client_);
  if (!versioned) return fail(versioned.error(), "asking whether the bucket is versioned");
  if (*versioned == true) return refuse(kVersioned);

  // A cache that remembers "not there" is found by asking before, too.
  if (const auto before = shows(std::nullopt); !before) return fail(before.error());
  auto created = object.create(kFirst);
  if (!created) return fail(created.error(), "writing " + object.key());
  if (object.versioned()) return refuse(kVersioned);
  if (created->status == 501 || refusal_of(*created).code == "NotImplemented") return refuse(kOverwrites);
  if (!created->success()) return fail(client_.error_of(*created), "writing " + object.key());
  auto shown = shows(kFirst);
  if (!shown) return fail(shown.error());
  if (!*shown) return refuse(kStale);

  auto again = object.create(kSecond);
  if (!again) return fail(again.error(), "writing " + object.key());
  if (again->success()) return refuse(kOverwrites);
  if (again->status != 412) return fail(client_.error_of(*again), "writing " + object.key());
  shown = shows(kFirst);
  if (!shown) return fail(shown.error());
  if (!*shown) return refuse(kOverwrites);

  Capabilities capabilities;
  MultipartUpload upload{client_, object.key(), /*create_only=*/true};
  const auto in_parts = upload.send(as_bytes(kSecond));
  auto aborted = upload.abort();
  if (!in_parts && in_parts.error().code != Errc::not_supported)
    return fail(in_parts.error(), "writing " + object.key() + " in parts");
  if (!in_parts) return refuse("the server takes no object in parts, as large ones must go");
  if (!aborted) return fail(aborted.error(), "giving up " + object.key() + " in parts");
  capabilities.keeps_in_parts = *in_parts == MultipartUpload::Outcome::something_is_there;

  if (auto replaced = write_key(object.key(), as_bytes(kSecond), Existing::replace); !replaced)
    return fail(replaced.error(), "writing " + object.key());
  shown = shows(kSecond);
  if (!shown) return fail(shown.error());
  if (!*shown) return refuse(kStale);
  if (auto removed = object.remove(); !removed) return fail(removed.error());
  shown = shows(std::nullopt);
  if (!shown) return fail(shown.error());
  if (!*shown) return refuse(kStale);
  return capabilities;
}

}  // namespace stellarium::cdn::s3
