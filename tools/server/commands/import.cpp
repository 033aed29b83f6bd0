#include <fmt/format.h>
#include <sys/resource.h>

#include <chrono>

#include "cdn/oci/image_import.h"
#include "fs/companion_name.h"
#include "fs/tar_import.h"
#include "tools/server/commands.h"
#include "tools/server/json.h"
#include "tools/server/stream.h"
#include "tools/text/units.h"

namespace stellarium::server {
namespace {

using Clock = std::chrono::steady_clock;

/// Passes on what the import tells: progress to the caller's display, contents to its stat cache.
class Observer final : public fs::ImportObserver {
 public:
  Observer(CommandIo& io, bool quiet) : io_{io}, quiet_{quiet} {}
  void begins(const fs::ContentLookup& lookup) override { io_.answer_questions(lookup); }

  bool progress(std::uint64_t stream_bytes, std::uint64_t files) override {
    io_.progress({.phase = "import", .done = stream_bytes, .files = files});
    return !io_.cancelled();
  }
  void note(const std::string& line) override {
    if (!quiet_) io_.err("stellarium: note: " + text::escape(line) + "\n");
  }
  void content(std::string_view path, const cas::ContentId& id, std::uint64_t size) override {
    if (!list_.has_room_for(path.size())) flush();
    if (list_.has_room_for(path.size())) list_.add({id, size, std::string{path}});
  }
  void stream_taken() override { flush(); }

 private:
  void flush() {
    if (!list_.entries.empty()) io_.contents(list_);
    list_ = {};
  }

  CommandIo& io_;
  const bool quiet_;
  protocol::ContentList list_;
};

std::uint64_t peak_memory_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

void summarize(const fs::ImportReport& report, double seconds, CommandContext& context) {
  const auto& totals = report.totals;
  const double rate = seconds > 0 ? static_cast<double>(totals.bytes_in) / seconds : 0;
  const std::uint64_t entries = report.files + report.directories + report.links + report.others;
  if (context.global.json) {
    Json out{{"schema", 1},
             {"image", report.image.name.text()},
             {"manifest", report.image.manifest.hex()},
             {"files", report.files},
             {"directories", report.directories},
             {"links", report.links},
             {"others", report.others},
             {"bytes_in", totals.bytes_in},
             {"bytes_new", totals.bytes_new},
             {"bytes_stored", totals.bytes_stored},
             {"chunks_new", totals.chunks_new},
             {"chunks_known", totals.chunks_known},
             {"seconds", seconds},
             {"peak_rss_bytes", peak_memory_bytes()}};
    context.io.out(dump(out));
    return;
  }
  if (context.global.quiet) return;
  const std::string ratio = totals.bytes_stored == 0
                                ? ""
                                : fmt::format(" (ratio {:.2f})", static_cast<double>(totals.bytes_in) /
                                                                     static_cast<double>(totals.bytes_stored));
  context.io.err(fmt::format("{}: {} entries, {} in, {} new, {} stored{}, {}, {}/s, peak memory {}\n",
                             report.image.name.text(), entries, text::format_bytes(totals.bytes_in),
                             text::format_bytes(totals.bytes_new), text::format_bytes(totals.bytes_stored), ratio,
                             text::format_duration(seconds), text::format_bytes(static_cast<std::uint64_t>(rate)),
                             text::format_bytes(peak_memory_bytes())));
}

Result<fs::ImportReport> import_oci(const cli::ImportOptions& options, const fs::ImageName& name, fs::ByteInput& stream,
                                    Store& store, fs::ImportObserver& observer) {
  cdn::oci::ImportRequest request{
      .name = name,
      .source = options.source,
      .manifest = {},
      .keep = options.oci == "equivalent" ? cdn::oci::Keep::equivalent : cdn::oci::Keep::exact};
  if (!options.manifest.empty()) {
    request.manifest = cdn::oci::Digest::parse(options.manifest);
    if (!request.manifest) return fail(Errc::invalid_argument, "a malformed digest");
  }
  auto image = cdn::oci::import_image(store.database(), store.contents(), store.catalog(), store.scratch(), stream,
                                      request, observer);
  if (!image) return fail(image.error());
  return std::move(image->tree);
}

}  // namespace

int run(const cli::ImportOptions& options, CommandContext& context) {
  const auto name = fs::ImageName::parse(options.name);
  if (!name) return context.io.complain(name.error());
  if (fs::is_companion(*name))
    return context.io.complain(
        Error{Errc::invalid_argument, "the tag " + name->tag + " has a form that is reserved", 0});
  auto stream = StreamInput::create(context.io);
  if (!stream) return context.io.complain(stream.error());

  Store& store = context.store;
  store.ballast().restore();  // what is taken back now, the import cannot use up
  Observer observer{context.io, context.global.quiet};
  const auto began = Clock::now();
  auto report = options.as == "oci" ? import_oci(options, *name, *stream, store, observer)
                                    : fs::import_tar(store.database(), store.contents(), store.catalog(),
                                                     store.scratch(), *stream, *name, options.source, observer);
  context.io.answer_questions({});  // the session that knows the answers is gone
  if (!report) {
    // A reference that the stat cache made and the store cannot keep: the command sends everything then.
    if (report.error().code == Errc::unavailable) return protocol::kExitCacheOutdated;
    return context.io.complain(Error{report.error().code, "import of " + options.source + ": " + report.error().context,
                                     report.error().sys_errno});
  }
  context.janitor.wake();  // the name may have had another layer
  summarize(*report, std::chrono::duration<double>(Clock::now() - began).count(), context);
  return 0;
}

}  // namespace stellarium::server
