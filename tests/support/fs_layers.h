#pragma once
#include <dirent.h>
#include <sys/stat.h>

#include <array>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "cas/database.h"
#include "cas/families.h"
#include "cdn/families.h"
#include "fs/families.h"
#include "fs/records.h"

// Small layers written record by record, for tests of what reads them.
namespace stellarium::test {

inline std::unique_ptr<cas::Database> open_database(const std::filesystem::path& dir) {
  std::vector<const cas::Family*> families{cas::kFamilies.begin(), cas::kFamilies.end()};
  families.insert(families.end(), fs::kFamilies.begin(), fs::kFamilies.end());
  families.insert(families.end(), cdn::kFamilies.begin(), cdn::kFamilies.end());
  // Little: each family's memory is made anew for every store, which takes longer than most tests.
  auto database = cas::Database::open(dir, families, {.write_buffer_bytes = 4u << 20});
  if (!database) throw std::runtime_error(to_string(database.error()));
  return std::move(*database);
}

/// Writes one inode and the entry that leads to it; the root is its own parent and has no entry.
inline void put_inode(cas::Database& database, fs::LayerId layer, fs::Ino parent, const std::string& name, fs::Ino ino,
                      const fs::Inode& inode, std::uint8_t rank = 0) {
  cas::Database::Batch batch;
  batch.put(fs::kInodeFamily, fs::inode_key(layer, ino), fs::encode_inode(inode));
  if (ino != fs::kRootIno) {
    batch.put(fs::kDirentFamily, fs::dirent_key(layer, parent, fs::make_cookie(fs::name_hash(name), rank), name),
              fs::encode_dirent({.ino = ino, .type = fs::dirent_type(inode.mode)}));
  }
  if (auto written = database.write(std::move(batch), cas::Database::Sync::no); !written)
    throw std::runtime_error(to_string(written.error()));
}

inline fs::Inode make_directory(fs::Ino parent) {
  fs::Inode inode;
  inode.mode = S_IFDIR | 0755;
  inode.nlink = 2;
  inode.parent = parent;
  return inode;
}
inline fs::Inode make_symlink(const std::string& target) {
  fs::Inode inode;
  inode.mode = S_IFLNK | 0777;
  inode.body = fs::Body::inline_;
  inode.inline_bytes = target;
  inode.size = inode.allocated = target.size();
  return inode;
}
inline fs::Inode make_file(std::string_view content) {
  fs::Inode inode;
  inode.mode = S_IFREG | 0644;
  inode.size = inode.allocated = content.size();
  if (!content.empty()) {
    inode.body = fs::Body::content;
    inode.content = cas::hash_of(as_bytes(content));
  }
  return inode;
}

}  // namespace stellarium::test
