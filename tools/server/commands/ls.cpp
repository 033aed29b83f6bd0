#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "tools/server/commands.h"
#include "tools/server/image.h"
#include "tools/server/json.h"
#include "tools/text/units.h"

namespace stellarium::server {
namespace {

class Lister {
 public:
  Lister(const cli::LsOptions& options, CommandContext& context, const fs::LayerReader& reader)
      : options_{options}, context_{context}, reader_{reader} {
    if (context.global.json) json_.emplace(context.io, "entries");
  }

  Result<void> list(const std::string& path, fs::Ino ino, const fs::Inode& inode) {
    if (!S_ISDIR(inode.mode)) {
      print(path, path, ino, inode);
      return {};
    }
    return list_directory(path, ino, false);
  }
  void finish() {
    if (json_) json_->finish();
  }

 private:
  Result<void> list_directory(const std::string& path, fs::Ino dir, bool further) {
    if (context_.io.cancelled()) return fail(Errc::cancelled, "cancelled");
    const auto entries = sorted_entries(reader_, dir);
    if (!entries) return fail(entries.error(), path);
    if (options_.recursive && !json_) context_.io.out((further ? "\n" : "") + text::escape(path) + ":\n");
    std::vector<std::pair<std::string, fs::Ino>> below;
    for (const fs::Dirent& entry : *entries) {
      const std::string full = join(path, entry.name);
      if (needs_inode()) {
        auto inode = reader_.inode(entry.ino);
        if (!inode) return fail(inode.error(), full);
        if (!*inode) return fail(Errc::corrupt, full + " names an inode that does not exist");
        if (auto known = refresh(context_.store, **inode); !known) return fail(known.error(), full);
        print(full, entry.name, entry.ino, **inode);
      } else {
        context_.io.out(text::escape(entry.name) + "\n");
      }
      if (options_.recursive && entry.type == DT_DIR) below.emplace_back(full, entry.ino);
    }
    for (const auto& [full, ino] : below) {
      if (auto listed = list_directory(full, ino, true); !listed) return listed;
    }
    return {};
  }

  bool needs_inode() const { return options_.long_format || json_.has_value(); }

  void print(const std::string& path, const std::string& name, fs::Ino ino, const fs::Inode& inode) {
    const bool device = S_ISCHR(inode.mode) || S_ISBLK(inode.mode);
    if (json_) {
      Json entry;
      put_name(entry, "path", path);
      entry.update(Json{{"ino", ino},
                        {"mode", fmt::format("{:o}", inode.mode)},
                        {"nlink", inode.nlink},
                        {"uid", inode.uid},
                        {"gid", inode.gid},
                        {"size", inode.size},
                        {"mtime", time_of(inode.mtime)}});
      if (device) entry["rdev"] = fmt::format("{}:{}", major(inode.rdev), minor(inode.rdev));
      if (S_ISLNK(inode.mode)) put_name(entry, "target", inode.inline_bytes);
      json_->add(entry);
      return;
    }
    if (!options_.long_format) {
      context_.io.out(text::escape(name) + "\n");
      return;
    }
    const std::string size =
        device ? fmt::format("{}, {}", major(inode.rdev), minor(inode.rdev)) : std::to_string(inode.size);
    const std::string target = S_ISLNK(inode.mode) ? " -> " + text::escape(inode.inline_bytes) : "";
    context_.io.out(fmt::format("{} {:>3} {:>5} {:>5} {:>11} {} {}{}\n", text::format_mode(inode.mode), inode.nlink,
                                inode.uid, inode.gid, size, text::format_time(inode.mtime.seconds), text::escape(name),
                                target));
  }

  const cli::LsOptions& options_;
  CommandContext& context_;
  const fs::LayerReader& reader_;
  std::optional<JsonListing> json_;
};

}  // namespace

int run(const cli::LsOptions& options, CommandContext& context) {
  const auto opened = open_tree(context.store, options.ref);
  if (!opened) return context.io.complain(opened.error());
  auto found = opened->reader.resolve(options.path, !options.long_format);
  if (!found)
    return context.io.complain(
        Error{found.error().code, options.ref + ": " + found.error().context, found.error().sys_errno});
  if (auto known = refresh(context.store, found->inode); !known) return context.io.complain(known.error());
  Lister lister{options, context, opened->reader};
  auto listed = lister.list(normal_path(options.path), found->ino, found->inode);
  lister.finish();
  return listed ? 0 : context.io.complain(listed.error());
}

}  // namespace stellarium::server
