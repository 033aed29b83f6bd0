#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "cas/content_store.h"
#include "cdn/oci/documents.h"
#include "cdn/oci/layer_recipe.h"
#include "fs/byte_stream.h"
#include "fs/layer_builder.h"
#include "fs/layer_reader.h"

// The companion tree (fs/companion_name.h) of an image that came as OCI: docs/formats/oci-image.md.
namespace stellarium::cdn::oci {

/// How much of the layers is kept.
enum class Keep {
  exact,       ///< a layer's blob; of one that is not compressed its recipe, which gives the same bytes
  equivalent,  ///< recipes: the same tars, compressed anew
};

/// Puts the parts of an image into its companion, which is the tree of `builder`.   Threads: one at a time.
class KeptImageWriter {
 public:
  KeptImageWriter(cas::WriteSession& session, fs::LayerBuilder& builder) : session_{session}, builder_{builder} {}
  [[nodiscard]] Result<void> put_documents(const std::string& manifest, const std::string& config);
  [[nodiscard]] Result<void> put_blob(std::size_t layer, const cas::ContentId& blob, std::uint64_t size);
  /// The contents that it names must be committed. Errors: not_found (one is missing).
  [[nodiscard]] Result<void> put_recipe(std::size_t layer, const LayerRecipe& recipe, const cas::ContentId& literals,
                                        std::uint64_t literal_bytes);

 private:
  Result<void> put_text(const std::string& path, const std::string& text);
  Result<void> put_content(const std::string& path, const cas::ContentId& id, std::uint64_t size);

  cas::WriteSession& session_;
  fs::LayerBuilder& builder_;
};

/// Reads them again.   Errors: corrupt, not_found, io. Threads: all functions may be called concurrently.
class KeptImage {
 public:
  KeptImage(cas::ContentStore& contents, fs::LayerReader reader) : contents_{contents}, reader_{std::move(reader)} {}
  [[nodiscard]] Result<std::string> manifest() const { return text("manifest.json"); }
  [[nodiscard]] Result<std::string> config() const { return text("config.json"); }

  struct Layer {
    std::unique_ptr<fs::ByteInput> bytes;
    bool is_blob = false;  ///< as the manifest describes it; else its tar
  };
  [[nodiscard]] Result<Layer> layer(std::size_t number) const;

 private:
  Result<std::string> text(const std::string& path) const;

  cas::ContentStore& contents_;
  fs::LayerReader reader_;
};

}  // namespace stellarium::cdn::oci
