#include "fs/layer_tables.h"

#include <system_error>

#include "fs/families.h"
#include "fs/records.h"

namespace stellarium::fs {
namespace {

constexpr std::uint64_t kRecordsPerTable =
    250'000;  // bounds the filter and index that a table keeps in memory while it grows

}  // namespace

LayerTables::LayerTables(cas::Database& database, LayerId layer, std::filesystem::path scratch)
    : database_{database},
      layer_{layer},
      scratch_{std::move(scratch)},
      families_{{{&kDirentFamily, nullptr, {}}, {&kInodeFamily, nullptr, {}}, {&kXattrFamily, nullptr, {}}}} {}

LayerTables::~LayerTables() {
  for (Family& family : families_) {
    family.open.reset();
    std::error_code ignored;  // whoever opens the store next removes them
    for (const std::filesystem::path& file : family.files) std::filesystem::remove(file, ignored);
  }
}

Result<void> LayerTables::add(Part part, const LayerEntry& entry) {
  if (part == Part::dirents) {
    if (entry.cookie == 0) return {};
    const DirentValue value{.ino = entry.ino, .type = dirent_type(entry.inode.mode)};
    return put(family(part), dirent_key(layer_, entry.parent, entry.cookie, entry.name), encode_dirent(value));
  }
  if (!entry.first) return {};
  if (part == Part::inodes) {
    ++inodes_;
    bytes_ += entry.inode.size;
    return put(family(part), inode_key(layer_, entry.ino), encode_inode(entry.inode));
  }
  for (const auto& [name, value] : entry.xattrs) {
    if (Result<void> put_it = put(family(part), xattr_key(layer_, entry.ino, name), value); !put_it) return put_it;
  }
  return {};
}

Result<void> LayerTables::add(const LayerEntry& entry) {
  for (const Part part : {Part::dirents, Part::inodes, Part::xattrs}) {
    if (Result<void> added = add(part, entry); !added) return added;
  }
  return {};
}

Result<void> LayerTables::finish(Part part) {
  return close(family(part));
}

Result<void> LayerTables::put(Family& family, const std::string& key, std::string_view value) {
  if (family.open && family.open->entries() >= kRecordsPerTable) {
    if (Result<void> closed = close(family); !closed) return closed;
  }
  if (!family.open) {
    const std::string number = std::to_string(family.files.size());
    family.files.push_back(scratch_ /
                           ("layer-" + std::to_string(layer_) + "-" + family.family->name + "-" + number + ".sst"));
    Result<std::unique_ptr<cas::Database::TableBuilder>> table =
        database_.build_table(*family.family, family.files.back());
    if (!table) return fail(table.error());
    family.open = std::move(*table);
  }
  return family.open->add(key, value);
}

Result<void> LayerTables::close(Family& family) {
  if (!family.open) return {};
  if (Result<void> finished = family.open->finish(); !finished) return finished;
  family.open.reset();
  return {};
}

Result<void> LayerTables::ingest() {
  std::vector<cas::Database::Tables> tables;
  for (Family& family : families_) {
    if (Result<void> closed = close(family); !closed) return closed;
    tables.push_back({family.family, family.files});
  }
  if (Result<void> taken = database_.ingest(tables); !taken) return taken;
  for (Family& family : families_) family.files.clear();
  return {};
}

}  // namespace stellarium::fs
