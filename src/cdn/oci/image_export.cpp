#include "cdn/oci/image_export.h"

#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <vector>

#include "base/io.h"
#include "cdn/oci/archive_writer.h"
#include "cdn/oci/digest_input.h"
#include "cdn/oci/documents.h"
#include "fs/gzip_output.h"

namespace stellarium::cdn::oci {
namespace {

using nlohmann::json;

constexpr std::string_view kManifestMedia = "application/vnd.oci.image.manifest.v1+json";
constexpr std::string_view kIndexMedia = "application/vnd.oci.image.index.v1+json";
constexpr std::string_view kConfigMedia = "application/vnd.oci.image.config.v1+json";
constexpr std::string_view kGzipMedia = "application/vnd.oci.image.layer.v1.tar+gzip";
constexpr std::size_t kCopied = 256u << 10;

/// A file without a name, and the digest of what was written to it.
class Spool final : public fs::ByteOutput {
 public:
  static Result<Spool> make(const std::filesystem::path& folder) {
    auto file = system_io().open(AT_FDCWD, folder.string(), O_TMPFILE | O_RDWR, 0600);
    if (!file) return fail(file.error());
    return Spool{std::move(*file)};
  }
  Result<void> write(ByteSpan data) override {
    hash_.update(data);
    size_ += data.size();
    while (!data.empty()) {
      const ssize_t done = ::write(file_.get(), data.data(), data.size());
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) return fail_errno("a scratch file");
      data = data.subspan(static_cast<std::size_t>(done));
    }
    return {};
  }
  int file() const { return file_.get(); }
  Descriptor describe(std::string_view media_type) {
    return {.media_type = std::string{media_type}, .digest = hash_.finish(), .size = size_};
  }

 private:
  explicit Spool(UniqueFd file) : file_{std::move(file)} {}
  UniqueFd file_;
  Sha256 hash_;
  std::uint64_t size_ = 0;
};

/// Passes bytes on into something else, too.
class DigestOutput final : public fs::ByteOutput {
 public:
  explicit DigestOutput(fs::ByteOutput& out) : out_{out} {}
  Result<void> write(ByteSpan data) override {
    hash_.update(data);
    return out_.write(data);
  }
  Digest digest() { return hash_.finish(); }

 private:
  fs::ByteOutput& out_;
  Sha256 hash_;
};

/// Counts what goes out, for whoever watches.
class WatchedOutput final : public fs::ByteOutput {
 public:
  WatchedOutput(fs::ByteOutput& out, const std::function<bool(std::uint64_t)>& progress)
      : out_{out}, progress_{progress} {}
  Result<void> write(ByteSpan data) override {
    done_ += data.size();
    if (!progress_(done_)) return fail(Errc::cancelled, "the export was stopped");
    return out_.write(data);
  }

 private:
  fs::ByteOutput& out_;
  const std::function<bool(std::uint64_t)>& progress_;
  std::uint64_t done_ = 0;
};

Result<void> copy(fs::ByteInput& from, fs::ByteOutput& to) {
  std::vector<std::byte> buffer(kCopied);
  while (true) {
    const auto got = from.read(buffer);
    if (!got) return fail(got.error());
    if (*got == 0) return {};
    if (auto written = to.write(ByteSpan{buffer}.first(*got)); !written) return written;
  }
}

class ImageExport {
 public:
  ImageExport(const ExportRequest& request, fs::ByteOutput& out)
      : request_{request}, watched_{out, request.progress}, archive_{watched_} {}

  Result<void> run() {
    if (auto put = archive_.add("oci-layout", R"({"imageLayoutVersion":"1.0.0"})"); !put) return put;
    auto put = request_.kept != nullptr ? put_kept() : put_one_layer();
    if (!put) return put;
    return archive_.finish();
  }

 private:
  Result<void> put_kept() {
    const auto manifest_text = request_.kept->manifest();
    if (!manifest_text) return fail(manifest_text.error());
    auto manifest = parse_manifest(*manifest_text);
    if (!manifest) return fail(manifest.error());
    const auto config_text = request_.kept->config();
    if (!config_text) return fail(config_text.error());
    const auto config = parse_config(*config_text);
    if (!config) return fail(config.error());
    if (config->diff_ids.size() != manifest->layers.size())
      return fail(Errc::corrupt, "the kept manifest and configuration name different layers");
    bool same = true;
    for (std::size_t i = 0; i < manifest->layers.size(); ++i) {
      const auto put = put_layer(i, config->diff_ids[i], manifest->layers[i]);
      if (!put) return fail(put.error(), "layer " + std::to_string(i + 1));
      same = same && *put;
    }
    return put_documents(same ? *manifest_text : make_manifest(*manifest), *config_text);
  }

