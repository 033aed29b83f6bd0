#pragma once
#include <cstdint>

#include "base/result.h"
#include "cas/content_store.h"
#include "cdn/oci/merged_tree.h"
#include "fs/byte_stream.h"
#include "fs/import_sealing.h"
#include "fs/tar_import.h"

namespace stellarium::cdn::oci {

/// Reads one layer's tar to its end: bodies into `session`, names into `tree`, whose next layer it becomes.
///
/// Errors: invalid_argument naming the member, cancelled, those of the input and the store.
class LayerImport {
 public:
  LayerImport(cas::WriteSession& session, MergedTree& tree, fs::ImportObserver& observer, fs::ImportReport& report)
      : session_{session}, tree_{tree}, observer_{observer}, report_{report} {}
  [[nodiscard]] Result<void> run(fs::ByteInput& tar);

 private:
  class Reading;

  cas::WriteSession& session_;
  MergedTree& tree_;
  fs::ImportObserver& observer_;
  fs::ImportReport& report_;
  std::uint64_t bytes_ = 0, members_ = 0;  // of earlier layers, for the display
};

}  // namespace stellarium::cdn::oci
