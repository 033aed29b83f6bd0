#include "cdn/oci/documents.h"

#include <nlohmann/json.hpp>

#include "cdn/strict_json.h"

namespace stellarium::cdn::oci {
namespace {

using nlohmann::json;

constexpr std::string_view kRefName = "org.opencontainers.image.ref.name";
constexpr std::string_view kConfigTypes[] = {"application/vnd.oci.image.config.v1+json",
                                             "application/vnd.docker.container.image.v1+json"};
constexpr std::string_view kManifestTypes[] = {"application/vnd.oci.image.manifest.v1+json",
                                               "application/vnd.docker.distribution.manifest.v2+json"};
constexpr std::string_view kIndexTypes[] = {"application/vnd.oci.image.index.v1+json",
                                            "application/vnd.docker.distribution.manifest.list.v2+json"};
constexpr std::uint64_t kMaxBlob = std::uint64_t{1} << 40;
constexpr std::size_t kMaxText = 4096;

template <typename List>
bool one_of(const List& list, std::string_view text) {
  for (const std::string_view known : list)
    if (text == known) return true;
  return false;
}

/// Names of machines as Go has them, which the specification takes over.
constexpr std::string_view kArchitecture =
#if defined(__x86_64__)
    "amd64";
#elif defined(__aarch64__)
    "arm64";
#elif defined(__riscv)
    "riscv64";
#elif defined(__powerpc64__)
    "ppc64le";
#else
    "";
#endif

Result<json> parse_document(std::string_view text, const char* what) {
  if (text.size() > kMaxDocument) return fail(Errc::invalid_argument, std::string{what} + " is over 4 MiB");
  auto parsed = parse_strict_json(text);
  if (!parsed) return fail(parsed.error(), what);
  return parsed;
}

Result<void> as_invalid(const Result<void>& read) {
  if (read) return read;
  return fail(Errc::invalid_argument, read.error().context);
}

Result<Descriptor> read_descriptor(const json& value, const char* where) {
  JsonObject object{value, where};
  const std::string digest = object.text("digest");
  std::string type = object.text("mediaType");
  const std::uint64_t size = object.number("size", kMaxBlob);
  if (const auto read = as_invalid(object.error()); !read) return fail(read.error());
  const auto parsed = Digest::parse(digest);
  if (!parsed)
    return fail(Errc::invalid_argument, std::string{where} + ": \"" + digest.substr(0, 80) + "\" is no SHA-256 digest");
  return Descriptor{.media_type = std::move(type), .digest = *parsed, .size = size};
}

/// A member that may be missing, and counts only as a text of a reasonable length.
std::string text_or_empty(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) return {};
  auto text = found->get<std::string>();
  return text.size() > kMaxText ? std::string{} : text;
}

Platform read_platform(const json& object) {
  return {.os = text_or_empty(object, "os"),
          .architecture = text_or_empty(object, "architecture"),
          .variant = text_or_empty(object, "variant")};
}

Result<void> check_schema(const json& document, const char* what) {
  JsonObject object{document, what};
  if (object.number("schemaVersion") == 2) return {};
  if (const auto read = as_invalid(object.error()); !read) return read;
  return fail(Errc::invalid_argument, std::string{what} + " has another schema than 2");
}

Result<std::vector<std::string>> read_texts(const json& list, const char* what) {
  std::vector<std::string> out;
  for (const json& entry : list) {
    if (!entry.is_string() || entry.get_ref<const std::string&>().size() > kMaxText)
      return fail(Errc::invalid_argument, std::string{what} + " has something else than short texts");
    out.push_back(entry.get<std::string>());
  }
  return out;
}

json as_json(const Descriptor& descriptor) {
  return {{"mediaType", descriptor.media_type}, {"digest", descriptor.digest.text()}, {"size", descriptor.size}};
}

}  // namespace

Result<Platform> Platform::parse(std::string_view text) {
  Platform platform;
  const std::size_t slash = text.find('/');
  platform.os = text.substr(0, slash);
  if (slash != std::string_view::npos) {
    const std::string_view rest = text.substr(slash + 1);
    const std::size_t second = rest.find('/');
    platform.architecture = rest.substr(0, second);
    if (second != std::string_view::npos) platform.variant = rest.substr(second + 1);
  }
  if (platform.os.empty() || platform.architecture.empty())
    return fail(Errc::invalid_argument,
                "\"" + std::string{text.substr(0, 80)} + "\" is no platform such as linux/amd64");
  return platform;
}

Platform Platform::here() {
  return {.os = "linux", .architecture = std::string{kArchitecture}, .variant = {}};
}

std::string Platform::text() const {
  return os + "/" + architecture + (variant.empty() ? "" : "/" + variant);
}

bool Platform::takes(const Platform& offered) const {
  return os == offered.os && architecture == offered.architecture &&
         (variant.empty() || offered.variant.empty() || variant == offered.variant);
}

