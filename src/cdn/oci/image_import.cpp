#include "cdn/oci/image_import.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "cdn/oci/digest_input.h"
#include "cdn/oci/documents.h"
#include "cdn/oci/image_stream.h"
#include "cdn/oci/layer_import.h"
#include "cdn/oci/layer_recipe.h"
#include "cdn/oci/merged_tree.h"
#include "fs/companion_name.h"
#include "fs/decompressed_input.h"
#include "fs/import_sealing.h"
#include "fs/tar_reader.h"

namespace stellarium::cdn::oci {
namespace {

constexpr std::string_view kTarType = "application/vnd.oci.image.layer.v1.tar";
constexpr std::string_view kGzipType = "application/vnd.oci.image.layer.v1.tar+gzip";
constexpr std::string_view kZstdType = "application/vnd.oci.image.layer.v1.tar+zstd";

tl::unexpected<Error> not_as_promised(const std::string& what, const Digest& found, const Digest& promised) {
  return fail(Errc::invalid_argument, what + " is " + found.text() + ", not " + promised.text() + " as it should be");
}

/// The data of the archive's current member.
class MemberInput final : public fs::ByteInput {
 public:
  explicit MemberInput(fs::TarReader& archive) : archive_{archive} {}
  Result<std::size_t> read(MutableByteSpan out) override {
    while (left_.empty()) {
      const auto block = archive_.data();
      if (!block) return fail(block.error());
      if (!*block) return 0;
      if ((*block)->offset != position_) return fail(Errc::invalid_argument, "a hole in the stream");
      left_ = (*block)->bytes;
      position_ += left_.size();
    }
    const std::size_t count = std::min(out.size(), left_.size());
    std::ranges::copy(left_.first(count), out.begin());
    left_ = left_.subspan(count);
    return count;
  }

 private:
  fs::TarReader& archive_;
  ByteSpan left_;
  std::uint64_t position_ = 0;
};

/// Passes bytes on into a content.
class KeepingInput final : public fs::ByteInput {
 public:
  KeepingInput(fs::ByteInput& input, cas::ContentWriter* writer) : input_{input}, writer_{writer} {}
  Result<std::size_t> read(MutableByteSpan out) override {
    auto got = input_.read(out);
    if (!got || writer_ == nullptr) return got;
    if (auto kept = writer_->append(ByteSpan{out}.first(*got)); !kept) return fail(kept.error());
    return got;
  }

 private:
  fs::ByteInput& input_;
  cas::ContentWriter* writer_;
};

/// What of a layer is kept, in contents of the companion's session.
struct KeptLayer {
  std::optional<LayerRecipe> recipe;  ///< nothing: the blob itself
  cas::ContentId content;             ///< the blob or the recipe's literals
  std::uint64_t size = 0;
  Descriptor blob;
};

class ImageImport {
 public:
  ImageImport(cas::Database& database, cas::ContentStore& contents, fs::Catalog& catalog,
              const std::filesystem::path& scratch, fs::ByteInput& stream, const ImportRequest& request,
              fs::ImportObserver& observer)
      : database_{database},
        catalog_{catalog},
        scratch_{scratch},
        archive_{stream},
        request_{request},
        session_{contents.begin_session()},
        keeping_{contents.begin_session()},
        merged_{scratch},
        layers_{*session_, merged_, observer, report_},
        observer_{observer} {}

  Result<ImportedImage> run() {
    if (auto read = read_documents(); !read) return fail(read.error());
    for (std::size_t i = 0; i < config_->diff_ids.size(); ++i) {
      if (auto taken = take_layer(i); !taken)
        return fail(taken.error(),
                    "layer " + std::to_string(i + 1) + " of " + std::to_string(config_->diff_ids.size()));
    }
    if (const auto more = archive_.next(); !more || *more) return more ? out_of_place() : fail(more.error());
    if (auto drained = archive_.drain(); !drained) return fail(drained.error());
    observer_.stream_taken();
    if (auto done = session_->commit(); !done) return fail(done.error());  // recipes name what is in it
    return publish();
  }

 private:
  static tl::unexpected<Error> out_of_place() {
    return fail(Errc::invalid_argument, "the image's stream has something out of place");
  }

  Result<void> next_member(std::string_view name, std::uint64_t& size) {
    const auto member = archive_.next();
    if (!member) return fail(member.error());
    if (!*member || (*member)->path != name || (*member)->size < 0) return out_of_place();
    size = static_cast<std::uint64_t>((*member)->size);
    return {};
  }

