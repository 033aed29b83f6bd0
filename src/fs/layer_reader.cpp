#include "fs/layer_reader.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "fs/families.h"
#include "fs/records.h"

namespace stellarium::fs {
namespace {

constexpr int kMaxSymlinksFollowed = 40;  // as in Linux
constexpr int kStepsBeforeSeek = 8;       // stepping over this many records is cheaper than finding one anew

std::string where(LayerId layer, Ino ino) {
  return "layer " + std::to_string(layer) + ", inode " + std::to_string(ino);
}

Result<Dirent> decode_entry(std::string_view key, std::string_view value) {
  const Result<DirentKey> decoded_key = decode_dirent_key(key);
  if (!decoded_key) return fail(decoded_key.error());
  const Result<DirentValue> decoded_value = decode_dirent(value);
  if (!decoded_value) {
    return fail(decoded_value.error(),
                where(decoded_key->layer, decoded_key->parent) + ", entry " + std::string{decoded_key->name});
  }
  return Dirent{decoded_key->cookie, decoded_value->ino, decoded_value->type, std::string{decoded_key->name}};
}

// Linux's resolution of one path inside one layer. Names still to be walked are kept last one first.
class PathWalk {
 public:
  PathWalk(const LayerReader& reader, bool follow_last) : reader_{reader}, follow_last_{follow_last} {}

  Result<LayerReader::Found> run(std::string_view path) {
    push(path);
    if (const Result<void> entered = enter(kRootIno); !entered) return fail(entered.error());
    while (!names_.empty()) {
      const std::string name = std::move(names_.back());
      names_.pop_back();
      if (const Result<void> stepped = step(name); !stepped) return fail(stepped.error());
    }
    return std::move(at_);
  }

 private:
  void push(std::string_view path) {
    while (!path.empty()) {
      const std::size_t slash = path.rfind('/');
      const std::string_view name = path.substr(slash == std::string_view::npos ? 0 : slash + 1);
      if (!name.empty() && name != ".") names_.emplace_back(name);
      path = path.substr(0, slash == std::string_view::npos ? 0 : slash);
    }
  }

  Result<void> enter(Ino ino) {
    Result<std::optional<Inode>> inode = reader_.inode(ino);
    if (!inode) return fail(inode.error());
    if (!*inode) return fail(Errc::corrupt, where(reader_.layer(), ino) + " is missing");
    at_ = {ino, std::move(**inode)};
    return {};
  }

  Result<void> step(const std::string& name) {
    if (!S_ISDIR(at_.inode.mode))
      return tl::unexpected<Error>(Error{Errc::invalid_argument, name + " is below no directory", ENOTDIR});
    if (name == "..") return enter(at_.inode.parent);
    const Result<std::optional<Dirent>> entry = reader_.lookup(at_.ino, name);
    if (!entry) return fail(entry.error());
    if (!*entry) return fail(Errc::not_found, "there is no " + name);
    const Ino directory = at_.ino;
    if (const Result<void> entered = enter((*entry)->ino); !entered) return entered;
    if (!S_ISLNK(at_.inode.mode) || (names_.empty() && !follow_last_)) return {};
    if (++followed_ > kMaxSymlinksFollowed) {
      return tl::unexpected<Error>(Error{Errc::invalid_argument, name + " is in a chain of too many symlinks", ELOOP});
    }
    const std::string target = std::move(at_.inode.inline_bytes);
    push(target);
    return enter(target.front() == '/' ? kRootIno : directory);
  }

