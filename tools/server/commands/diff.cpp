#include <sys/stat.h>

#include "tools/server/commands.h"
#include "tools/server/image.h"
#include "tools/server/json.h"

// Compares two images by walking both trees side by side, names in byte order. Subtrees are never skipped: an image
// holds no hash of a directory.
namespace stellarium::server {
namespace {

class Comparison {
 public:
  Comparison(const OpenTree& before, const OpenTree& after, CommandContext& context)
      : before_{before.reader}, after_{after.reader}, context_{context} {
    if (context.global.json) json_.emplace(context.io, "changes");
  }

  Result<void> directories(const std::string& path, fs::Ino old_dir, fs::Ino new_dir) {
    if (context_.io.cancelled()) return fail(Errc::cancelled, "cancelled");
    const auto old_entries = sorted_entries(before_, old_dir);
    if (!old_entries) return fail(old_entries.error(), path);
    const auto new_entries = sorted_entries(after_, new_dir);
    if (!new_entries) return fail(new_entries.error(), path);
    auto a = old_entries->begin();
    auto b = new_entries->begin();
    while (a != old_entries->end() || b != new_entries->end()) {
      Result<void> done;
      if (b == new_entries->end() || (a != old_entries->end() && a->name < b->name)) {
        done = only("removed", before_, join(path, a->name), a->ino);
        ++a;
      } else if (a == old_entries->end() || b->name < a->name) {
        done = only("added", after_, join(path, b->name), b->ino);
        ++b;
      } else {
        done = both(join(path, a->name), a->ino, b->ino);
        ++a;
        ++b;
      }
      if (!done) return done;
    }
    return {};
  }
  Result<void> both(const std::string& path, fs::Ino old_ino, fs::Ino new_ino) {
    const auto old_inode = before_.inode(old_ino);
    if (!old_inode) return fail(old_inode.error(), path);
    const auto new_inode = after_.inode(new_ino);
    if (!new_inode) return fail(new_inode.error(), path);
    if (!*old_inode || !*new_inode) return fail(Errc::corrupt, path + " names an inode that does not exist");
    const fs::Inode& a = **old_inode;
    const fs::Inode& b = **new_inode;
    if ((a.mode & S_IFMT) != (b.mode & S_IFMT)) {
      if (auto removed = only("removed", before_, path, old_ino); !removed) return removed;
      return only("added", after_, path, new_ino);
    }
    auto what = differences(a, b);
    if (a.has_xattrs || b.has_xattrs) {
      const auto old_xattrs = before_.xattrs(old_ino);
      if (!old_xattrs) return fail(old_xattrs.error(), path);
      const auto new_xattrs = after_.xattrs(new_ino);
      if (!new_xattrs) return fail(new_xattrs.error(), path);
      if (*old_xattrs != *new_xattrs) what.emplace_back("xattrs");
    }
    if (!what.empty()) print("changed", path, what);
    return S_ISDIR(a.mode) ? directories(path, old_ino, new_ino) : Result<void>{};
  }
  void finish() {
    if (json_) json_->finish();
  }

 private:
  static std::vector<std::string> differences(const fs::Inode& a, const fs::Inode& b) {
    std::vector<std::string> what;
    if (a.mode != b.mode) what.emplace_back("mode");
    if (a.uid != b.uid || a.gid != b.gid) what.emplace_back("owner");
    if (!S_ISDIR(a.mode) && a.size != b.size) what.emplace_back("size");
    if (a.mtime != b.mtime) what.emplace_back("mtime");
    if (a.rdev != b.rdev) what.emplace_back("device");
    const bool link = S_ISLNK(a.mode);
    if (a.body != b.body || a.inline_bytes != b.inline_bytes || a.content != b.content || a.staged != b.staged)
      what.emplace_back(link ? "target" : "content");
    if (!S_ISDIR(a.mode) && a.nlink != b.nlink) what.emplace_back("links");
    return what;
  }

  Result<void> only(const char* change, const fs::LayerReader& reader, const std::string& path, fs::Ino ino) {
    return walk(reader, path, ino, [&](const Visited& visited) {
      print(change, visited.path, {});
      return !context_.io.cancelled();
    });
  }

  void print(const char* change, const std::string& path, const std::vector<std::string>& what) {
    if (json_) {
      Json entry{{"change", change}};
      put_name(entry, "path", path);
      if (!what.empty()) entry["what"] = what;
      json_->add(entry);
      return;
    }
    std::string list;
    for (const std::string& each : what) list += (list.empty() ? " (" : ", ") + each;
    context_.io.out(std::string{change} + std::string(9 - std::strlen(change), ' ') + text::escape(path) +
                    (list.empty() ? "" : list + ")") + "\n");
  }

  const fs::LayerReader &before_, &after_;
  CommandContext& context_;
  std::optional<JsonListing> json_;
};

}  // namespace

int run(const cli::DiffOptions& options, CommandContext& context) {
  const auto before = open_tree(context.store, options.before);
  if (!before) return context.io.complain(before.error());
  const auto after = open_tree(context.store, options.after);
  if (!after) return context.io.complain(after.error());
  Comparison comparison{*before, *after, context};
  auto compared = comparison.both("/", fs::kRootIno, fs::kRootIno);
  comparison.finish();
  return compared ? 0 : context.io.complain(compared.error());
}

}  // namespace stellarium::server
