#pragma once
#include <cstdint>
#include <functional>

#include "base/result.h"
#include "cas/recipe.h"
#include "tier/tier.h"

namespace stellarium::tier {

/// Contents of which not all is in the store yet, because they come from elsewhere when they are wanted. The tier asks
/// before it looks for chunks, so that nothing of it waits for another host.
///
/// Threads: all functions may be called concurrently.
class RemoteContents {
 public:
  virtual ~RemoteContents() = default;
  /// Whether there is any such content. Costs nothing.
  virtual bool any() const = 0;
  /// The chunks of a content that the store has no recipe of. Errors: not_found.
  [[nodiscard]] virtual Result<cas::Recipe> recipe(const ContentRef& content) = 0;

  /// Whether some of the content is not here: then nothing fetches it but who reads it.
  virtual bool lacks(const ContentRef& content) = 0;

  using Done = std::function<void(Result<void>)>;
  /// Calls `done` once the store has every chunk of the bytes [offset, offset + size), at once if it has them already,
  /// else on a thread of its own. Errors: unavailable (not within its bound), corrupt (the remote has other bytes), io.
  virtual void bring(const ContentRef& content, std::uint64_t offset, std::uint64_t size, Done done) = 0;
};

}  // namespace stellarium::tier
