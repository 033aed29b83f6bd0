#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

// Images travel as static files under a base address (docs/formats/cdn.md). These are the two seams to whatever keeps
// such files: a folder, a web server, an object store.
namespace stellarium::cdn {

/// Whether this can be the path of an object: 1 … 512 bytes, parts of [A-Za-z0-9._+-] between single slashes, none of
/// which is empty or begins with a dot. So it can be put behind any address or folder as it is.
bool is_object_path(std::string_view path);

/// Who waits for it.
enum class Urgency : std::uint8_t {
  waited_for,  ///< a program, now
  soon,        ///< what a program will read next
  background,  ///< nobody; it may be held back by a limit of the rate
};

/// An object or a part of one, as it is asked for.
struct ObjectRequest {
  std::string path = {};  ///< is_object_path
  std::uint64_t offset = 0;
  std::optional<std::uint64_t> size = {};  ///< exactly so many bytes; nothing: all from `offset` to the end
  std::uint64_t limit = 16u << 20;         ///< of bytes where no size is given: more is refused before it is kept
  Urgency urgency = Urgency::waited_for;
  unsigned distrusted = 0;  ///< how often it brought wrong bytes: then another origin is asked first, and no cache
};

/// Reads objects of one remote.
///
/// Shape:   `fetch` returns at once; `done` is called exactly once, on a thread of the reader, without a lock held, and
///          must not block for long. Destroying the reader ends what is under way with `cancelled`.
/// Checks:  the size, and nothing else: who knows what the bytes should be compares them, and asks again, `distrusted`.
/// Errors:  not_found (every origin says so), permission (refused: credentials), unavailable (no origin delivered it
///          within the bounds), invalid_argument (no object path; larger than the limit), cancelled.
/// Threads: all functions may be called concurrently.
class ObjectReader {
 public:
  virtual ~ObjectReader() = default;
  using Done = std::function<void(Result<std::string>)>;
  virtual void fetch(ObjectRequest request, Done done) = 0;

  struct Counters {
    std::uint64_t requests = 0;  ///< sent, repeated ones included
    std::uint64_t bytes = 0;     ///< of bodies that arrived, used or not
    std::uint64_t retries = 0;   ///< after an answer that was no success, or none
    std::uint64_t hedges = 0;    ///< sent beside a slow one
    std::uint64_t refused = 0;   ///< answers of 5xx and 429
    std::uint64_t cut_short = 0, timed_out = 0, distrusted = 0;
    void add(const Counters& more) {
      requests += more.requests, bytes += more.bytes, retries += more.retries, hedges += more.hedges;
      refused += more.refused, cut_short += more.cut_short, timed_out += more.timed_out, distrusted += more.distrusted;
    }
  };
  virtual Counters counters() const = 0;
};

/// Keeps objects of one remote: where an image is published.
///
/// Shape:   an object appears complete or not at all, also when the writer is killed.
/// Errors:  exists (`Existing::keep` and another content is there already), permission, out_of_space, unavailable, io.
/// Threads: all functions may be called concurrently.
class ObjectTarget {
 public:
  virtual ~ObjectTarget() = default;
  /// Its size, asked of the origin itself and never of a cache; nothing if it is not there.
  [[nodiscard]] virtual Result<std::optional<std::uint64_t>> size_of(const std::string& path) = 0;
  /// The whole object; nothing if it is not there. Errors: invalid_argument (larger than `limit`).
  [[nodiscard]] virtual Result<std::optional<std::string>> read(const std::string& path, std::uint64_t limit) = 0;

  enum class Existing : std::uint8_t {
    keep,     ///< objects that are named by their content: one that is there already is the same
    replace,  ///< names
  };
  [[nodiscard]] virtual Result<void> write(const std::string& path, ByteSpan bytes, Existing existing) = 0;

  struct Listed {
    std::string path;
    std::uint64_t size = 0;
    std::int64_t written = 0;  ///< seconds since 1970, by the target's clock
  };
  /// Every object whose path begins with `prefix`, in any order; ends with the first error of `found`.
  [[nodiscard]] virtual Result<void> list(const std::string& prefix,
                                          const std::function<Result<void>(const Listed&)>& found) = 0;
  /// Success if it is not there.
  [[nodiscard]] virtual Result<void> remove(const std::string& path) = 0;
};

}  // namespace stellarium::cdn