  const LayerReader& reader_;
  const bool follow_last_;
  LayerReader::Found at_;
  std::vector<std::string> names_;
  int followed_ = 0;
};

}  // namespace

Result<LayerReader::Place> LayerReader::place(Ino parent, std::string_view name) const {
  const std::uint64_t hash = name_hash(name);
  const DirCookie first = make_cookie(hash, 0);
  for (const LayerId layer : layers_) {
    const Result<std::optional<std::string>> value =
        database_.get(kDirentFamily, dirent_key(layer, parent, first, name));
    if (!value) return fail(value.error());
    if (!*value) continue;
    const Result<DirentValue> decoded = decode_dirent(**value);
    if (!decoded) return fail(decoded.error(), where(layer, parent) + ", entry " + std::string{name});
    return Place{layer, {first, decoded->ino, decoded->type, std::string{name}}};
  }
  // Nowhere, or behind other names of the same hash, which only somebody looking for them will ever find.
  Place free{0, {first, 0, 0, std::string{name}}};
  for (const LayerId layer : layers_) {
    const std::string prefix = dirent_prefix(layer, parent);
    const auto cursor = database_.scan(kDirentFamily, dirent_key(layer, parent, first), prefix_end(prefix));
    for (; cursor->valid(); cursor->next()) {
      Result<Dirent> entry = decode_entry(cursor->key(), cursor->value());
      if (!entry) return fail(entry.error());
      if (entry->cookie >> 8 != hash) break;
      if (entry->name == name) return Place{layer, std::move(*entry)};
      free.entry.cookie = std::max(free.entry.cookie, entry->cookie + 1);
    }
    if (const Result<void> status = cursor->status(); !status) return fail(status.error(), "looking for a name");
  }
  return free;
}

Result<std::optional<Dirent>> LayerReader::lookup(Ino parent, std::string_view name) const {
  Result<Place> found = place(parent, name);
  if (!found) return fail(found.error());
  if (found->layer == 0 || found->entry.ino == 0) return std::nullopt;
  return std::move(found->entry);
}

Result<std::optional<LayerReader::Located>> LayerReader::locate(Ino ino) const {
  for (const LayerId layer : layers_) {
    const Result<std::optional<std::string>> value = database_.get(kInodeFamily, inode_key(layer, ino));
    if (!value) return fail(value.error());
    if (!*value) continue;
    Result<Inode> decoded = decode_inode(**value);
    if (!decoded) return fail(decoded.error(), where(layer, ino));
    return Located{layer, std::move(*decoded)};
  }
  return std::nullopt;
}

Result<std::optional<Inode>> LayerReader::inode(Ino ino) const {
  Result<std::optional<Located>> located = locate(ino);
  if (!located) return fail(located.error());
  if (!*located) return std::nullopt;
  return std::move((*located)->inode);
}

LayerReader::Listing::Listing(const cas::Database& database, const std::vector<LayerId>& layers, Ino dir,
                              DirCookie after) {
  for (const LayerId layer : layers) {
    const std::string prefix = dirent_prefix(layer, dir);
    cursors_.push_back(database.scan(kDirentFamily, dirent_key(layer, dir, after + 1), prefix_end(prefix)));
  }
}

Result<std::optional<Dirent>> LayerReader::Listing::next() {
  // Keys of one directory differ between layers in the number of the layer only.
  const auto behind_layer = [](std::string_view key) { return key.substr(sizeof(LayerId)); };
  while (true) {
    const cas::Database::Cursor* least = nullptr;
    for (const auto& cursor : cursors_) {
      if (!cursor->valid()) {
        if (const Result<void> status = cursor->status(); !status) return fail(status.error(), "listing a directory");
        continue;
      }
      if (least == nullptr || behind_layer(cursor->key()) < behind_layer(least->key())) least = cursor.get();
    }
    if (least == nullptr) return std::nullopt;
    Result<Dirent> entry = decode_entry(least->key(), least->value());
    if (!entry) return fail(entry.error());
    if (cursors_.size() == 1) {
      cursors_.front()->next();
    } else {
      const std::string key{behind_layer(least->key())};
      for (const auto& cursor : cursors_)
        if (cursor->valid() && behind_layer(cursor->key()) == key) cursor->next();
    }
    if (entry->ino != 0) return std::move(*entry);
  }
}

LayerReader::InodeScan::InodeScan(const cas::Database& database, const std::vector<LayerId>& layers)
    : database_{database} {
  for (const LayerId layer : layers) layers_.push_back({layer_prefix(layer), nullptr});
}

Result<std::optional<Inode>> LayerReader::InodeScan::at(Ino ino) {
  for (auto& [prefix, cursor] : layers_) {
    std::string key = prefix;
    put_be<std::uint64_t>(key, ino);
    if (!cursor) cursor = database_.scan_from(key, kInodeFamily, prefix, prefix_end(prefix));
    for (int steps = 0; steps < kStepsBeforeSeek && cursor->valid() && cursor->key() < key; ++steps) cursor->next();
    if (!cursor->valid() || cursor->key() != key) cursor->seek(key);
    if (cursor->valid() && cursor->key() == key) {
      Result<Inode> decoded = decode_inode(cursor->value());
      if (!decoded) return fail(decoded.error(), "inode " + std::to_string(ino));
      return std::move(*decoded);
    }
    if (const Result<void> status = cursor->status(); !status) return fail(status.error(), "reading inodes");
  }
  return std::nullopt;
}

Result<std::optional<std::pair<Ino, Inode>>> LayerReader::InodeScan::next() {
  std::optional<std::pair<InodeKey, std::string_view>> least;  // of equal numbers the uppermost layer's
  for (auto& [prefix, cursor] : layers_) {
    if (!cursor) cursor = database_.scan(kInodeFamily, prefix, prefix_end(prefix));
    if (!cursor->valid()) {
      if (const Result<void> status = cursor->status(); !status) return fail(status.error(), "reading inodes");
      continue;
    }
    const Result<InodeKey> key = decode_inode_key(cursor->key());
    if (!key) return fail(key.error());
    if (!least || key->ino < least->first.ino) least.emplace(*key, cursor->value());
  }
  if (!least) return std::nullopt;
  const InodeKey key = least->first;
  Result<Inode> inode = decode_inode(least->second);
  if (!inode) return fail(inode.error(), where(key.layer, key.ino));
  for (const auto& [prefix, cursor] : layers_) {
    if (!cursor->valid()) continue;
    const Result<InodeKey> at = decode_inode_key(cursor->key());
    if (at && at->ino == key.ino) cursor->next();
  }
  return std::pair{key.ino, std::move(*inode)};
}

Result<std::optional<std::string>> LayerReader::xattr(Ino ino, std::string_view name) const {
  LayerId layer = layers_.front();
  if (layers_.size() > 1) {
    const Result<std::optional<Located>> located = locate(ino);
    if (!located) return fail(located.error());
    if (!*located) return std::nullopt;
    layer = (*located)->layer;
  }
  return database_.get(kXattrFamily, xattr_key(layer, ino, name));
}

Result<std::vector<std::pair<std::string, std::string>>> LayerReader::xattrs(Ino ino) const {
  std::vector<std::pair<std::string, std::string>> found;
  LayerId layer = layers_.front();
  if (layers_.size() > 1) {
    const Result<std::optional<Located>> located = locate(ino);
    if (!located) return fail(located.error());
    if (!*located) return found;
    layer = (*located)->layer;
  }
  const std::string prefix = xattr_key(layer, ino);
  const std::unique_ptr<cas::Database::Cursor> cursor = database_.scan(kXattrFamily, prefix, prefix_end(prefix));
  for (; cursor->valid(); cursor->next()) {
    const Result<XattrKey> key = decode_xattr_key(cursor->key());
    if (!key) return fail(key.error(), where(layer, ino));
    found.emplace_back(key->name, cursor->value());
  }
  if (const Result<void> status = cursor->status(); !status) return fail(status.error(), "reading xattrs");
  return found;
}

Result<bool> LayerReader::any_xattrs() const {
  for (const LayerId layer : layers_) {
    const std::string prefix = layer_prefix(layer);
    const std::unique_ptr<cas::Database::Cursor> cursor = database_.scan(kXattrFamily, prefix, prefix_end(prefix));
    if (cursor->valid()) return true;
    if (const Result<void> status = cursor->status(); !status) return fail(status.error(), "reading xattrs");
  }
  return false;
}

Result<LayerReader::Found> LayerReader::resolve(std::string_view path, bool follow_last) const {
  Result<Found> found = PathWalk{*this, follow_last}.run(path);
  if (!found) return fail(found.error(), path.empty() ? "/" : std::string{path});
  return found;
}

}  // namespace stellarium::fs
