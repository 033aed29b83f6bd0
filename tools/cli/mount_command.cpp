#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

#include "fs/fuse/mount.h"
#include "tools/cli/commands.h"
#include "tools/cli/connection.h"

// `stellarium mount` and `umount`: the command process mounts, in the user's mount namespace and with the user's
// rights, and hands the session's /dev/fuse descriptor to the server, which passes it to the keeper.
namespace stellarium::cli {
namespace {

Result<std::string> mount_point(const std::string& given) {
  const UniqueFd dir{::open(given.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!dir) return fail_errno("mount point " + given);
  std::error_code failed;
  const auto canonical = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(dir.get()), failed);
  if (failed) return fail_errno("mount point " + given, failed.value());
  return canonical.string();
}

}  // namespace

int run_mount(const Invocation& invocation, const std::filesystem::path& store) {
  const auto& given = std::get<MountOptions>(invocation.command);
  const auto options =
      fs::fuse::parse_mount_options(given.options, {.read_only = false, .allow_other = ::geteuid() == 0});
  if (!options) return complain(options.error());
  const auto where = mount_point(given.words.back());
  if (!where) return complain(where.error());
  auto connection = Connection::open(store, Start::if_store);
  if (!connection) return complain(connection.error());

  std::vector<std::string> arguments;
  if (given.no_passthrough) arguments.emplace_back("--no-passthrough");
  arguments.emplace_back("--");
  if (given.words.size() == 2) arguments.push_back(given.words.front());
  arguments.push_back(*where);
  if (auto sent = connection->request(words_for(invocation, arguments), false); !sent) return complain(sent.error());

  bool mounted = false;
  Handlers handlers;
  handlers.proceed = [&](bool writable) -> Result<void> {
    fs::fuse::MountOptions wanted = *options;
    wanted.read_only = wanted.read_only || !writable;  // images are read-only whatever is asked for
    auto device = fs::fuse::mount_session(*where, wanted);
    if (!device) return fail(device.error());
    mounted = true;
    return connection->send_device(device->get());
  };
  const int code = follow(*connection, invocation.global, handlers);
  if (code != 0 && mounted) (void)fs::fuse::unmount(*where, true);  // the reason was said already
  return code;
}

int run_umount(const Invocation& invocation) {
  const auto& options = std::get<UmountOptions>(invocation.command);
  if (auto done = fs::fuse::unmount(options.dir, options.lazy); !done) return complain(done.error());
  return 0;
}

}  // namespace stellarium::cli
