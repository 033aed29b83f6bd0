#pragma once
#include <map>
#include <string>

#include "base/result.h"
#include "tier/hot_folder.h"

namespace stellarium::tier {

/// The contents that eviction leaves alone, kept in the file `pins` of the hot folder: a header line, then `ID SIZE`
/// lines in ascending order. It is replaced as a whole, so that a crash leaves the old or the new list.
///
/// Threads: one at a time.
class PinList {
 public:
  /// Lines that are not pins are logged and skipped: losing a pin costs time, refusing to start costs every mount.
  static Result<PinList> load(const HotFolder& folder);

  bool contains(const cas::ContentId& id) const { return pins_.contains(id); }
  const std::map<cas::ContentId, std::uint64_t>& all() const { return pins_; }  ///< with sizes in bytes
  /// Both are durable on return; after an error nothing changed.
  Result<void> add(const HotFolder& folder, const cas::ContentId& id, std::uint64_t size);
  Result<void> remove(const HotFolder& folder, const cas::ContentId& id);

 private:
  Result<void> save(const HotFolder& folder, const std::map<cas::ContentId, std::uint64_t>& pins);

  std::map<cas::ContentId, std::uint64_t> pins_;
};

}  // namespace stellarium::tier
