#include <fmt/format.h>

#include <chrono>

#include "fs/disk_stream.h"
#include "tools/server/commands.h"
#include "tools/server/json.h"
#include "tools/server/stream.h"
#include "tools/text/units.h"

// volume: block images. The user's files are the command process's; here are names, blocks and the pipe between.
namespace stellarium::server {
namespace {

using VolumeAction = cli::VolumeOptions::Action;
using Clock = std::chrono::steady_clock;

fs::Volume::Progress shown(CommandIo& io, const char* phase) {
  return [&io, phase](std::uint64_t done, std::uint64_t total) {
    io.progress({.phase = phase, .done = done, .total = total});
    return !io.cancelled();
  };
}

Result<std::uint64_t> size_of(const std::string& given) {
  const auto size = text::parse_bytes(given);
  if (size && *size > 0 && *size <= fs::kMaxVolumeSize) return *size;
  return fail(Errc::invalid_argument,
              "'" + given + "' is no size of a volume: write 1 byte to 256 TiB, as 512M or 10G");
}

Result<void> create(const cli::VolumeOptions& options, CommandContext& context) {
  const auto size = size_of(options.size);
  if (!size) return fail(size.error());
  return context.store.volumes().create(options.words[0], *size, {});
}

Result<void> resize(const cli::VolumeOptions& options, CommandContext& context) {
  const auto size = size_of(options.words[1]);
  if (!size) return fail(size.error());
  const auto volume = context.store.volumes().open(options.words[0]);
  if (!volume) return fail(volume.error());
  return (*volume)->grow(*size);
}

/// Longer manifests are refused: one is in memory while its volume is made. Blocks of 366 GB.
constexpr std::size_t kMaxManifest = 256u << 20;

Result<fs::TinyVol> receive_manifest(fs::ByteInput& stream) {
  std::string bytes;
  std::vector<std::byte> buffer(fs::kMaxDiskRun);
  for (;;) {
    const auto read = stream.read(buffer);
    if (!read) return fail(read.error());
    if (*read == 0) return fs::decode_tinyvol(bytes);
    if (bytes.size() + *read > kMaxManifest)
      return fail(Errc::invalid_argument, "a manifest of more than " + text::format_bytes(kMaxManifest));
    put_bytes(bytes, ByteSpan{buffer}.first(*read));
  }
}

Result<fs::Volumes::Imported> receive_volume(const cli::VolumeOptions& options, fs::ByteInput& stream,
                                             CommandContext& context) {
  const std::string &origin = options.words[0], &name = options.words[1];
  fs::Volumes& volumes = context.store.volumes();
  if (options.format != "tinyvol") return volumes.import(name, stream, origin, shown(context.io, "import"));
  const auto manifest = receive_manifest(stream);
  if (!manifest) return fail(manifest.error());
  return volumes.adopt(name, *manifest, origin, shown(context.io, "import"));
}

Result<void> import(const cli::VolumeOptions& options, CommandContext& context) {
  auto stream = StreamInput::create(context.io);
  if (!stream) return fail(stream.error());
  context.store.ballast().restore();  // what is taken back now, the import cannot use up
  const auto began = Clock::now();
  const std::string& name = options.words[1];
  const auto imported = receive_volume(options, *stream, context);
  if (!imported) return fail(imported.error(), "import of " + options.words[0]);
  const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
  if (context.global.json) {
    context.io.out(dump(Json{{"schema", 1},
                             {"volume", name},
                             {"size", imported->size},
                             {"mapped_bytes", imported->mapped},
                             {"bytes_new", imported->totals.bytes_new},
                             {"bytes_stored", imported->totals.bytes_stored},
                             {"seconds", seconds}}));
  } else if (!context.global.quiet) {
    context.io.err(fmt::format("{}: {}, of which {} are no zeros, {} new, {} stored, {}\n", name,
                               text::format_bytes(imported->size), text::format_bytes(imported->mapped),
                               text::format_bytes(imported->totals.bytes_new),
                               text::format_bytes(imported->totals.bytes_stored), text::format_duration(seconds)));
  }
  return {};
}

/// The volume as it is at one moment, however much is written while it is sent. The session keeps its blocks.
Result<fs::TinyVol> manifest_of(const std::string& name, cas::WriteSession& session, CommandContext& context) {
  const auto volume = context.store.volumes().open(name);
  if (!volume) return fail(volume.error());
  return (*volume)->manifest(session, shown(context.io, "settle"));
}

Result<void> send(const std::string& name, CommandContext& context) {
  auto stream = StreamOutput::create(context.io);
  if (!stream) return fail(stream.error());
  const auto session = context.store.contents().begin_session();
  const auto manifest = manifest_of(name, *session, context);
  if (!manifest) return fail(manifest.error());
  auto disk = fs::DiskStreamWriter::begin(*stream, manifest->size);
  if (!disk) return fail(disk.error());
  std::vector<std::byte> buffer(fs::kVolumeBlock);
  const auto progress = shown(context.io, "export");
  for (const fs::TinyVol::Block& block : manifest->blocks) {
    const MutableByteSpan bytes = MutableByteSpan{buffer}.first(fs::volume_block_length(manifest->size, block.offset));
    const auto read = context.store.tier().read({block.id, bytes.size()}, 0, bytes);
    if (!read) return fail(read.error());
    if (*read != bytes.size()) return fail(Errc::corrupt, "a block of volume " + name + " is too short");
    if (auto written = disk->write(block.offset, bytes); !written) return written;
    if (!progress(block.offset, manifest->size)) return fail(Errc::cancelled, "cancelled");
  }
  return disk->finish();
}

Result<void> send_manifest(const std::string& name, CommandContext& context) {
  auto stream = StreamOutput::create(context.io);
  if (!stream) return fail(stream.error());
  const auto session = context.store.contents().begin_session();
  const auto manifest = manifest_of(name, *session, context);
  if (!manifest) return fail(manifest.error());
  return stream->write(as_bytes(fs::encode_tinyvol(*manifest)));
}

/// Ranges of data and of zeros, in the manner of `qemu-img map`.
Result<void> map(const std::string& name, CommandContext& context) {
  const auto session = context.store.contents().begin_session();
  const auto manifest = manifest_of(name, *session, context);
  if (!manifest) return fail(manifest.error());
  std::optional<JsonListing> listing;
  if (context.global.json) listing.emplace(context.io, "ranges");
  const auto show = [&](std::uint64_t start, std::uint64_t end, bool data) {
    if (start == end) return;
    if (listing) {
      listing->add({{"start", start}, {"length", end - start}, {"data", data}});
    } else {
      context.io.out(fmt::format("{:>16} {:>16} {}\n", start, end - start, data ? "data" : "zero"));
    }
  };
  std::uint64_t at = 0;
  for (auto block = manifest->blocks.begin(); block != manifest->blocks.end();) {
    const std::uint64_t start = block->offset;
    std::uint64_t end = start;
    for (; block != manifest->blocks.end() && block->offset == end; ++block)
      end += fs::volume_block_length(manifest->size, end);
    show(at, start, false);
    show(start, end, true);
    at = end;
  }
  show(at, manifest->size, false);
  if (listing) listing->finish();
  return {};
}

/// The RELEASE of a file that was just closed may still be on its way.
Result<void> remove(const std::string& name, CommandContext& context) {
  constexpr auto kPause = std::chrono::milliseconds{20};
  constexpr int kTries = 25;
  auto removed = context.store.with_room([&] { return context.store.volumes().remove(name); });
  for (int i = 0; i < kTries && !removed && removed.error().code == Errc::busy && context.io.wait(kPause); ++i)
    removed = context.store.volumes().remove(name);
  return removed;
}

Result<void> list(CommandContext& context) {
  const auto volumes = context.store.volumes().list();
  if (!volumes) return fail(volumes.error());
  Json listed{{"schema", 1}, {"volumes", Json::array()}};
  for (const auto& [name, record] : *volumes) {
    if (context.global.json) {
      listed["volumes"].push_back({{"name", name},
                                   {"size", record.size},
                                   {"mapped_bytes", record.mapped},
                                   {"origin", text::escape(record.origin)},
                                   {"created", text::format_time(record.created.seconds)}});
    } else if (context.global.quiet) {
      context.io.out(name + "\n");
    } else {
      context.io.out(fmt::format("{:<24} {:>10} {:>10} {} {}\n", name, text::format_bytes(record.size),
                                 text::format_bytes(record.mapped), text::format_time(record.created.seconds),
                                 text::escape(record.origin)));
    }
  }
  if (context.global.json) context.io.out(dump(listed));
  return {};
}

Result<void> run_action(const cli::VolumeOptions& options, CommandContext& context) {
  fs::Volumes& volumes = context.store.volumes();
  switch (options.action) {
    case VolumeAction::create:
      return create(options, context);
    case VolumeAction::clone:
      return volumes.clone(options.words[0], options.words[1], shown(context.io, "settle"));
    case VolumeAction::resize:
      return resize(options, context);
    case VolumeAction::import:
      return import(options, context);
    case VolumeAction::export_:
      return send(options.words[0], context);
    case VolumeAction::manifest:
      return send_manifest(options.words[0], context);
    case VolumeAction::map:
      return map(options.words[0], context);
    case VolumeAction::rm:
      return remove(options.words[0], context);
    case VolumeAction::list:
      return list(context);
  }
  return fail(Errc::invalid_argument, "no such action");
}

}  // namespace

int run(const cli::VolumeOptions& options, CommandContext& context) {
  if (const auto wrong = cli::why_wrong(options); !wrong.empty()) {
    context.io.complain(Error{Errc::invalid_argument, wrong, 0});
    return 2;
  }
  if (auto done = run_action(options, context); !done) return context.io.complain(done.error());
  return 0;
}

}  // namespace stellarium::server
