#include "cdn/oci/kept_image.h"

#include <sys/stat.h>

#include "fs/content_input.h"
#include "fs/types.h"

namespace stellarium::cdn::oci {
namespace {

constexpr std::uint64_t kMostText = 256u << 20;  // of a recipe; 16 million files

std::string layer_path(std::size_t number, const std::string& part) {
  return "layers/" + std::to_string(number) + "/" + part;
}

/// All of them are alike: only their bytes count.
fs::Inode plain_file(std::uint64_t size) {
  fs::Inode inode;
  inode.mode = S_IFREG | 0444;
  inode.size = inode.allocated = size;
  return inode;
}

}  // namespace

Result<void> KeptImageWriter::put_content(const std::string& path, const cas::ContentId& id, std::uint64_t size) {
  fs::Inode inode = plain_file(size);
  inode.body = fs::Body::content;
  inode.content = id;
  return builder_.add(path, inode, {});
}

Result<void> KeptImageWriter::put_text(const std::string& path, const std::string& text) {
  if (text.size() > fs::kMaxInlineContent) {
    const auto id = session_.begin(cas::Placement::metadata)->finish(as_bytes(text));
    if (!id) return fail(id.error());
    return put_content(path, *id, text.size());
  }
  fs::Inode inode = plain_file(text.size());
  if (!text.empty()) inode.body = fs::Body::inline_;
  inode.inline_bytes = text;
  return builder_.add(path, inode, {});
}

Result<void> KeptImageWriter::put_documents(const std::string& manifest, const std::string& config) {
  if (auto put = put_text("manifest.json", manifest); !put) return put;
  return put_text("config.json", config);
}

Result<void> KeptImageWriter::put_blob(std::size_t layer, const cas::ContentId& blob, std::uint64_t size) {
  return put_content(layer_path(layer, "blob"), blob, size);
}

Result<void> KeptImageWriter::put_recipe(std::size_t layer, const LayerRecipe& recipe, const cas::ContentId& literals,
                                         std::uint64_t literal_bytes) {
  for (std::size_t i = 0; i < recipe.bodies.size(); ++i) {
    const LayerRecipe::Body& body = recipe.bodies[i];
    const auto present = session_.adopt(body.id, body.size);
    if (!present) return fail(present.error());
    if (!*present) return fail(Errc::not_found, "layer " + std::to_string(layer) + " has data that belong to no file");
    if (auto put = put_content(layer_path(layer, "bodies/" + std::to_string(i)), body.id, body.size); !put) return put;
  }
  if (auto put = put_content(layer_path(layer, "literals"), literals, literal_bytes); !put) return put;
  return put_text(layer_path(layer, "recipe"), recipe.encode());
}

Result<std::string> KeptImage::text(const std::string& path) const {
  const auto found = reader_.resolve(path, false);
  if (!found) return fail(found.error());
  if (found->inode.body != fs::Body::content) return found->inode.inline_bytes;
  if (found->inode.size > kMostText) return fail(Errc::corrupt, path + " is too large");
  std::string text(static_cast<std::size_t>(found->inode.size), '\0');
  fs::ContentInput input{contents_, found->inode.content, found->inode.size};
  for (std::size_t done = 0; done < text.size();) {
    const auto got = input.read({reinterpret_cast<std::byte*>(text.data()) + done, text.size() - done});
    if (!got) return fail(got.error());
    if (*got == 0) return fail(Errc::corrupt, path + " is shorter than it was");
    done += *got;
  }
  return text;
}

Result<KeptImage::Layer> KeptImage::layer(std::size_t number) const {
  const auto blob = reader_.resolve(layer_path(number, "blob"), false);
  if (blob)
    return Layer{.bytes = std::make_unique<fs::ContentInput>(contents_, blob->inode.content, blob->inode.size),
                 .is_blob = true};
  if (blob.error().code != Errc::not_found) return fail(blob.error());
  const auto encoded = text(layer_path(number, "recipe"));
  if (!encoded) return fail(encoded.error());
  auto recipe = LayerRecipe::decode(*encoded);
  if (!recipe) return fail(recipe.error());
  const auto literals = reader_.resolve(layer_path(number, "literals"), false);
  if (!literals) return fail(literals.error());
  auto literal_bytes = std::make_unique<fs::ContentInput>(contents_, literals->inode.content, literals->inode.size);
  return Layer{.bytes = std::make_unique<RecipeReplay>(contents_, std::move(*recipe), std::move(literal_bytes))};
}

}  // namespace stellarium::cdn::oci
