#include "cdn/puller.h"

#include <time.h>

#include <unordered_map>

#include "cdn/fetch_all.h"
#include "cdn/fetch_now.h"
#include "cdn/lazy_image.h"
#include "fs/layer_object.h"
#include "fs/layer_tables.h"

namespace stellarium::cdn {
namespace {

class TextInput final : public fs::ByteInput {
 public:
  explicit TextInput(std::string_view text) : left_{as_bytes(text)} {}
  Result<std::size_t> read(MutableByteSpan out) override {
    const std::size_t size = std::min(out.size(), left_.size());
    std::copy_n(left_.begin(), size, out.begin());
    left_ = left_.subspan(size);
    return size;
  }

 private:
  ByteSpan left_;
};

/// A content of the metadata, put together from chunks.
using MadeOf = std::unordered_map<cas::ChunkId, std::string, cas::HashOfHash>;
Result<std::string> assemble(const Manifest::Content& content, const MadeOf& chunks, cas::ContentStore& store) {
  std::string bytes;
  bytes.reserve(content.size);
  for (const Manifest::Part& part : content.chunks) {
    if (const auto found = chunks.find(part.id); found != chunks.end()) {
      bytes += found->second;
      continue;
    }
    const auto frame = store.fetch(part.id);
    if (!frame) return fail(frame.error());
    bytes += as_text((*frame)->data(*(*frame)->find(part.id)));
  }
  if (bytes.size() != content.size || cas::hash_of(as_bytes(bytes)) != content.id)
    return fail(Errc::corrupt, "manifest: the chunks of content " + content.id.hex() + " are not that content");
  return bytes;
}

Result<void> add_content(cas::WriteSession& session, std::string_view bytes, const cas::ContentId& id) {
  const auto written = session.begin(cas::Placement::metadata)->finish(as_bytes(bytes));
  if (!written) return fail(written.error());
  if (*written != id) return fail(Errc::corrupt, "content " + id.hex() + " has other bytes");
  return {};
}

/// Enters the tree into the records of a layer that nobody sees yet.
Result<void> enter_layer(std::string_view object, fs::LayerTables& tables) {
  TextInput input{object};
  fs::LayerObjectReader reader{input};
  while (true) {
    const auto entry = reader.next();
    if (!entry) return fail(entry.error(), "layer object");
    if (!*entry) return tables.ingest();
    if (auto added = tables.add(**entry); !added) return added;
  }
}

}  // namespace

Puller::Puller(const Parts& parts, ObjectReader& reader, const FrameFetcher::Options& options, KeepLazy lazy)
    : parts_{parts}, reader_{reader}, fetcher_{reader, options}, lazy_{std::move(lazy)} {}

Result<Manifest> Puller::fetch_manifest(const cas::Hash& id) {
  for (unsigned distrusted = 0;; ++distrusted) {
    auto bytes = fetch_now(reader_, {.path = manifest_path(id), .limit = kMaxManifest, .distrusted = distrusted});
    if (!bytes) return fail(std::move(bytes).error(), "manifest " + id.hex());
    report_.manifest_bytes += bytes->size();
    if (cas::hash_of(as_bytes(*bytes)) == id) {
      manifest_text_ = *std::move(bytes);
      return parse_manifest(manifest_text_);
    }
    if (distrusted == FrameFetcher::kMaxDistrust)
      return fail(Errc::corrupt, "manifest " + id.hex() + ": the remote has other bytes under that name");
  }
}

Result<Puller::Metadata> Puller::fetch_metadata(const Manifest& manifest, cas::WriteSession& session) {
  std::unordered_map<cas::ChunkId, std::uint32_t, cas::HashOfHash> sizes;
  for (const Manifest::Part& part : manifest.metadata_chunks()) sizes.emplace(part.id, part.size);
  // The session keeps alive what is here: gc may run, and a removed image may have had it.
  const auto ranges = plan_metadata(manifest, [&](const cas::ChunkId& id) { return session.knows(id, sizes.at(id)); });
  if (!ranges) return fail(ranges.error());
  MadeOf chunks;
  auto fetched = fetcher_.fetch(*ranges, [&](const FetchedFrame& fetched_frame) -> Result<void> {
    report_.metadata_bytes += fetched_frame.container.size();
    for (const cas::DecodedFrame::Entry& entry : fetched_frame.frame->entries)
      chunks.emplace(entry.id, as_text(fetched_frame.frame->data(entry)));
    return {};
  });
  if (!fetched) return fail(std::move(fetched).error(), "the image's metadata");
  Metadata metadata;
  auto layer = assemble(manifest.layer, chunks, parts_.contents);
  if (!layer) return fail(std::move(layer).error());
  metadata.layer = *std::move(layer);
  auto index = assemble(manifest.index, chunks, parts_.contents);
  if (!index) return fail(std::move(index).error());
  metadata.index = *std::move(index);
  return metadata;
}

Result<std::shared_ptr<fs::Catalog::LayerPin>> Puller::find_layer(const Manifest& manifest) {
  const auto images = parts_.catalog.list();
  if (!images) return fail(images.error());
  for (const fs::Image& image : *images) {
    if (image.manifest != manifest.layer.id) continue;
    report_.image = image;
    return parts_.catalog.pin(image.layer);
  }
  return nullptr;
}

Result<void> Puller::store_layer(const Manifest& manifest, const Metadata& metadata, fs::LayerId layer,
                                 cas::WriteSession& session, const FetchProgress& progress) {
  fs::LayerTables tables{parts_.database, layer, parts_.scratch};
  if (auto entered = enter_layer(metadata.layer, tables); !entered) return entered;
  TextInput object{metadata.layer};
  const auto contents = contents_of_layer(object);
  if (!contents) return fail(contents.error());
  const auto parsed = parse_index(as_bytes(metadata.index), *contents);
  if (!parsed) return fail(parsed.error());
  if (lazy_) {
    if (auto added = add_content(session, metadata.index, manifest.index.id); !added) return added;
  } else {
    const auto fetched = fetch_all(parts_.contents, session, fetcher_, manifest, *parsed, progress);
    if (!fetched) return fail(fetched.error());
    report_.content_bytes = *fetched;
  }
  if (auto added = add_content(session, metadata.layer, manifest.layer.id); !added) return added;
  if (auto committed = session.commit(); !committed) return committed;
  if (lazy_) {
    if (auto kept = lazy_(manifest.layer.id, manifest_text_); !kept) return kept;
  }
  report_.image.manifest = manifest.layer.id;
  report_.image.manifest_size = manifest.layer.size;
  report_.image.files = tables.inodes();
  report_.image.bytes = tables.bytes();
  report_.totals = session.totals();
  return {};
}

Result<void> Puller::publish(const fs::ImageName& name, const std::string& source) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  report_.image.name = name;
  report_.image.source = source;
  report_.image.created = {now.tv_sec, static_cast<std::uint32_t>(now.tv_nsec)};
  return parts_.catalog.publish(report_.image, {});
}

Result<Puller::Report> Puller::pull(const cas::Hash& id, const fs::ImageName& name, const std::string& source,
                                    const FetchProgress& progress) {
  report_ = {};
  const auto manifest = fetch_manifest(id);
  if (!manifest) return fail(manifest.error());
  const auto session = parts_.contents.begin_session();  // until the name keeps what it wrote
  const auto known = find_layer(*manifest);
  if (!known) return fail(known.error());
  if (*known) {
    if (auto named = publish(name, source); !named) return fail(named.error());
    return report_;
  }
  const auto metadata = fetch_metadata(*manifest, *session);
  if (!metadata) return fail(metadata.error());
  auto layer = parts_.catalog.begin_layer();
  if (!layer) return fail(std::move(layer).error());
  report_.image.layer = layer->layer;
  report_.image.tree = layer->tree;
  Result<void> done = store_layer(*manifest, *metadata, layer->layer, *session, progress);
  if (done) done = publish(name, source);
  if (!done) {
    layer->pin.reset();
    (void)parts_.catalog.sweep();  // its records go now, not at the next gc
    return fail(std::move(done).error());
  }
  return report_;
}

}  // namespace stellarium::cdn
