#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "fs/catalog.h"
#include "fs/layer_reader.h"
#include "tools/server/store.h"

namespace stellarium::server {

/// An image that cannot be swept away while this object lives.
struct OpenImage {
  fs::Image image;
  std::shared_ptr<fs::Catalog::LayerPin> pin;
  fs::LayerReader reader;
};
/// The same of whatever REF can name: an image, a clone as it is at this moment, or a snapshot.
struct OpenTree {
  std::vector<std::shared_ptr<fs::Catalog::LayerPin>> pins;  // one a layer
  fs::LayerReader reader;
  std::uint64_t bytes = 0;                 // of an image's contents; 0: not known
  std::shared_ptr<const void> lease = {};  // staged files that its records name stay
};
Result<OpenTree> open_tree(Store& store, const std::string& ref);
/// "NAME@SNAPSHOT" taken apart; nothing without an '@'.
struct SnapshotRef {
  std::string clone, snapshot;
};
std::optional<SnapshotRef> parse_snapshot(const std::string& ref);
/// Errors: invalid_argument (malformed REF), not_found.
Result<OpenImage> open_image(Store& store, const std::string& ref);

/// A staged file's size and times, which its record only guesses.
Result<void> refresh(Store& store, fs::Inode& inode);

/// Reads bytes [offset, offset + out.size()) of a file's content, cut at its end, wherever they are kept.
Result<std::size_t> read_body(Store& store, const fs::Inode& inode, std::uint64_t offset, MutableByteSpan out);

/// Calls `visit` for `path` (which names `ino`) and, where it is a directory, everything below it: parents before
/// children, names of a directory in byte order. Memory: one directory's entries per level. `visit` returns false to
/// stop, which is no error.
struct Visited {
  std::string path;
  fs::Ino ino;
  const fs::Inode& inode;
};
///
/// A directory or inode that cannot be read ends the walk with that error, unless `unreadable` says (by true) that it
/// goes on without it.
using Unreadable = std::function<bool(const std::string& path, const Error& error)>;
Result<void> walk(const fs::LayerReader& reader, const std::string& path, fs::Ino ino,
                  const std::function<bool(const Visited&)>& visit, const Unreadable& unreadable = {});

/// The entries of one directory, by name.
Result<std::vector<fs::Dirent>> sorted_entries(const fs::LayerReader& reader, fs::Ino dir);

/// "/a" + "b" → "/a/b"
std::string join(const std::string& dir, const std::string& name);

/// `path` without trailing and doubled slashes, beginning with one.
std::string normal_path(const std::string& path);

}  // namespace stellarium::server
