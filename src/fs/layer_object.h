#pragma once
#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/result.h"
#include "cas/content_store.h"
#include "fs/byte_stream.h"
#include "fs/layer_entry.h"
#include "fs/layer_object_format.h"

namespace stellarium::fs {

/// Writes a layer as one content (docs/formats/layer-object.md). Equal trees give equal bytes on every host, whatever
/// the store held before: nothing in it is local. The content's id is the manifest id of the image.
///
/// Memory:  one block (up to about 1 MiB).
/// Threads: one at a time.
class LayerObjectWriter {
 public:
  /// Writes to `out`; the totals of the tree are known before.
  LayerObjectWriter(cas::ContentWriter& out, std::uint64_t names, std::uint64_t inodes);
  Result<void> add(const LayerEntry& entry);
  Result<void> flush();  ///< the last block; the caller then finishes the content
  std::uint64_t size() const { return size_; }

 private:
  void add_inode(const LayerEntry& entry);
  void add_xattrs(const Xattrs& xattrs);

  cas::ContentWriter& out_;
  std::string header_;
  std::array<std::string, layer_object::kColumns> columns_;
  std::uint32_t entries_ = 0;
  std::size_t buffered_ = 0;
  std::int64_t last_mtime_ = 0;
  std::uint64_t size_ = 0;
};

/// Reads a layer object back, entry by entry, and refuses (corrupt) everything that no writer writes: the result is a
/// tree.
///
/// Memory:  one block, and 24 bytes for each directory whose entries are still to come.
/// Threads: one at a time.
class LayerObjectReader {
 public:
  explicit LayerObjectReader(ByteInput& in) : in_{in} {}
  /// The next entry in layer order; nothing behind the last one.
  Result<std::optional<LayerEntry>> next();

 private:
  struct Directory {  // whose entries are still to come
    Ino ino;
    std::uint32_t left;         // entries
    std::uint32_t directories;  // of them that must be directories
  };
  Result<void> read(MutableByteSpan out);
  Result<void> read_header();
  Result<void> read_block();
  Result<void> finish();
  Result<void> place(LayerEntry& entry);
  Result<void> take_inode(LayerEntry& entry, std::uint8_t flags);
  Result<void> take_body(Inode& inode, std::uint8_t flags);
  Result<void> take_xattrs(LayerEntry& entry);
  Result<void> take_link(LayerEntry& entry);
  Result<void> check_inode(const LayerEntry& entry, std::uint8_t flags);
  ByteReader& column(layer_object::Column which) { return columns_[which]; }

  ByteInput& in_;
  bool started_ = false;
  std::uint64_t names_left_ = 0, inodes_ = 0;
  std::uint32_t block_left_ = 0;
  std::string block_;
  std::array<ByteReader, layer_object::kColumns> columns_ = make_columns();
  std::int64_t last_mtime_ = 0;
  Ino last_ino_ = 0;
  std::deque<Directory> directories_;
  std::string last_name_;      // of the same directory
  DirCookie last_cookie_ = 0;  // 0: the directory's first entry comes next
  struct Linked {
    std::uint32_t names_left;
    std::uint8_t type;
  };
  std::unordered_map<Ino, Linked> linked_;  // inodes that still lack names

  static std::array<ByteReader, layer_object::kColumns> make_columns();
};

}  // namespace stellarium::fs
