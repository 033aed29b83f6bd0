#pragma once
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include "cas/content_store.h"
#include "support/fake_catalog.h"
#include "support/fake_tier.h"
#include "support/fs_layers.h"
#include "support/random_bytes.h"

namespace stellarium::test {

/// One small image and everything that serves it, for tests of views and mounts.
class FuseImage {
 public:
  static constexpr fs::LayerId kLayer = 3;
  static constexpr fs::TreeId kTree = 5;

  explicit FuseImage(const std::filesystem::path& dir, bool private_mount = false)
      : database{open_database(dir / "db")}, tier{dir, private_mount} {
    auto opened = cas::ContentStore::open(*database, system_io(), dir / "segments", {.workers = 1});
    if (!opened) throw std::runtime_error(to_string(opened.error()));
    contents = std::move(*opened);
  }

  void begin() { put_inode(*database, kLayer, fs::kRootIno, "", fs::kRootIno, make_directory(fs::kRootIno)); }
  fs::Ino add(fs::Ino parent, const std::string& name, const fs::Inode& inode) {
    put_inode(*database, kLayer, parent, name, ++last_, inode);
    return last_;
  }
  fs::Ino add_directory(fs::Ino parent, const std::string& name) { return add(parent, name, make_directory(parent)); }
  fs::Ino add_file(fs::Ino parent, const std::string& name, std::string_view bytes, bool program = false) {
    if (!bytes.empty()) tier.add(bytes);
    fs::Inode inode = make_file(bytes);
    inode.program = program;
    if (program) inode.mode |= 0111;
    return add(parent, name, inode);
  }
  /// The same bytes also go through a write session, so that they have a recipe. `zeros` of them follow `bytes`.
  fs::Ino add_sparse_file(fs::Ino parent, const std::string& name, const std::string& bytes, std::uint64_t zeros) {
    auto session = contents->begin_session();
    auto writer = session->begin(cas::Placement::data);
    if (!writer->append(as_bytes(bytes)) || !writer->append_zeros(zeros)) throw std::runtime_error("append");
    const auto id = writer->finish();
    if (!id || !session->commit()) throw std::runtime_error("commit");
    const auto content = tier.add(bytes + std::string(zeros, '\0'));
    if (content.id != *id) throw std::runtime_error("two ids for one content");
    fs::Inode inode = make_file("");
    inode.size = content.size;
    inode.allocated = bytes.size();
    inode.body = fs::Body::content;
    inode.content = content.id;
    return add(parent, name, inode);
  }
  void set_xattr(fs::Ino ino, const std::string& name, const std::string& value) {
    cas::Database::Batch batch;
    batch.put(fs::kXattrFamily, fs::xattr_key(kLayer, ino, name), value);
    if (!database->write(std::move(batch), cas::Database::Sync::no)) throw std::runtime_error("xattr");
  }
  void publish(const std::string& name, const std::string& tag = "latest", fs::TreeId tree = kTree) {
    fs::Image image;
    image.name = {name, tag};
    image.layer = kLayer;
    image.tree = tree;
    image.files = last_;
    image.bytes = 1 << 20;
    image.created = {1'700'000'000, 0};
    if (!catalog.publish(image, {})) throw std::runtime_error("publish");
  }

  std::unique_ptr<cas::Database> database;
  std::unique_ptr<cas::ContentStore> contents;
  FakeTier tier;
  FakeCatalog catalog;

 private:
  fs::Ino last_ = fs::kRootIno;
};

inline std::string random_text(std::uint64_t seed, std::size_t size) {
  const auto bytes = random_bytes(seed, size);
  return std::string{as_text(bytes)};
}

}  // namespace stellarium::test
