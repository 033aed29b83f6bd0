#include "fs/tar_export.h"
#include "tools/server/commands.h"
#include "tools/server/image.h"
#include "tools/server/stream.h"

namespace stellarium::server {

int run(const cli::ExportOptions& options, CommandContext& context) {
  CommandIo& io = context.io;
  auto image = open_tree(context.store, options.ref);
  if (!image) return io.complain(image.error());
  auto stream = StreamOutput::create(io);
  if (!stream) return io.complain(stream.error());
  const auto progress = [&](std::uint64_t done) {
    io.progress({.phase = "export", .done = done, .total = image->bytes});
    return !io.cancelled();
  };
  if (auto written = fs::export_tar(image->reader, {context.store.tier(), &context.store.staging()}, *stream, progress);
      !written) {
    return io.complain(Error{written.error().code, "export of " + options.ref + ": " + written.error().context,
                             written.error().sys_errno});
  }
  return 0;
}

}  // namespace stellarium::server
