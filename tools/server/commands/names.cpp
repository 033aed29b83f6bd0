#include "tools/server/commands.h"

// rename and rm: one record each.
namespace stellarium::server {

int run(const cli::RenameOptions& options, CommandContext& context) {
  const auto from = fs::ImageName::parse(options.from);
  if (!from) return context.io.complain(from.error());
  const auto to = fs::ImageName::parse(options.to);
  if (!to) return context.io.complain(to.error());
  if (auto renamed = context.store.catalog().rename(*from, *to); !renamed) return context.io.complain(renamed.error());
  return 0;
}

int run(const cli::RmOptions& options, CommandContext& context) {
  int code = 0;
  for (const std::string& ref : options.refs) {
    const auto name = fs::ImageName::parse(ref);
    auto removed = name ? context.store.with_room([&] { return context.store.catalog().remove(*name); })
                        : Result<void>{fail(name.error())};
    if (!removed) code = context.io.complain(removed.error());
  }
  context.janitor.wake();
  return code;
}

}  // namespace stellarium::server
