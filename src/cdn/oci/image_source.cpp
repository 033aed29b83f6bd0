#include "cdn/oci/image_source.h"

#include <algorithm>
#include <map>
#include <set>

#include "cdn/oci/archive_writer.h"
#include "cdn/oci/image_stream.h"

namespace stellarium::cdn::oci {
namespace {

constexpr std::size_t kMaxIndexes = 64;  // read for one image

bool is_named(const std::string& have, const std::string& wanted) {
  return have == wanted || (have.size() > wanted.size() && have.ends_with(":" + wanted));
}

/// What the index leads to, further indexes included.
class Choice {
 public:
  Choice(const ImageFiles& files, const Selection& selection) : files_{files}, selection_{selection} {}

  Result<Digest> run() {
    const auto text = files_.document("index.json");
    if (!text) return fail(text.error());
    if (const auto taken = take(*text, ""); !taken) return fail(taken.error());
    if (found_.size() == 1) return found_.begin()->first;
    std::string offered;
    for (const std::string& one : offered_) offered += (offered.empty() ? "" : ", ") + one;
    if (offered.size() > 300) offered = offered.substr(0, 300) + "…";
    if (found_.empty())
      return fail(Errc::not_found, "it has no such image" + (offered.empty() ? "" : ", but " + offered));
    return fail(Errc::invalid_argument, "it has several images, choose with --ref or --platform: " + offered);
  }

 private:
  Result<void> take(const std::string& text, const std::string& ref) {
    const auto entries = parse_index(text);
    if (!entries) return fail(entries.error());
    for (const IndexEntry& entry : *entries) {
      const std::string& name = entry.ref.empty() ? ref : entry.ref;
      if (!entry.is_index)
        offered_.insert((name.empty() ? "(no ref)" : name) + " " + (entry.platform ? entry.platform->text() : ""));
      if (!selection_.ref.empty() && !is_named(name, selection_.ref)) continue;
      if (entry.is_index) {
        if (!indexes_.insert(entry.what.digest).second) continue;  // in a circle, or twice
        if (indexes_.size() > kMaxIndexes) return fail(Errc::invalid_argument, "over 64 indexes");
        const auto inner = files_.document(entry.what.digest.blob_path());
        if (!inner) return fail(inner.error());
        if (const auto taken = take(*inner, name); !taken) return taken;
        continue;
      }
      // Without a platform in the index the image itself says what it is for; it counts only if somebody asks.
      const Platform wanted = selection_.platform.value_or(Platform::here());
      if (entry.platform && !wanted.takes(*entry.platform)) continue;
      found_.emplace(entry.what.digest, name);
    }
    return {};
  }

  const ImageFiles& files_;
  const Selection& selection_;
  std::set<Digest> indexes_;
  std::map<Digest, std::string> found_;
  std::set<std::string> offered_;
};

}  // namespace

Result<ImageSource> ImageSource::find(const ImageFiles& files, const Selection& selection) {
  return files.form() == ImageFiles::Form::layout ? find_in_layout(files, selection) : find_in_docker(files, selection);
}

Result<ImageSource> ImageSource::find_in_layout(const ImageFiles& files, const Selection& selection) {
  const auto digest = Choice{files, selection}.run();
  if (!digest) return fail(digest.error());
  auto manifest = files.document(digest->blob_path());
  if (!manifest) return fail(manifest.error());
  const auto parsed = parse_manifest(*manifest);
  if (!parsed) return fail(parsed.error());
  auto config = files.document(parsed->config.digest.blob_path());
  if (!config) return fail(config.error());
  ImageSource source;
  source.manifest_digest_ = *digest;
  source.manifest_ = std::move(*manifest);
  source.config_ = std::move(*config);
  for (const Descriptor& layer : parsed->layers) {
    auto part = files.part(layer.digest.blob_path());
    if (!part) return fail(part.error());
    if (part->size != layer.size)
      return fail(Errc::invalid_argument, "layer " + layer.digest.text() + " has " + std::to_string(part->size) +
                                              " bytes, its manifest says " + std::to_string(layer.size));
    source.layers_.push_back(std::move(*part));
  }
  return source;
}

Result<ImageSource> ImageSource::find_in_docker(const ImageFiles& files, const Selection& selection) {
  const auto text = files.document("manifest.json");
  if (!text) return fail(text.error());
  const auto images = parse_docker_manifest(*text);
  if (!images) return fail(images.error());
  const DockerImage* found = nullptr;
  for (const DockerImage& image : *images) {
    const auto named = [&](const std::string& tag) { return is_named(tag, selection.ref); };
    if (!selection.ref.empty() && std::ranges::none_of(image.tags, named)) continue;
    if (found != nullptr) return fail(Errc::invalid_argument, "it has several images, choose with --ref");
    found = &image;
  }
  if (found == nullptr) return fail(Errc::not_found, "it has no such image");
  ImageSource source;
  auto config = files.document(found->config);
  if (!config) return fail(config.error());
  source.config_ = std::move(*config);
  for (const std::string& layer : found->layers) {
    auto part = files.part(layer);
    if (!part) return fail(part.error());
    source.layers_.push_back(std::move(*part));
  }
  return source;
}

std::uint64_t ImageSource::size() const {
  std::uint64_t size = manifest_.size() + config_.size();
  for (const FilePart& layer : layers_) size += layer.size;
  return size;
}

Result<void> ImageSource::send(fs::ByteOutput& out) const {
  ArchiveWriter archive{out};
  if (manifest_digest_) {
    if (auto sent = archive.add(kStreamManifest, manifest_); !sent) return sent;
  }
  if (auto sent = archive.add(kStreamConfig, config_); !sent) return sent;
  for (const FilePart& layer : layers_) {
    if (auto sent = archive.add_part(kStreamLayer, layer.file.get(), layer.offset, layer.size); !sent) return sent;
  }
  return archive.finish();
}

}  // namespace stellarium::cdn::oci
