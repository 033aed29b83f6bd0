#include "fs/layer_reader.h"

#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "fs/families.h"
#include "fs/records.h"

namespace stellarium::fs {
namespace {

constexpr int kMaxSymlinksFollowed = 40;  // as in Linux
constexpr int kStepsBeforeSeek = 8;       // stepping over this many records is cheaper than finding one anew

std::string place(LayerId layer, Ino ino) {
  return "layer " + std::to_string(layer) + ", inode " + std::to_string(ino);
}

Result<Dirent> decode_entry(std::string_view key, std::string_view value) {
  const Result<DirentKey> decoded_key = decode_dirent_key(key);
  if (!decoded_key) return fail(decoded_key.error());
  const Result<DirentValue> decoded_value = decode_dirent(value);
  if (!decoded_value) {
    return fail(decoded_value.error(),
                place(decoded_key->layer, decoded_key->parent) + ", entry " + std::string{decoded_key->name});
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
    if (!*inode) return fail(Errc::corrupt, place(reader_.layer(), ino) + " is missing");
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

Result<std::optional<Dirent>> LayerReader::lookup(Ino parent, std::string_view name) const {
  const std::uint64_t hash = name_hash(name);
  const DirCookie first = make_cookie(hash, 0);
  const Result<std::optional<std::string>> value =
      database_.get(kDirentFamily, dirent_key(layer_, parent, first, name));
  if (!value) return fail(value.error());
  if (*value) {
    const Result<DirentValue> decoded = decode_dirent(**value);
    if (!decoded) return fail(decoded.error(), place(layer_, parent) + ", entry " + std::string{name});
    return Dirent{first, decoded->ino, decoded->type, std::string{name}};
  }
  // Not there, or there behind other names of the same hash, which only somebody looking for them will ever find.
  Listing same_hash{database_, layer_, parent, first - 1};
  while (true) {
    Result<std::optional<Dirent>> entry = same_hash.next();
    if (!entry) return entry;
    if (!*entry || (*entry)->cookie >> 8 != hash) return std::nullopt;
    if ((*entry)->name == name) return entry;
  }
}

Result<std::optional<Inode>> LayerReader::inode(Ino ino) const {
  const Result<std::optional<std::string>> value = database_.get(kInodeFamily, inode_key(layer_, ino));
  if (!value) return fail(value.error());
  if (!*value) return std::nullopt;
  Result<Inode> decoded = decode_inode(**value);
  if (!decoded) return fail(decoded.error(), place(layer_, ino));
  return std::move(*decoded);
}

LayerReader::Listing::Listing(const cas::Database& database, LayerId layer, Ino dir, DirCookie after)
    : prefix_{dirent_prefix(layer, dir)} {
  const std::string first = dirent_key(layer, dir, after + 1);
  cursor_ = database.scan(kDirentFamily, first, prefix_end(prefix_));
}

Result<std::optional<Dirent>> LayerReader::Listing::next() {
  if (!cursor_->valid()) {
    if (const Result<void> status = cursor_->status(); !status) return fail(status.error(), "listing a directory");
    return std::nullopt;
  }
  Result<Dirent> entry = decode_entry(cursor_->key(), cursor_->value());
  if (!entry) return fail(entry.error());
  cursor_->next();
  return std::move(*entry);
}

LayerReader::InodeScan::InodeScan(const cas::Database& database, LayerId layer)
    : database_{database}, prefix_{layer_prefix(layer)} {}

Result<std::optional<Inode>> LayerReader::InodeScan::at(Ino ino) {
  std::string key = prefix_;
  put_be<std::uint64_t>(key, ino);
  if (!cursor_) cursor_ = database_.scan_from(key, kInodeFamily, prefix_, prefix_end(prefix_));
  for (int steps = 0; steps < kStepsBeforeSeek && cursor_->valid() && cursor_->key() < key; ++steps) cursor_->next();
  if (!cursor_->valid() || cursor_->key() != key) cursor_->seek(key);
  if (!cursor_->valid() || cursor_->key() != key) {
    if (const Result<void> status = cursor_->status(); !status) return fail(status.error(), "reading inodes");
    return std::nullopt;
  }
  Result<Inode> decoded = decode_inode(cursor_->value());
  if (!decoded) return fail(decoded.error(), "inode " + std::to_string(ino));
  return std::move(*decoded);
}

Result<std::optional<std::pair<Ino, Inode>>> LayerReader::InodeScan::next() {
  if (!cursor_) cursor_ = database_.scan(kInodeFamily, prefix_, prefix_end(prefix_));
  if (!cursor_->valid()) {
    if (const Result<void> status = cursor_->status(); !status) return fail(status.error(), "reading inodes");
    return std::nullopt;
  }
  const Result<InodeKey> key = decode_inode_key(cursor_->key());
  if (!key) return fail(key.error());
  Result<Inode> inode = decode_inode(cursor_->value());
  if (!inode) return fail(inode.error(), place(key->layer, key->ino));
  cursor_->next();
  return std::pair{key->ino, std::move(*inode)};
}

Result<std::optional<std::string>> LayerReader::xattr(Ino ino, std::string_view name) const {
  return database_.get(kXattrFamily, xattr_key(layer_, ino, name));
}

Result<std::vector<std::pair<std::string, std::string>>> LayerReader::xattrs(Ino ino) const {
  const std::string prefix = xattr_key(layer_, ino);
  const std::unique_ptr<cas::Database::Cursor> cursor = database_.scan(kXattrFamily, prefix, prefix_end(prefix));
  std::vector<std::pair<std::string, std::string>> found;
  for (; cursor->valid(); cursor->next()) {
    const Result<XattrKey> key = decode_xattr_key(cursor->key());
    if (!key) return fail(key.error(), place(layer_, ino));
    found.emplace_back(key->name, cursor->value());
  }
  if (const Result<void> status = cursor->status(); !status) return fail(status.error(), "reading xattrs");
  return found;
}

Result<bool> LayerReader::any_xattrs() const {
  const std::string prefix = layer_prefix(layer_);
  const std::unique_ptr<cas::Database::Cursor> cursor = database_.scan(kXattrFamily, prefix, prefix_end(prefix));
  const bool found = cursor->valid();
  if (const Result<void> status = cursor->status(); !status) return fail(status.error(), "reading xattrs");
  return found;
}

Result<LayerReader::Found> LayerReader::resolve(std::string_view path, bool follow_last) const {
  Result<Found> found = PathWalk{*this, follow_last}.run(path);
  if (!found) return fail(found.error(), path.empty() ? "/" : std::string{path});
  return found;
}

}  // namespace stellarium::fs
