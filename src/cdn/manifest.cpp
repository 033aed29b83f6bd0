#include "cdn/manifest.h"

#include <unordered_set>

#include "cas/frame_format.h"
#include "cas/recipe.h"
#include "cdn/strict_json.h"

namespace stellarium::cdn {
namespace {

using nlohmann::json;

constexpr std::uint64_t kSchema = 1;

Error wrong(const std::string& what) {
  return Error{Errc::corrupt, "manifest: " + what, 0};
}

json pair_of(const cas::Hash& id, std::uint64_t size) {
  return json::array({id.hex(), size});
}

json json_of(const Manifest::Content& content) {
  json chunks = json::array();
  for (const Manifest::Part& part : content.chunks) chunks.push_back(pair_of(part.id, part.size));
  return {{"id", content.id.hex()}, {"size", content.size}, {"chunks", std::move(chunks)}};
}

/// [id, size]
std::optional<std::pair<cas::Hash, std::uint64_t>> take_pair(const json& value, std::uint64_t most) {
  if (!value.is_array() || value.size() != 2 || !value[0].is_string() || !value[1].is_number_unsigned()) return {};
  const auto id = cas::Hash::from_hex(value[0].get_ref<const std::string&>());
  const auto size = value[1].get<std::uint64_t>();
  if (!id || size == 0 || size > most) return {};
  return std::pair{*id, size};
}

Result<cas::Hash> take_id(JsonObject& object) {
  const std::string text = object.text("id");
  if (auto good = object.error(); !good) return fail(good.error());
  const auto id = cas::Hash::from_hex(text);
  if (!id) return fail(wrong("an id is no 64 lower-case hexadecimal digits"));
  return *id;
}

Result<Manifest::Content> take_content(JsonObject object) {
  Manifest::Content content;
  content.size = object.number("size", kMaxMetadata);
  const auto id = take_id(object);
  if (!id) return fail(id.error());
  content.id = *id;
  std::uint64_t size = 0;
  for (const json& value : object.list("chunks")) {
    const auto part = take_pair(value, cas::kMaxChunk);
    if (!part) return fail(wrong("a chunk is no [id, size]"));
    content.chunks.push_back({part->first, static_cast<std::uint32_t>(part->second)});
    size += part->second;
  }
  if (auto good = object.error(); !good) return fail(good.error());
  if (size != content.size || size == 0)
    return fail(
        wrong("a content of " + std::to_string(content.size) + " bytes whose chunks have " + std::to_string(size)));
  return content;
}

/// Containers back to back that hold `chunks` in order are exactly one object.
Result<void> check_frames(const Manifest& manifest) {
  const auto chunks = manifest.metadata_chunks();
  std::uint64_t stored = 0;
  std::size_t at = 0;
  for (const Manifest::Frame& frame : manifest.metadata_frames) {
    if (frame.chunks > chunks.size() - at) return fail(wrong("frames of more chunks than the metadata has"));
    std::uint64_t raw = 0;
    for (std::uint32_t i = 0; i < frame.chunks; ++i) raw += chunks[at++].size;
    if (raw > cas::kMaxFrameRaw) return fail(wrong("a frame of " + std::to_string(raw) + " bytes"));
    stored += frame.stored;
  }
  if (at != chunks.size() || stored != manifest.metadata.size)
    return fail(wrong("the frames of the metadata are not its bundle"));
  return {};
}

Result<void> take_frames(const json& list, Manifest& manifest) {
  for (const json& value : list) {
    const bool two =
        value.is_array() && value.size() == 2 && value[0].is_number_unsigned() && value[1].is_number_unsigned();
    const std::uint64_t stored = two ? value[0].get<std::uint64_t>() : 0,
                        chunks = two ? value[1].get<std::uint64_t>() : 0;
    if (chunks == 0 || chunks > cas::kMaxFrameEntries || stored == 0 || stored > cas::kMaxContainer)
      return fail(wrong("a frame is no [bytes, chunks]"));
    manifest.metadata_frames.push_back({static_cast<std::uint32_t>(stored), static_cast<std::uint32_t>(chunks)});
  }
  return {};
}

}  // namespace

std::string manifest_path(const cas::Hash& id) {
  return "manifests/" + id.hex() + ".json";
}
std::string blob_path(const cas::Hash& id) {
  return "blobs/" + id.hex();
}
std::string name_path(std::string_view name) {
  return "names/" + std::string{name};
}

std::vector<Manifest::Part> Manifest::metadata_chunks() const {
  std::vector<Part> parts;
  std::unordered_set<cas::ChunkId, cas::HashOfHash> seen;
  for (const Content* const content : {&layer, &index})
    for (const Part& part : content->chunks)
      if (seen.insert(part.id).second) parts.push_back(part);
  return parts;
}

std::string encode_manifest(const Manifest& manifest) {
  json bundles = json::array(), frames = json::array();
  for (const Manifest::Object& bundle : manifest.bundles) bundles.push_back(pair_of(bundle.id, bundle.size));
  for (const Manifest::Frame& frame : manifest.metadata_frames)
    frames.push_back(json::array({frame.stored, frame.chunks}));
  const json whole{
      {"stellarium", kSchema},
      {"tree", {{"inodes", manifest.inodes}, {"bytes", manifest.bytes}}},
      {"layer", json_of(manifest.layer)},
      {"index", json_of(manifest.index)},
      {"metadata",
       {{"id", manifest.metadata.id.hex()}, {"size", manifest.metadata.size}, {"frames", std::move(frames)}}},
      {"bundles", std::move(bundles)}};
  return whole.dump() + "\n";
}

Result<Manifest> parse_manifest(std::string_view text) {
  const auto whole = parse_strict_json(text);
  if (!whole) return fail(wrong(whole.error().context));
  JsonObject root{*whole, "manifest"};
  const std::uint64_t schema = root.number("stellarium");
  if (auto good = root.error(); !good) return fail(good.error());
  if (schema != kSchema)
    return fail(Errc::version,
                "manifest: schema " + std::to_string(schema) + ", this program knows " + std::to_string(kSchema));

  Manifest manifest;
  JsonObject tree = root.object("tree");
  manifest.inodes = tree.number("inodes");
  manifest.bytes = tree.number("bytes");
  if (auto good = tree.error(); !good) return fail(good.error());
  auto layer = take_content(root.object("layer"));
  if (!layer) return fail(std::move(layer).error());
  manifest.layer = *std::move(layer);
  auto index = take_content(root.object("index"));
  if (!index) return fail(std::move(index).error());
  manifest.index = *std::move(index);

  JsonObject metadata = root.object("metadata");
  manifest.metadata.size = metadata.number("size", kMaxMetadata);
  const json& frames = metadata.list("frames");
  const auto id = take_id(metadata);
  if (!id) return fail(id.error());
  manifest.metadata.id = *id;
  if (auto taken = take_frames(frames, manifest); !taken) return fail(taken.error());
  if (auto good = check_frames(manifest); !good) return fail(good.error());

  for (const json& value : root.list("bundles")) {
    const auto bundle = take_pair(value, INT64_MAX);
    if (!bundle) return fail(wrong("a bundle is no [id, size]"));
    manifest.bundles.push_back({bundle->first, bundle->second});
  }
  if (auto good = root.error(); !good) return fail(good.error());
  return manifest;
}

}  // namespace stellarium::cdn
