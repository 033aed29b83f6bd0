#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "tools/server/commands.h"
#include "tools/server/image.h"
#include "tools/server/json.h"
#include "tools/text/units.h"

namespace stellarium::server {
namespace {

using Xattrs = std::vector<std::pair<std::string, std::string>>;

struct Facts {
  std::string path;
  fs::Ino ino;
  const fs::Inode& inode;
  Xattrs xattrs;
  std::optional<cas::Recipe> recipe;  ///< with --chunks, of a content
  bool hot;
};

const char* body_name(fs::Body body) {
  switch (body) {
    case fs::Body::none:
      return "none";
    case fs::Body::inline_:
      return "inline";
    case fs::Body::content:
      return "content";
    case fs::Body::staged:
      return "staged";
  }
  return "unknown";
}

void print_json(const Facts& facts, CommandIo& io) {
  const fs::Inode& inode = facts.inode;
  Json out{{"schema", 1}};
  put_name(out, "path", facts.path);
  out.update(Json{{"ino", facts.ino},
                  {"mode", fmt::format("{:o}", inode.mode)},
                  {"nlink", inode.nlink},
                  {"uid", inode.uid},
                  {"gid", inode.gid},
                  {"size", inode.size},
                  {"allocated", inode.allocated},
                  {"atime", time_of(inode.atime)},
                  {"mtime", time_of(inode.mtime)},
                  {"ctime", time_of(inode.ctime)},
                  {"btime", time_of(inode.btime)},
                  {"body", body_name(inode.body)},
                  {"program", inode.program}});
  if (S_ISCHR(inode.mode) || S_ISBLK(inode.mode))
    out["rdev"] = fmt::format("{}:{}", major(inode.rdev), minor(inode.rdev));
  if (S_ISLNK(inode.mode)) put_name(out, "target", inode.inline_bytes);
  if (inode.body == fs::Body::content) {
    out["content"] = inode.content.hex();
    out["hot"] = facts.hot;
  }
  out["xattrs"] = Json::array();
  for (const auto& [name, value] : facts.xattrs) {
    Json xattr;
    put_name(xattr, "name", name);
    put_name(xattr, "value", value);
    out["xattrs"].push_back(std::move(xattr));
  }
  if (facts.recipe) {
    out["recipe"] = facts.recipe->id().hex();
    out["chunks"] = Json::array();
    for (const auto& entry : facts.recipe->entries)
      out["chunks"].push_back({{"id", entry.id.hex()}, {"size", entry.size}, {"repeat", entry.repeat}});
  }
  io.out(dump(out));
}

void print_text(const Facts& facts, CommandIo& io) {
  const fs::Inode& inode = facts.inode;
  const auto time = [](const fs::Timespec& when) {
    return fmt::format("{}.{:09}", text::format_time(when.seconds), when.nanoseconds);
  };
  std::string out = fmt::format(
      "path     {}\nmode     {} ({:o})\nowner    {}:{}\nlinks    {}\ninode    {}\nsize     {} ({} allocated)\n",
      text::escape(facts.path), text::format_mode(inode.mode), inode.mode & 07777, inode.uid, inode.gid, inode.nlink,
      facts.ino, inode.size, inode.allocated);
  out +=
      fmt::format("modified {}\nchanged  {}\naccessed {}\n", time(inode.mtime), time(inode.ctime), time(inode.atime));
  if (S_ISLNK(inode.mode)) out += "target   " + text::escape(inode.inline_bytes) + "\n";
  if (S_ISCHR(inode.mode) || S_ISBLK(inode.mode))
    out += fmt::format("device   {}:{}\n", major(inode.rdev), minor(inode.rdev));
  if (inode.body == fs::Body::content) {
    out += fmt::format("content  {}{}{}\n", inode.content.hex(), inode.program ? ", program" : "",
                       facts.hot ? ", hot" : "");
  }
  for (const auto& [name, value] : facts.xattrs)
    out += fmt::format("xattr    {}={}\n", text::escape(name), text::escape(value));
  if (facts.recipe) {
    std::uint64_t offset = 0;
    for (const auto& entry : facts.recipe->entries) {
      out += fmt::format("chunk    {:>12} {:>6} {}{}\n", offset, entry.size, entry.id.hex(),
                         entry.repeat > 1 ? fmt::format(" x {}", entry.repeat) : "");
      offset += static_cast<std::uint64_t>(entry.size) * entry.repeat;
    }
  }
  io.out(out);
}

}  // namespace

int run(const cli::StatOptions& options, CommandContext& context) {
  const auto opened = open_tree(context.store, options.ref);
  if (!opened) return context.io.complain(opened.error());
  auto found = opened->reader.resolve(options.path, options.follow);
  if (!found)
    return context.io.complain(
        Error{found.error().code, options.ref + ": " + found.error().context, found.error().sys_errno});
  if (auto known = refresh(context.store, found->inode); !known) return context.io.complain(known.error());
  const fs::Inode& inode = found->inode;
  Facts facts{normal_path(options.path), found->ino, inode, {}, {}, false};
  if (inode.has_xattrs) {
    auto xattrs = opened->reader.xattrs(found->ino);
    if (!xattrs) return context.io.complain(xattrs.error());
    facts.xattrs = std::move(*xattrs);
  }
  if (inode.body == fs::Body::content) {
    facts.hot = context.store.tier().find_hot({inode.content, inode.size}) != nullptr;
    if (options.chunks) {
      auto recipe = context.store.contents().recipe(inode.content, inode.size);
      if (!recipe) return context.io.complain(recipe.error());
      facts.recipe = std::move(*recipe);
    }
  }
  context.global.json ? print_json(facts, context.io) : print_text(facts, context.io);
  return 0;
}

}  // namespace stellarium::server
