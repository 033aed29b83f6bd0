#pragma once
#include <memory>

#include "cdn/http/options.h"
#include "cdn/objects.h"

namespace stellarium::cdn::http {

class FetchLoop;

/// Reads objects from web servers: one or several origins that have the same, over HTTP/2 where they can.
///
/// Order:    what is waited for goes first, then what is needed soon; what nobody waits for leaves places free for both
///           and keeps to its rate.
/// Failure:  a request is tried again, elsewhere first, until its bound; what came of a body that was cut short is
/// kept. Threads:  one of its own, on which `done` runs. It must not be destroyed there.
class HttpReader final : public ObjectReader {
 public:
  /// Speaks to nobody yet. Errors: invalid_argument (an option that cannot be), not_found, permission, io (a file),
  /// not_supported (libcurl).
  static Result<std::unique_ptr<HttpReader>> create(Options options);
  ~HttpReader() override;

  void fetch(ObjectRequest request, Done done) override;
  Counters counters() const override;
  /// Of `background`, in bytes a second; 0: no limit. From now on.
  void set_background_rate(std::uint64_t rate);

 private:
  explicit HttpReader(std::unique_ptr<FetchLoop> loop);
  const std::unique_ptr<FetchLoop> loop_;
};

}  // namespace stellarium::cdn::http
