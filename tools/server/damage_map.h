#pragma once
#include <functional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "cas/content_store.h"
#include "fs/clones.h"
#include "fs/layer_reader.h"
#include "tools/server/salvage.h"
#include "tools/server/store.h"

namespace stellarium::server {

/// A file that cannot be delivered, or a part of a volume.
struct LostFile {
  std::string image;  ///< or clone, "CLONE@SNAPSHOT", "volume NAME"
  std::string path;
};

/// Which files of which images, clones and snapshots, and which blocks of which volumes, need chunks that cannot be
/// delivered. Contents that many files share are looked into once. Of clones and snapshots only those files are named
/// whose records are their own; the others are the image's.
///
/// Cost: a walk over each image, and over the own records of each clone; over the names of a clone only if it lost any.
class DamageMap {
 public:
  /// Borrows both. `complete`: `damaged` holds every damaged chunk; else each chunk is also looked up, because the
  /// index could not be walked to its end.
  DamageMap(Store& store, const ChunkSet& damaged, bool complete)
      : store_{store}, damaged_{damaged}, complete_{complete} {}

  /// `go_on` is asked between files; after a no what was found until then is returned.
  Result<std::vector<LostFile>> files(const std::function<bool()>& go_on);
  /// What was wrong with records of names and inodes: one line each, after files().
  const std::vector<std::string>& damaged_records() const { return records_; }

 private:
  using Inodes = std::unordered_set<fs::Ino>;
  Result<void> add_image(const fs::Image& image, const std::function<bool()>& go_on);
  Result<void> add_clones(const std::function<bool()>& go_on);
  Result<void> add_tree(const std::string& ref, const std::vector<fs::LayerId>& layers,
                        const std::unordered_map<fs::LayerId, Inodes>& lost, const std::function<bool()>& go_on);
  Result<void> add_volumes();
  Result<Inodes> lost_inodes(fs::LayerId layer);
  Result<void> add_files(const std::string& ref, const fs::LayerReader& reader,
                         const std::function<bool(fs::Ino)>& asked, const std::function<bool()>& go_on);
  bool is_lost(const cas::ChunkId& chunk);
  bool is_lost(const tier::ContentRef& content);

  Store& store_;
  const ChunkSet& damaged_;
  const bool complete_;
  std::vector<LostFile> lost_;
  std::vector<std::string> records_;
  std::unordered_map<cas::ContentId, bool, cas::HashOfHash> known_;
};

}  // namespace stellarium::server
