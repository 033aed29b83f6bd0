#include <fmt/format.h>
#include <fmt/ranges.h>

#include "tools/protocol/build_info.h"
#include "tools/server/commands.h"
#include "tools/server/json.h"
#include "tools/text/units.h"

namespace stellarium::server {
namespace {

constexpr int kUnmountTries = 100, kLeavingTries = 10;  // of 100 ms each
constexpr std::size_t kNamedInComplaint = 3;

int status(CommandContext& context) {
  const std::size_t mounts = context.mounts.list().size();
  const auto [process, keeper] = context.outside.numbers();
  if (context.global.json) {
    context.io.out(dump(
        Json{{"schema", 1},
             {"running", true},
             {"store", text::escape(context.store.dir().string())},
             {"uuid", context.store.uuid()},
             {"build", protocol::build_id()},
             {"pid", process},
             {"keeper_pid", keeper},
             {"mounts", mounts},
             {"uptime_seconds", context.control.uptime_seconds()},
             {"sandbox", Json{{"in_force", context.sandbox.in_force()}, {"missing", context.sandbox.missing()}}}}));
  } else if (!context.global.quiet) {
    context.io.out(fmt::format("running: {}, server {}, keeper {}, build {}, {} mounts, up {}\n",
                               text::escape(context.store.dir().string()), process, keeper, protocol::build_id(),
                               mounts, text::format_duration(context.control.uptime_seconds())));
    context.io.out(fmt::format("sandbox: {}\n", context.sandbox.in_force().empty()
                                                    ? "none"
                                                    : fmt::format("{}", fmt::join(context.sandbox.in_force(), ", "))));
    if (context.global.verbose)
      for (const std::string& part : context.sandbox.missing()) context.io.out(fmt::format("without {}\n", part));
  }
  return 0;
}

int list_mounts(CommandContext& context) {
  const auto mounts = context.mounts.list();
  const auto image_of = [](const auto& mount) {
    switch (mount.view.kind) {
      case fs::fuse::ViewSpec::Kind::image:
        return mount.view.image.text();
      case fs::fuse::ViewSpec::Kind::clone:
        return mount.view.clone;
      case fs::fuse::ViewSpec::Kind::store:
        break;
    }
    return std::string{};
  };
  if (context.global.json) {
    JsonListing listing{context.io, "mounts"};
    for (const auto& mount : mounts) {
      Json entry;
      put_name(entry, "mountpoint", mount.mountpoint);
      entry["image"] = image_of(mount);
      listing.add(entry);
    }
    listing.finish();
    return 0;
  }
  for (const auto& mount : mounts) {
    const std::string image = image_of(mount);
    context.io.out(fmt::format("{:<32} {}\n", image.empty() ? "(whole store)" : image, text::escape(mount.mountpoint)));
  }
  return 0;
}

int stop(const cli::DaemonOptions& options, CommandContext& context) {
  // What the command has unmounted, or another one just before it: sessions end a moment later.
  const int tries = options.unmount ? kUnmountTries : options.force ? 0 : kLeavingTries;
  const auto which = options.unmount ? Mounts::Which::folders : Mounts::Which::all;  // machines end with the server
  for (int i = 0; i < tries && !context.mounts.list(which).empty(); ++i) {
    if (!context.io.wait(std::chrono::milliseconds{100})) return 1;
  }
  const auto mounts = context.mounts.list(which);
  if (!mounts.empty() && !options.force) {
    std::string named;
    for (std::size_t i = 0; i < mounts.size() && i < kNamedInComplaint; ++i)
      named += (named.empty() ? "" : ", ") + mounts[i].mountpoint;
    if (mounts.size() > kNamedInComplaint) named += fmt::format(" and {} more", mounts.size() - kNamedInComplaint);
    return context.io.complain(
        Error{Errc::busy, "the daemon serves " + named + ": unmount first, or stop with --unmount or --force", 0});
  }
  context.control.end(keeper::Ending::stop);
  return 0;
}

}  // namespace

int run(const cli::DaemonOptions& options, CommandContext& context) {
  using Action = cli::DaemonOptions::Action;
  switch (options.action) {
    case Action::start:
    case Action::status:
      return status(context);
    case Action::mounts:
      return list_mounts(context);
    case Action::stop:
      return stop(options, context);
    case Action::restart:
      context.control.end(keeper::Ending::restart);
      return 0;
    case Action::upgrade:
      context.control.end(keeper::Ending::upgrade);
      return 0;
  }
  return 1;
}

}  // namespace stellarium::server
