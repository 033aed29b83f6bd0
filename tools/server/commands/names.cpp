#include <algorithm>
#include <set>
#include <string_view>

#include "fs/companion_name.h"
#include "tools/server/clone_quotas.h"
#include "tools/server/commands.h"
#include "tools/server/companion.h"
#include "tools/server/image.h"

// rename and rm: one batch, whatever the size of the trees.
namespace stellarium::server {
namespace {

Result<void> rename(const cli::RenameOptions& options, CommandContext& context) {
  const auto clone = fs::is_clone(context.store.database(), options.from);
  if (!clone) return fail(clone.error());
  if (*clone) {
    if (auto free = context.mounts.check_unmounted(options.from); !free) return free;
    return context.store.clones().rename(options.from, options.to);
  }
  const auto from = fs::ImageName::parse(options.from);
  if (!from) return fail(from.error());
  const auto to = fs::ImageName::parse(options.to);
  if (!to) return fail(to.error());
  if (fs::is_companion(*to)) return fail(Errc::invalid_argument, "the tag " + to->tag + " has a form that is reserved");
  return rename_with_companion(context.store, *from, *to);
}

/// One batch for all of them. What only they needed goes in the background (Janitor).
Result<void> remove(const std::vector<std::string>& refs, CommandContext& context) {
  std::set<std::string_view> different;
  std::vector<std::string> clones, written;  // `written`: clones and snapshots
  std::vector<fs::ImageName> images;
  std::vector<fs::QuotaRecord> quotas;
  for (const std::string& ref : refs) {
    if (!different.insert(ref).second) return fail(Errc::invalid_argument, "the name " + ref + " is given twice");
    if (parse_snapshot(ref)) {
      written.push_back(ref);
      continue;
    }
    const auto clone = fs::is_clone(context.store.database(), ref);
    if (!clone) return fail(clone.error());
    if (*clone) {
      const auto quota = fs::read_quota(context.store.database(), ref);
      if (!quota) return fail(quota.error());
      if (*quota) quotas.push_back(**quota);
      clones.push_back(ref);
      written.push_back(ref);
      continue;
    }
    auto name = fs::ImageName::parse(ref);
    if (!name) return fail(name.error());
    if (std::ranges::count(images, *name) != 0)
      return fail(Errc::invalid_argument, "the image " + name->text() + " is given twice");
    images.push_back(std::move(*name));
  }
  if (auto free = context.mounts.check_unmounted(clones); !free) return free;
  const auto companions = companions_of(context.store, images);
  if (!companions) return fail(companions.error());
  for (const fs::ImageName& companion : *companions)
    if (std::ranges::count(images, companion) == 0) images.push_back(companion);
  auto removed = context.store.catalog().remove_all(
      images, [&](cas::Database::Batch& batch) { return context.store.clones().put_removal(batch, written); });
  if (!removed) return removed;
  for (const fs::QuotaRecord& quota : quotas) forget_quota(context.store, quota);
  return {};
}

}  // namespace

int run(const cli::RenameOptions& options, CommandContext& context) {
  if (auto renamed = rename(options, context); !renamed) return context.io.complain(renamed.error());
  return 0;
}

int run(const cli::RmOptions& options, CommandContext& context) {
  const auto removed = context.store.with_room([&] { return remove(options.refs, context); });
  if (!removed) {
    const char* none = options.refs.size() == 1 ? "" : "; nothing was removed";
    return context.io.complain(Error{removed.error().code, removed.error().context + none, removed.error().sys_errno});
  }
  context.janitor.wake();
  return 0;
}

}  // namespace stellarium::server
