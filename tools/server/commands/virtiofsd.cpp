#include "tools/server/commands.h"
#include "tools/server/wanted_view.h"
#include "tools/text/units.h"

namespace stellarium::server {
namespace {

/// What a device needs as long as its socket is there, whether a machine is connected or not.
struct Serving {
  WantedView wanted;
  std::unique_ptr<virtiofsd::GuestServer::Export> machine;
};

}  // namespace

int run(const cli::VirtiofsdOptions& options, CommandContext& context) {
  const auto window = text::parse_bytes(options.dax_window);
  if (!window)
    return context.io.complain({Errc::invalid_argument, options.dax_window + ": not a size of a DAX window", 0});
  auto wanted = wanted_view(options.ref, context);
  if (!wanted) return context.io.complain(wanted.error());
  wanted->view.passthrough = false;
  wanted->view.read_only = options.readonly;
  auto listening = context.io.take_stream();
  if (!listening) return context.io.complain(listening.error());
  auto table = context.io.take_kept();
  if (table && !*table) {
    table = fs::fuse::FuseServer::make_table();
    if (table) context.io.give_to_keep(*table);
  }
  if (!table) return context.io.complain(table.error());
  auto served = context.guests.serve(
      std::move(*listening), std::move(*table),
      {.tag = options.tag.empty() ? options.ref.substr(0, virtiofsd::protocol::kMaxTag) : options.tag,
       .tells_tag = !options.tag.empty(),
       .request_queues = options.request_queues,
       .dax_window = *window,
       .shared_memory_bit = options.shmem_feature_bit},
      wanted->view, options.socket_path);
  if (!served) return context.io.complain(served.error());
  context.io.proceed(wanted->view.kind == fs::fuse::ViewSpec::Kind::clone && !options.readonly);
  const auto serving = std::make_shared<Serving>(Serving{std::move(*wanted), std::move(*served)});
  serving->machine->set_on_ended([over = context.io.outlive(serving)] { over(0); });
  return 0;
}

}  // namespace stellarium::server
