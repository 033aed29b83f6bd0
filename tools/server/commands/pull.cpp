#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "cdn/puller.h"
#include "tools/cli/remote_name.h"
#include "tools/server/commands.h"
#include "tools/server/json.h"
#include "tools/text/units.h"
#include "tools/transport/object_client.h"

// pull: a published image by its manifest's id, from whoever is at the other end of the command's socket.
namespace stellarium::server {

int run(const cli::PullOptions& options, CommandContext& context) {
  CommandIo& io = context.io;
  const auto name = fs::ImageName::parse(options.name);
  if (!name) return io.complain(name.error());
  const auto manifest = cas::Hash::from_hex(options.manifest);
  if (!manifest || (!options.full && !cli::is_remote_name(options.remote)))
    return io.complain(Error{Errc::invalid_argument, "a pull without a manifest, or without a remote", 0});
  auto socket = io.take_stream();
  if (!socket) return io.complain(socket.error());
  Store& store = context.store;
  store.ballast().restore();  // what is taken back now, the pull cannot use up
  const auto began = std::chrono::steady_clock::now();
  transport::ObjectClient objects{protocol::Channel{std::move(*socket)}};
  cdn::Puller::KeepLazy lazy;
  if (!options.full)
    lazy = [&](const cas::ContentId& layer, const std::string& text) {
      return store.lazy().add(layer, {options.remote, text, !options.lazy_only});
    };
  cdn::Puller puller{{store.database(), store.contents(), store.catalog(), store.scratch()}, objects, {}, lazy};
  const auto progress = [&](std::uint64_t done, std::uint64_t total) {
    io.progress({.phase = "pull", .done = done, .total = total});
    return !io.cancelled();
  };
  auto report = puller.pull(*manifest, *name, options.source, progress);
  if (report && options.full) {
    // The same tree may be here under another name, without all of its contents.
    const auto lazy_images = store.lazy().images();
    const auto known =
        std::ranges::find(lazy_images, report->image.manifest, [](const auto& image) { return image->layer(); });
    if (known != lazy_images.end()) {
      const auto fetched = cdn::complete(store.lazy(), store.contents(), *known, objects, cdn::Urgency::soon, progress);
      if (fetched) report->content_bytes += *fetched;
      if (!fetched) report = fail(fetched.error());
    }
  }
  const auto counters = objects.counters();
  store.lazy().note(counters);
  if (!report)
    return io.complain(Error{report.error().code, "pulling " + options.source + ": " + report.error().context,
                             report.error().sys_errno});
  context.janitor.wake();  // the name may have had another layer
  context.completion.wake();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  const std::uint64_t fetched = report->manifest_bytes + report->metadata_bytes + report->content_bytes;
  if (context.global.json) {
    io.out(dump(Json{{"schema", 1},
                     {"image", report->image.name.text()},
                     {"manifest", manifest->hex()},
                     {"bytes", report->image.bytes},
                     {"lazy", !options.full},
                     {"bytes_fetched", fetched},
                     {"metadata_fetched", report->metadata_bytes},
                     {"bytes_new", report->totals.bytes_new},
                     {"bytes_stored", report->totals.bytes_stored},
                     {"requests", counters.requests},
                     {"retries", counters.retries},
                     {"hedges", counters.hedges},
                     {"refused", counters.refused},
                     {"cut_short", counters.cut_short},
                     {"seconds", seconds}}));
  } else if (!context.global.quiet) {
    io.err(fmt::format("{}: {}, {} fetched{}, {} new, {}\n", report->image.name.text(),
                       text::format_bytes(report->image.bytes), text::format_bytes(fetched),
                       options.full ? "" : " (the rest when it is read)", text::format_bytes(report->totals.bytes_new),
                       text::format_duration(seconds)));
  }
  return 0;
}

}  // namespace stellarium::server
