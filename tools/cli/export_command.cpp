#include "cdn/oci/layout_folder.h"
#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/received_file.h"
#include "tools/cli/stream.h"

// `stellarium export`: the server writes the archive into a pipe, this process writes the user's file or folder.
namespace stellarium::cli {
namespace {

std::vector<std::string> words_of(const ExportOptions& options) {
  std::vector<std::string> words{"--", options.ref, "-"};
  if (options.oci) words.insert(words.begin(), "--oci");
  return words;
}

int export_to_folder(const Invocation& invocation, Connection& connection, const ExportOptions& options) {
  auto target = cdn::oci::LayoutFolder::make(options.target);
  if (!target) return complain(target.error());
  const int code = receive(connection, invocation, words_of(options), [&](int from) { return target->take(from); });
  if (code != 0) return code;
  if (auto finished = target->finish(); !finished) return complain(finished.error());
  return 0;
}

}  // namespace

int run_export(const Invocation& invocation, const std::filesystem::path& store) {
  const auto& options = std::get<ExportOptions>(invocation.command);
  auto connection = Connection::open(store, Start::if_store);
  if (!connection) return complain(connection.error());
  if (options.oci && options.target != "-" && !options.target.ends_with(".tar"))
    return export_to_folder(invocation, *connection, options);
  auto target = ReceivedFile::open(options.target, "a tar archive");
  if (!target) return complain(target.error());
  const int code = receive(*connection, invocation, words_of(options),
                           [&](int from) { return relay(from, target->fd(), options.target); });
  if (code != 0) return code;
  if (auto finished = target->finish(); !finished) return complain(finished.error());
  return 0;
}

}  // namespace stellarium::cli
