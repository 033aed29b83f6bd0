#include "cdn/oci/image_export.h"
#include "fs/tar_export.h"
#include "tools/server/commands.h"
#include "tools/server/companion.h"
#include "tools/server/image.h"
#include "tools/server/stream.h"

namespace stellarium::server {
namespace {

using Progress = std::function<bool(std::uint64_t)>;

Result<void> export_files(const OpenTree& tree, CommandContext& context, fs::ByteOutput& out,
                          const Progress& progress) {
  return fs::export_tar(tree.reader, {context.store.tier(), &context.store.staging()}, out, progress);
}

Result<void> export_oci(const std::string& ref, const OpenTree& tree, CommandContext& context, fs::ByteOutput& out,
                        const Progress& progress) {
  cdn::oci::ExportRequest request{
      .ref = "latest",
      .scratch = context.store.scratch(),
      .kept = nullptr,
      .tar = [&](fs::ByteOutput& tar) { return export_files(tree, context, tar, progress); },
      .progress = progress};
  const auto image = open_image(context.store, ref);
  if (!image) return cdn::oci::export_image(request, out);  // a clone or a snapshot
  request.ref = image->image.name.tag;
  const auto companion = open_companion(context.store, image->image);
  if (!companion) return fail(companion.error());
  if (!*companion) return cdn::oci::export_image(request, out);
  const cdn::oci::KeptImage kept{context.store.contents(), (*companion)->reader};
  request.kept = &kept;
  return cdn::oci::export_image(request, out);
}

}  // namespace

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
  const auto written = options.oci ? export_oci(options.ref, *image, context, *stream, progress)
                                   : export_files(*image, context, *stream, progress);
  if (!written) {
    return io.complain(Error{written.error().code, "export of " + options.ref + ": " + written.error().context,
                             written.error().sys_errno});
  }
  return 0;
}

}  // namespace stellarium::server
