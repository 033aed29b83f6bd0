#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/received_file.h"
#include "tools/cli/stream.h"

// `stellarium export`: the server writes the archive into a pipe, this process writes the user's file.
namespace stellarium::cli {

int run_export(const Invocation& invocation, const std::filesystem::path& store) {
  const auto& options = std::get<ExportOptions>(invocation.command);
  auto connection = Connection::open(store, Start::if_store);
  if (!connection) return complain(connection.error());
  auto target = ReceivedFile::open(options.target, "a tar archive");
  if (!target) return complain(target.error());
  const int code = receive(*connection, invocation, {"--", options.ref, "-"},
                           [&](int from) { return relay(from, target->fd(), options.target); });
  if (code != 0) return code;
  if (auto finished = target->finish(); !finished) return complain(finished.error());
  return 0;
}

}  // namespace stellarium::cli