  /// Whether it is as its manifest says; if not, `described` is what it has become.
  Result<bool> put_layer(std::size_t number, const Digest& diff_id, Descriptor& described) {
    auto layer = request_.kept->layer(number);
    if (!layer) return fail(layer.error());
    DigestInput bytes{*layer->bytes};
    if (layer->is_blob || described.digest == diff_id) {
      if (!put_.insert(described.digest).second) return true;
      if (auto put = archive_.add_stream(described.digest.blob_path(), bytes, described.size); !put)
        return fail(put.error());
      if (bytes.digest() == described.digest) return true;
      return fail(Errc::corrupt, "the kept blob is not " + described.digest.text());
    }
    auto spool = Spool::make(request_.scratch);
    if (!spool) return fail(spool.error());
    fs::GzipOutput gzip{*spool};
    if (auto copied = copy(bytes, gzip); !copied) return fail(copied.error());
    if (auto finished = gzip.finish(); !finished) return fail(finished.error());
    if (bytes.digest() != diff_id) return fail(Errc::corrupt, "its tar is not " + diff_id.text());
    described = spool->describe(kGzipMedia);
    if (auto put = put_spooled(*spool, described); !put) return fail(put.error());
    return false;
  }

  Result<void> put_spooled(const Spool& spool, const Descriptor& described) {
    if (!put_.insert(described.digest).second) return {};
    return archive_.add_part(described.digest.blob_path(), spool.file(), 0, described.size);
  }

  Result<void> put_one_layer() {
    auto spool = Spool::make(request_.scratch);
    if (!spool) return fail(spool.error());
    fs::GzipOutput gzip{*spool};
    DigestOutput tar{gzip};
    if (auto written = request_.tar(tar); !written) return written;
    if (auto finished = gzip.finish(); !finished) return finished;
    const Descriptor layer = spool->describe(kGzipMedia);
    if (auto put = put_spooled(*spool, layer); !put) return put;
    const Platform here = Platform::here();
    const std::string config = json{{"os", here.os},
                                    {"architecture", here.architecture},
                                    {"config", json::object()},
                                    {"rootfs", {{"type", "layers"}, {"diff_ids", json::array({tar.digest().text()})}}}}
                                   .dump();
    const ImageManifest manifest{.config = {.media_type = std::string{kConfigMedia},
                                            .digest = Sha256::of(as_bytes(config)),
                                            .size = config.size()},
                                 .layers = {layer}};
    return put_documents(make_manifest(manifest), config);
  }

  Result<void> put_documents(const std::string& manifest, const std::string& config) {
    const auto put = [&](const std::string& text) -> Result<Digest> {
      Digest digest = Sha256::of(as_bytes(text));
      if (!put_.insert(digest).second) return digest;
      if (auto added = archive_.add(digest.blob_path(), text); !added) return fail(added.error());
      return digest;
    };
    if (const auto added = put(config); !added) return fail(added.error());
    const auto digest = put(manifest);
    if (!digest) return fail(digest.error());
    const json parsed = json::parse(manifest, nullptr, /*allow_exceptions=*/false);
    const std::string media = parsed.value("mediaType", std::string{kManifestMedia});
    const json index{
        {"schemaVersion", 2},
        {"mediaType", kIndexMedia},
        {"manifests", json::array({{{"mediaType", media},
                                    {"digest", digest->text()},
                                    {"size", manifest.size()},
                                    {"annotations", {{"org.opencontainers.image.ref.name", request_.ref}}}}})}};
    return archive_.add("index.json", index.dump());
  }

  const ExportRequest& request_;
  WatchedOutput watched_;
  ArchiveWriter archive_;
  std::set<Digest> put_;
};

}  // namespace

Result<void> export_image(const ExportRequest& request, fs::ByteOutput& out) {
  return ImageExport{request, out}.run();
}

}  // namespace stellarium::cdn::oci
