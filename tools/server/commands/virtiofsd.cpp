#include "tools/server/commands.h"
#include "tools/server/wanted_view.h"
#include "tools/text/units.h"

namespace stellarium::server {

int run(const cli::VirtiofsdOptions& options, CommandContext& context) {
  constexpr std::chrono::milliseconds kLook{100};
  const auto window = text::parse_bytes(options.dax_window);
  if (!window)
    return context.io.complain({Errc::invalid_argument, options.dax_window + ": not a size of a DAX window", 0});
  auto wanted = wanted_view(options.ref, context);
  if (!wanted) return context.io.complain(wanted.error());
  wanted->view.passthrough = false;
  wanted->view.read_only = options.readonly;
  auto listening = context.io.take_stream();
  if (!listening) return context.io.complain(listening.error());
  const auto served = context.guests.serve(
      std::move(*listening),
      {.tag = options.tag.empty() ? options.ref.substr(0, virtiofsd::protocol::kMaxTag) : options.tag,
       .tells_tag = !options.tag.empty(),
       .request_queues = options.request_queues,
       .dax_window = *window,
       .shared_memory_bit = options.shmem_feature_bit},
      wanted->view, options.socket_path);
  if (!served) return context.io.complain(served.error());
  context.io.proceed(wanted->view.kind == fs::fuse::ViewSpec::Kind::clone && !options.readonly);
  while (!(*served)->ended())
    if (!context.io.wait(kLook)) return 0;
  return 0;
}

}  // namespace stellarium::server
