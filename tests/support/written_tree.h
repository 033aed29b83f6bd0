#pragma once
#include <algorithm>
#include <iterator>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "fs/layer_store.h"
#include "fs/writable_tree.h"
#include "support/fs_layers.h"
#include "support/temp_dir.h"

namespace stellarium::test {

/// Two names of one hash.
inline constexpr const char* kTwinNames[] = {"n0ea62abd2e58ca", "n728c155df71b63"};

/// The error of a system call: 0 for success.
template <typename T>
int refusal(const Result<T>& result) {
  return result ? 0 : errno_of(result.error());
}

/// A clone of a small image:
///   1 /, 2 /usr (user.label), 3 /usr/bin, 4 /usr/bin/dash (two xattrs), 5 /usr/bin/sh → dash,
///   6 /hello and /usr/hello, 7 /empty, 8 /null (a device)
class WrittenTree {
 public:
  WrittenTree() {
    put("", fs::kRootIno, fs::kRootIno, directory(fs::kRootIno, 3));
    put("usr", fs::kRootIno, 2, directory(fs::kRootIno, 3));
    put("bin", 2, 3, directory(2, 2));
    put("dash", 3, 4, make_file("#!"));
    put("sh", 3, 5, make_symlink("dash"));
    put("hello", fs::kRootIno, 6, make_file("hello"));
    put("hello", 2, 6, make_file("hello"));
    put("empty", fs::kRootIno, 7, make_file(""));
    fs::Inode device;
    device.mode = S_IFCHR | 0666;
    device.rdev = 0x103;
    put("null", fs::kRootIno, 8, device);
    fs::Inode hello = make_file("hello");
    hello.nlink = 2;
    put("hello", fs::kRootIno, 6, hello);
    put_xattrs(2, {{"user.label", "base"}});
    put_xattrs(4, {{"user.one", "1"}, {"user.two", "2"}});
    cas::Database::Batch batch;
    fs::put_layer(batch, 1, {.state = fs::LayerRecord::State::sealed, .tree = 1});
    fs::put_layer(batch, 2, {.state = fs::LayerRecord::State::writable, .tree = 2, .parent = 1, .next_ino = kFirstIno});
    write(std::move(batch));
    open();
  }

  fs::WritableTree& operator*() const { return *tree_; }
  fs::WritableTree* operator->() const { return tree_.get(); }
  cas::Database& database() const { return *database_; }
  fs::LayerId layer() const { return layers_.front(); }

  void reopen() {
    tree_.reset();
    open();
  }
  void reopen_database() {
    tree_.reset();
    database_.reset();
    database_ = open_database(dir_ / "db");
    open();
  }
  /// Freezes what was written so far and goes on in a new layer above.
  void stack() {
    fs::LayerRecord record = layer_record();
    record.state = fs::LayerRecord::State::frozen;
    cas::Database::Batch batch;
    fs::put_layer(batch, layer(), record);
    record.state = fs::LayerRecord::State::writable;
    record.parent = layer();
    fs::put_layer(batch, layer() + 1, record);
    write(std::move(batch));
    layers_.insert(layers_.begin(), layer() + 1);
    reopen();
  }
  /// The layer's parent takes its place, which says all that it says (fs/layer_fold.h); its records go.
  void leave_out(fs::LayerId gone) {
    const auto at = std::ranges::find(layers_, gone);
    const fs::LayerId above = *std::prev(at), below = *std::next(at);
    auto left = tree_->leave_out(gone, [&] {
      fs::LayerRecord record = fs::read_layer(*database_, above).value().value();
      record.parent = below;
      cas::Database::Batch batch;
      fs::put_layer(batch, above, record);
      return database_->write(std::move(batch), cas::Database::Sync::no);
    });
    if (left) left = fs::erase_layer(*database_, gone);
    if (!left) throw std::runtime_error(to_string(left.error()));
    layers_.erase(at);
  }
  const std::vector<fs::LayerId>& layers() const { return layers_; }
  fs::LayerRecord layer_record() const { return fs::read_layer(*database_, layer()).value().value(); }

  fs::Inode stat(fs::Ino ino) const {
    const fs::Inode inode = tree_->reader().inode(ino).value().value();
    if (tree_->inode(ino).value() != inode) throw std::runtime_error("the tree remembers something else");
    return inode;
  }
  /// Number behind a path; 0 if there is none.
  fs::Ino find(std::string_view path) const {
    const auto found = tree_->reader().resolve(path, false);
    return found ? found->ino : 0;
  }
  std::map<std::string, std::string> xattrs(fs::Ino ino) const {
    const auto all = tree_->reader().xattrs(ino).value();
    return {all.begin(), all.end()};
  }
  /// Whether the written layer itself has a record of this inode.
  bool has_record(fs::Ino ino) const {
    return database_->get(fs::kInodeFamily, fs::inode_key(layer(), ino))->has_value();
  }
  /// What the written layer itself says of a name.
  std::optional<fs::DirentValue> entry(fs::Ino parent, std::string_view name, std::uint8_t rank = 0) const {
    const auto cookie = fs::make_cookie(fs::name_hash(name), rank);
    const auto value = database_->get(fs::kDirentFamily, fs::dirent_key(layer(), parent, cookie, name)).value();
    if (!value) return std::nullopt;
    return fs::decode_dirent(*value).value();
  }
  /// Adds to the image, or to the written layer.
  void put(const std::string& name, fs::Ino parent, fs::Ino ino, const fs::Inode& inode, std::uint8_t rank = 0,
           fs::LayerId layer = 1) {
    put_inode(*database_, layer, parent, name, ino, inode, rank);
  }
  void put_xattrs(fs::Ino ino, const std::map<std::string, std::string>& xattrs) {
    cas::Database::Batch batch;
    for (const auto& [name, value] : xattrs) batch.put(fs::kXattrFamily, fs::xattr_key(1, ino, name), value);
    fs::Inode inode = fs::LayerReader{*database_, 1}.inode(ino).value().value();
    inode.has_xattrs = true;
    batch.put(fs::kInodeFamily, fs::inode_key(1, ino), fs::encode_inode(inode));
    write(std::move(batch));
  }
  void write(cas::Database::Batch&& batch) {
    if (auto written = database_->write(std::move(batch), cas::Database::Sync::no); !written)
      throw std::runtime_error(to_string(written.error()));
  }

  static constexpr fs::Ino kFirstIno = 100;  // of the clone's own

 private:
  static fs::Inode directory(fs::Ino parent, std::uint32_t nlink) {
    fs::Inode inode = make_directory(parent);
    inode.nlink = nlink;
    return inode;
  }
  void open() {
    auto tree = fs::WritableTree::open(*database_, layers_);
    if (!tree) throw std::runtime_error(to_string(tree.error()));
    tree_ = std::move(*tree);
  }

  TempDir dir_;
  std::unique_ptr<cas::Database> database_ = open_database(dir_ / "db");
  std::vector<fs::LayerId> layers_{2, 1};
  std::unique_ptr<fs::WritableTree> tree_;
};

inline fs::WritableTree::NewNode new_file(std::uint32_t permissions = 0644) {
  return {.mode = S_IFREG | permissions, .uid = 1000, .gid = 1000};
}
inline fs::WritableTree::NewNode new_directory(std::uint32_t permissions = 0755) {
  return {.mode = S_IFDIR | permissions, .uid = 1000, .gid = 1000};
}

}  // namespace stellarium::test
