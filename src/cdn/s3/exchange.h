#pragma once
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/mutex.h"
#include "base/result.h"
#include "cdn/s3/options.h"
#include "cdn/s3/sigv4.h"

namespace stellarium::cdn::s3 {

/// One request, ready to be sent.
struct Sending {
  std::string method, url;
  Fields headers;
  ByteSpan body;            ///< of PUT and POST
  std::uint64_t limit = 0;  ///< of the answer's body, if it says success; of others, 64 KiB are kept
  std::chrono::seconds stalled{};
};

/// What came back, whatever it says.
struct Reply {
  int status = 0;
  std::map<std::string, std::string> headers;  ///< names in lower case; the last one of each
  std::string body;

  bool success() const { return status >= 200 && status < 300; }
  const std::string* header(const std::string& name) const;  ///< nullptr: not sent
};

/// Why nothing came back.
struct Broken {
  std::string why;
  bool passing = false;  ///< another try may succeed
  bool timed_out = false;
  bool too_large = false;  ///< the body is larger than the limit
};

struct Exchanged {
  std::optional<Reply> reply;
  Broken broken;                         ///< where there is no reply
  std::uint64_t sent = 0, received = 0;  ///< bytes of bodies
};

/// Connections to one server, kept open between requests.
///
/// Never follows a redirection: a request is signed for one host, and its session token meant for nobody else.
/// Limits:  64 KiB of header lines in an answer; the body's, see Sending.
/// Threads: all functions may be called concurrently; each request has a connection to itself while it lasts.
class Connections {
 public:
  explicit Connections(const Options& options);
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;
  ~Connections();

  Exchanged exchange(const Sending& sending);

 private:
  struct Handle;
  std::unique_ptr<Handle> take() EXCLUDES(mutex_);
  void give_back(std::unique_ptr<Handle> handle) EXCLUDES(mutex_);

  const std::string ca_file_;
  const std::chrono::milliseconds connect_timeout_;
  Mutex mutex_;
  std::vector<std::unique_ptr<Handle>> idle_ GUARDED_BY(mutex_);
};

}  // namespace stellarium::cdn::s3
