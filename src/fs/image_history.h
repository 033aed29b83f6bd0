#pragma once
#include <optional>
#include <vector>

#include "fs/catalog.h"
#include "fs/names_journal.h"

namespace stellarium::fs {

/// What the journal says of an image, oldest first; nothing of a name that it does not know.
std::optional<std::vector<Catalog::Event>> history_of(const std::vector<JournalRecord>& records, const ImageName& name);

}  // namespace stellarium::fs
