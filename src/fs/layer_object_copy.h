#pragma once
#include "base/result.h"
#include "cas/content_store.h"
#include "cas/database.h"
#include "fs/types.h"

namespace stellarium::fs {

/// Writes the layer object of a sealed layer once more, from the layer's records in the database: the same bytes as at
/// its import, so the caller compares the id.
///
/// Memory: 16 bytes for each directory, besides the writer's. Cost: each directory is listed twice.
[[nodiscard]] Result<void> write_layer_object(const cas::Database& database, LayerId layer, cas::ContentWriter& out);

}  // namespace stellarium::fs
