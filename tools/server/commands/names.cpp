#include "tools/server/clone_quotas.h"
#include "tools/server/commands.h"
#include "tools/server/image.h"

// rename and rm: one record each.
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
  return context.store.catalog().rename(*from, *to);
}

Result<void> remove_clone(const std::string& name, CommandContext& context) {
  if (auto free = context.mounts.check_unmounted(name); !free) return free;
  auto staged = fs::staged_by_clone(context.store.database(), name);
  if (!staged) return fail(staged.error());
  const auto quota = fs::read_quota(context.store.database(), name);
  if (!quota) return fail(quota.error());
  if (auto removed = context.store.clones().remove(name); !removed) return removed;
  if (*quota) forget_quota(context.store, **quota);
  for (const fs::StagedId id : *staged) {
    if (auto removed = context.store.staging().remove(id); !removed) return removed;
  }
  return {};
}

Result<void> remove(const std::string& ref, CommandContext& context) {
  if (const auto snapshot = parse_snapshot(ref))
    return context.store.clones().remove_snapshot(snapshot->clone, snapshot->snapshot);
  const auto clone = fs::is_clone(context.store.database(), ref);
  if (!clone) return fail(clone.error());
  if (*clone) return remove_clone(ref, context);
  const auto name = fs::ImageName::parse(ref);
  if (!name) return fail(name.error());
  return context.store.catalog().remove(*name);
}

}  // namespace

int run(const cli::RenameOptions& options, CommandContext& context) {
  if (auto renamed = rename(options, context); !renamed) return context.io.complain(renamed.error());
  return 0;
}

int run(const cli::RmOptions& options, CommandContext& context) {
  int code = 0;
  for (const std::string& ref : options.refs) {
    auto removed = context.store.with_room([&] { return remove(ref, context); });
    if (!removed) code = context.io.complain(removed.error());
  }
  context.janitor.wake();
  return code;
}

}  // namespace stellarium::server