  Result<std::string> read_document(std::string_view name) {
    std::uint64_t size = 0;
    if (auto found = next_member(name, size); !found) return fail(found.error());
    if (size > kMaxDocument) return fail(Errc::invalid_argument, std::string{name} + " is over 4 MiB");
    std::string text;
    while (true) {
      const auto block = archive_.data();
      if (!block) return fail(block.error());
      if (!*block) break;
      text += as_text((*block)->bytes);
    }
    if (text.size() != size) return out_of_place();
    return text;
  }

  Result<void> read_documents() {
    if (request_.manifest) {
      auto text = read_document(kStreamManifest);
      if (!text) return fail(text.error());
      const Digest digest = Sha256::of(as_bytes(*text));
      if (digest != *request_.manifest) return not_as_promised("the manifest", digest, *request_.manifest);
      auto parsed = parse_manifest(*text);
      if (!parsed) return fail(parsed.error());
      manifest_text_ = std::move(*text);
      manifest_ = std::move(*parsed);
    }
    auto text = read_document(kStreamConfig);
    if (!text) return fail(text.error());
    config_digest_ = Sha256::of(as_bytes(*text));
    if (manifest_ && *config_digest_ != manifest_->config.digest)
      return not_as_promised("the configuration", *config_digest_, manifest_->config.digest);
    if (manifest_ && text->size() != manifest_->config.size)
      return fail(Errc::invalid_argument, "the configuration has another size than its manifest says");
    auto parsed = parse_config(*text);
    if (!parsed) return fail(parsed.error());
    config_text_ = std::move(*text);
    config_ = std::move(*parsed);
    if (manifest_ && manifest_->layers.size() != config_->diff_ids.size())
      return fail(Errc::invalid_argument, "the manifest has " + std::to_string(manifest_->layers.size()) +
                                              " layers, the configuration names " +
                                              std::to_string(config_->diff_ids.size()));
    return {};
  }

  Result<void> take_layer(std::size_t number) {
    std::uint64_t size = 0;
    if (auto found = next_member(kStreamLayer, size); !found) return found;
    if (manifest_ && size != manifest_->layers[number].size)
      return fail(Errc::invalid_argument, "it has " + std::to_string(size) + " bytes, its manifest says " +
                                              std::to_string(manifest_->layers[number].size));
    MemberInput member{archive_};
    DigestInput blob{member};
    // Whether it is compressed, its first bytes say: media types have been wrong.
    StartOfInput start{blob};
    const auto compression = start.compression();
    if (!compression) return fail(compression.error());
    const bool keep_blob = request_.keep == Keep::exact && *compression != Compression::none;

    const std::unique_ptr<cas::ContentWriter> writer = keeping_->begin(cas::Placement::data);
    KeepingInput kept_blob{start, keep_blob ? writer.get() : nullptr};
    fs::DecompressedInput plain{kept_blob};
    DigestInput tar{plain};
    RecipeInput recipe{tar, *writer};
    if (auto read = keep_blob ? layers_.run(tar) : layers_.run(recipe); !read) return read;
    if (auto drained = drain(kept_blob); !drained) return drained;  // what is behind the compressed data, if anything

    const Digest found = blob.digest();
    if (manifest_ && found != manifest_->layers[number].digest)
      return not_as_promised("the blob", found, manifest_->layers[number].digest);
    const Digest diff_id = tar.digest();
    if (diff_id != config_->diff_ids[number]) return not_as_promised("its tar", diff_id, config_->diff_ids[number]);

    const auto content = writer->finish();
    if (!content) return fail(content.error());
    KeptLayer kept{
        .recipe = {},
        .content = *content,
        .size = keep_blob ? blob.bytes() : recipe.literal_bytes(),
        .blob = {.media_type = std::string{media_type(*compression)}, .digest = found, .size = blob.bytes()}};
    if (!keep_blob) kept.recipe = recipe.finish();
    kept_.push_back(std::move(kept));
    return {};
  }

  enum class Compression { none, gzip, zstd };
  static std::string_view media_type(Compression compression) {
    switch (compression) {
      case Compression::gzip:
        return kGzipType;
      case Compression::zstd:
        return kZstdType;
      case Compression::none:
        break;
    }
    return kTarType;
  }

