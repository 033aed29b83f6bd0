#pragma once
#include <cstdint>

#include "base/result.h"
#include "cas/content_store.h"
#include "cas/database.h"
#include "fs/catalog.h"
#include "fs/layer_builder.h"

namespace stellarium::fs {

/// What an import took.
struct ImportReport {
  Image image;
  std::uint64_t files = 0, directories = 0, links = 0, others = 0;
  cas::WriteSession::Totals totals;
  void count(std::uint32_t mode);  ///< one more of this kind
};

/// Makes a sealed layer of what was added to `builder` and publishes it as `report.image.name`; a layer with the same
/// tree that is here already gets that name, too. Completes the image and the totals of `report`.
///
/// Errors: those of LayerBuilder::assemble; out_of_space, io. Nothing of it stays visible then.
[[nodiscard]] Result<void> seal_import(cas::Database& database, Catalog& catalog, LayerBuilder& builder,
                                       cas::WriteSession& session, ImportReport& report);

}  // namespace stellarium::fs
