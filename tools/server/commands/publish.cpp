#include <algorithm>
#include <chrono>

#include "cdn/publisher.h"
#include "tools/server/commands.h"
#include "tools/server/image.h"
#include "tools/server/json.h"
#include "tools/transport/object_client.h"

// publish: the objects of an image, to whoever is at the other end of the command's socket.
namespace stellarium::server {

int run(const cli::PublishOptions& options, CommandContext& context) {
  CommandIo& io = context.io;
  auto image = open_image(context.store, options.ref);
  if (!image) return io.complain(image.error());
  const auto lazy_images = context.store.lazy().images();
  if (std::ranges::any_of(lazy_images, [&](const auto& lazy) { return lazy->layer() == image->image.manifest; }))
    return io.complain(Error{Errc::unavailable,
                             options.ref + " has not arrived completely: 'stellarium pull --full' brings the rest", 0});
  auto socket = io.take_stream();
  if (!socket) return io.complain(socket.error());
  const auto began = std::chrono::steady_clock::now();
  transport::ObjectClient objects{protocol::Channel{std::move(*socket)}};
  cas::ContentStore& contents = context.store.contents();
  cdn::Publisher publisher{contents, contents, objects, {.level = options.level}};
  const auto report = publisher.publish(image->image, image->reader, [&](std::uint64_t done, std::uint64_t total) {
    io.progress({.phase = "publish", .done = done, .total = total});
    return !io.cancelled();
  });
  if (!report)
    return io.complain(Error{report.error().code, "publishing " + options.ref + ": " + report.error().context,
                             report.error().sys_errno});
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  io.out(dump(Json{{"schema", 1},
                   {"manifest", report->manifest.hex()},
                   {"content_bytes", report->content_bytes},
                   {"bundle_bytes", report->bundle_bytes},
                   {"metadata_bytes", report->metadata_bytes},
                   {"objects", report->uploads.objects},
                   {"object_bytes", report->uploads.bytes},
                   {"objects_sent", report->uploads.written},
                   {"bytes_sent", report->uploads.sent},
                   {"seconds", seconds}}));
  return 0;
}

}  // namespace stellarium::server