  /// Looks at the first bytes before it passes them on.
  class StartOfInput final : public fs::ByteInput {
   public:
    explicit StartOfInput(fs::ByteInput& input) : input_{input} {}
    Result<Compression> compression() {
      std::byte bytes[4];
      while (start_.size() < sizeof bytes) {
        const auto got = input_.read(MutableByteSpan{bytes}.first(sizeof bytes - start_.size()));
        if (!got) return fail(got.error());
        if (*got == 0) break;
        start_ += as_text(ByteSpan{bytes}.first(*got));
      }
      if (start_.starts_with("\x1f\x8b")) return Compression::gzip;
      if (start_ == "\x28\xb5\x2f\xfd") return Compression::zstd;
      return Compression::none;
    }
    Result<std::size_t> read(MutableByteSpan out) override {
      if (start_.empty()) return input_.read(out);
      const std::size_t count = std::min(out.size(), start_.size());
      std::ranges::copy(as_bytes(start_).first(count), out.begin());
      start_.erase(0, count);
      return count;
    }

   private:
    fs::ByteInput& input_;
    std::string start_;
  };

  static Result<void> drain(fs::ByteInput& input) {
    std::vector<std::byte> buffer(64u << 10);
    while (true) {
      const auto got = input.read(buffer);
      if (!got) return fail(got.error());
      if (*got == 0) return {};
    }
  }

  Result<ImportedImage> publish() {
    if (!manifest_) {
      ImageManifest made{.config = {.media_type = "application/vnd.oci.image.config.v1+json",
                                    .digest = *config_digest_,
                                    .size = config_text_.size()},
                         .layers = {}};
      for (const KeptLayer& layer : kept_) made.layers.push_back(layer.blob);
      manifest_text_ = make_manifest(made);
    }
    const Digest digest = Sha256::of(as_bytes(manifest_text_));
    report_.image.name = request_.name;
    report_.image.source = fs::source_with_digest(request_.source, digest.hex());
    // First the companion: an image that has lost its own is worse than one that waits for its image.
    const auto companion = fs::companion_name(request_.name, report_.image.source);
    if (!companion) return fail(companion.error());
    fs::ImportReport beside;
    beside.image.name = **companion;
    beside.image.source = "what " + request_.name.text() + " came as";
    fs::LayerBuilder companion_tree{scratch_, {}};
    if (auto put = put_companion(companion_tree); !put) return fail(put.error());
    if (auto done = fs::seal_import(database_, catalog_, companion_tree, *keeping_, beside); !done)
      return fail(done.error());

    fs::LayerBuilder tree{scratch_, {}};
    if (auto emitted = merged_.emit(tree); !emitted) return fail(emitted.error());
    if (auto done = fs::seal_import(database_, catalog_, tree, *session_, report_); !done) return fail(done.error());
    report_.totals.bytes_stored += beside.totals.bytes_stored;
    return ImportedImage{.tree = std::move(report_), .manifest = digest, .layers = kept_.size()};
  }

  Result<void> put_companion(fs::LayerBuilder& tree) {
    KeptImageWriter writer{*keeping_, tree};
    if (auto put = writer.put_documents(manifest_text_, config_text_); !put) return put;
    for (std::size_t i = 0; i < kept_.size(); ++i) {
      const KeptLayer& layer = kept_[i];
      auto put = layer.recipe ? writer.put_recipe(i, *layer.recipe, layer.content, layer.size)
                              : writer.put_blob(i, layer.content, layer.size);
      if (!put) return put;
    }
    return {};
  }

  cas::Database& database_;
  fs::Catalog& catalog_;
  const std::filesystem::path& scratch_;
  fs::TarReader archive_;
  const ImportRequest& request_;
  std::unique_ptr<cas::WriteSession> session_, keeping_;  // of the tree and of the companion
  fs::ImportReport report_;
  MergedTree merged_;
  LayerImport layers_;
  fs::ImportObserver& observer_;

  std::string manifest_text_, config_text_;
  std::optional<ImageManifest> manifest_;
  std::optional<ImageConfig> config_;
  std::optional<Digest> config_digest_;
  std::vector<KeptLayer> kept_;
};

}  // namespace

Result<ImportedImage> import_image(cas::Database& database, cas::ContentStore& contents, fs::Catalog& catalog,
                                   const std::filesystem::path& scratch, fs::ByteInput& stream,
                                   const ImportRequest& request, fs::ImportObserver& observer) {
  return ImageImport{database, contents, catalog, scratch, stream, request, observer}.run();
}

}  // namespace stellarium::cdn::oci