Result<std::vector<IndexEntry>> parse_index(std::string_view text) {
  const auto document = parse_document(text, "the index");
  if (!document) return fail(document.error());
  if (const auto checked = check_schema(*document, "the index"); !checked) return fail(checked.error());
  JsonObject object{*document, "the index"};
  const json& list = object.list("manifests");
  if (const auto read = as_invalid(object.error()); !read) return fail(read.error());
  if (list.size() > kMaxIndexEntries) return fail(Errc::invalid_argument, "the index has over 4,096 entries");
  std::vector<IndexEntry> entries;
  for (const json& value : list) {
    auto what = read_descriptor(value, "an entry of the index");
    if (!what) return fail(what.error());
    const bool is_index = one_of(kIndexTypes, what->media_type);
    if (!is_index && !one_of(kManifestTypes, what->media_type)) continue;
    IndexEntry entry{.what = std::move(*what), .platform = {}, .ref = {}, .is_index = is_index};
    if (const auto found = value.find("platform"); found != value.end() && found->is_object())
      entry.platform = read_platform(*found);
    if (const auto found = value.find("annotations"); found != value.end() && found->is_object())
      entry.ref = text_or_empty(*found, std::string{kRefName}.c_str());
    entries.push_back(std::move(entry));
  }
  return entries;
}

Result<ImageManifest> parse_manifest(std::string_view text) {
  const auto document = parse_document(text, "the manifest");
  if (!document) return fail(document.error());
  if (const auto checked = check_schema(*document, "the manifest"); !checked) return fail(checked.error());
  JsonObject object{*document, "the manifest"};
  const json& layers = object.list("layers");
  if (!object.has("config")) return fail(Errc::invalid_argument, "the manifest lacks \"config\"");
  if (const auto read = as_invalid(object.error()); !read) return fail(read.error());
  auto config = read_descriptor((*document)["config"], "the manifest's \"config\"");
  if (!config) return fail(config.error());
  if (!one_of(kConfigTypes, config->media_type))
    return fail(Errc::invalid_argument, "the manifest is of no image, but of " + config->media_type.substr(0, 80));
  if (layers.size() > kMaxLayers) return fail(Errc::invalid_argument, "the manifest has over 1,024 layers");
  ImageManifest manifest{.config = std::move(*config), .layers = {}};
  for (const json& value : layers) {
    auto layer = read_descriptor(value, "a layer of the manifest");
    if (!layer) return fail(layer.error());
    const std::string& type = layer->media_type;
    if (type.find("encrypted") != std::string::npos || type.find(".tar") == std::string::npos)
      return fail(Errc::invalid_argument, "a layer of a kind that is not known: " + type.substr(0, 80));
    manifest.layers.push_back(std::move(*layer));
  }
  return manifest;
}

std::string make_manifest(const ImageManifest& manifest) {
  json layers = json::array();
  for (const Descriptor& layer : manifest.layers) layers.push_back(as_json(layer));
  return json{{"schemaVersion", 2},
              {"mediaType", kManifestTypes[0]},
              {"config", as_json(manifest.config)},
              {"layers", std::move(layers)}}
      .dump();
}

Result<ImageConfig> parse_config(std::string_view text) {
  const auto document = parse_document(text, "the image's configuration");
  if (!document) return fail(document.error());
  JsonObject object{*document, "the image's configuration"};
  JsonObject rootfs = object.object("rootfs");
  const auto texts = read_texts(rootfs.list("diff_ids"), "\"diff_ids\"");
  if (const auto read = as_invalid(rootfs.error()); !read) return fail(read.error());
  if (!texts) return fail(texts.error());
  if (texts->size() > kMaxLayers)
    return fail(Errc::invalid_argument, "the image's configuration has over 1,024 layers");
  ImageConfig config{.platform = read_platform(*document), .diff_ids = {}};
  for (const std::string& id : *texts) {
    const auto digest = Digest::parse(id);
    if (!digest)
      return fail(Errc::invalid_argument,
                  "the image's configuration: \"" + id.substr(0, 80) + "\" is no SHA-256 digest");
    config.diff_ids.push_back(*digest);
  }
  return config;
}

Result<std::vector<DockerImage>> parse_docker_manifest(std::string_view text) {
  const auto document = parse_document(text, "manifest.json");
  if (!document) return fail(document.error());
  if (!document->is_array() || document->size() > kMaxIndexEntries)
    return fail(Errc::invalid_argument, "manifest.json is no list of images");
  std::vector<DockerImage> images;
  for (const json& value : *document) {
    JsonObject object{value, "an image of manifest.json"};
    DockerImage image{.config = object.text("Config"), .tags = {}, .layers = {}};
    auto layers = read_texts(object.list("Layers"), "\"Layers\"");
    if (const auto read = as_invalid(object.error()); !read) return fail(read.error());
    if (!layers) return fail(layers.error());
    if (layers->size() > kMaxLayers) return fail(Errc::invalid_argument, "manifest.json has over 1,024 layers");
    image.layers = std::move(*layers);
    if (const auto tags = value.find("RepoTags"); tags != value.end() && tags->is_array()) {
      auto read = read_texts(*tags, "\"RepoTags\"");
      if (!read) return fail(read.error());
      image.tags = std::move(*read);
    }
    images.push_back(std::move(image));
  }
  return images;
}

Result<void> check_layout_version(std::string_view text) {
  const auto document = parse_document(text, "oci-layout");
  if (!document) return fail(document.error());
  JsonObject object{*document, "oci-layout"};
  const std::string version = object.text("imageLayoutVersion");
  if (const auto read = as_invalid(object.error()); !read) return read;
  if (version.starts_with("1.")) return {};
  return fail(Errc::not_supported, "oci-layout says version " + version.substr(0, 20) + ", known is 1.0.0");
}

}  // namespace stellarium::cdn::oci
