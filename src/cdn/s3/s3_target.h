#pragma once
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "cdn/objects.h"
#include "cdn/s3/client.h"

namespace stellarium::cdn::s3 {

/// What the server can do beyond what it must.
struct Capabilities {
  bool keeps_in_parts = false;  ///< `Existing::keep` is one step for objects that go up in parts, too
};

/// A bucket of an S3 server (Amazon's, Ceph's gateway, R2, MinIO …), or what is below a prefix in it, as a place to
/// publish.
///
/// Method:  `Existing::keep` is a conditional create (If-None-Match: *); what is there already is taken for the same if
///          its size is. Objects over Options::parts_over go up in parts, which become an object in one last step;
///          whoever is killed before leaves none, but parts that cost space: `remove_unfinished`. Where the server does
///          not know that last step's condition, keeping is to look first and then write
///          (Capabilities::keeps_in_parts).
/// Memory:  what is written is sent from where it is; what is read or listed has the limits of the functions.
/// Errors:  those of ObjectTarget, and not_found (no such bucket), invalid_argument (an answer that is none; a wrong
/// region);
///          each is one line: what, where, what to do. Requests are repeated as client.h says before anything is
///          unavailable.
/// Threads: all functions may be called concurrently.
class S3Target final : public ObjectTarget {
 public:
  /// Sends nothing yet. Errors: invalid_argument (options).
  static Result<std::unique_ptr<S3Target>> create(const Options& options, Credentials credentials);

  [[nodiscard]] Result<std::optional<std::uint64_t>> size_of(const std::string& path) override;
  [[nodiscard]] Result<std::optional<std::string>> read(const std::string& path, std::uint64_t limit) override;
  [[nodiscard]] Result<void> write(const std::string& path, ByteSpan bytes, Existing existing) override;
  [[nodiscard]] Result<void> list(const std::string& prefix,
                                  const std::function<Result<void>(const Listed&)>& found) override;
  [[nodiscard]] Result<void> remove(const std::string& path) override;

  /// Tries, with an object of a random name that it removes again, whether images can be published here at all.
  /// Errors: not_supported (the bucket is versioned; the server overwrites where it should keep; it shows what was
  /// before a write; it takes no parts), and all others.
  [[nodiscard]] Result<Capabilities> probe();

  /// Removes the parts of uploads below the prefix that began before `before` (seconds since 1970) and were neither
  /// finished nor given up: their writers were killed. Returns how many there were.
  [[nodiscard]] Result<std::uint64_t> remove_unfinished(std::int64_t before);

  Counters counters() const { return client_.counters(); }

 private:
  S3Target(const Options& options, Address address, Credentials credentials);
  Result<std::string> key_of(const std::string& path) const;
  Result<void> see_bucket();
  Result<std::optional<std::uint64_t>> size_of_key(const std::string& key);
  Result<std::optional<std::string>> read_key(const std::string& key, std::uint64_t limit);
  Result<void> write_key(const std::string& key, ByteSpan bytes, Existing existing);
  Result<void> write_in_parts(const std::string& key, ByteSpan bytes, Existing existing);
  Result<void> same_size(const std::string& key, std::uint64_t size);
  Result<void> remove_key(const std::string& key);

  Client client_;
  std::atomic<bool> bucket_seen_{false};
};

}  // namespace stellarium::cdn::s3
