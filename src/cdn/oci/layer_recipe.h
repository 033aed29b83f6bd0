#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cas/content_store.h"
#include "fs/byte_stream.h"

namespace stellarium::cdn::oci {

/// How the tar of a layer is made again, byte for byte, out of the contents of its files and what lies between them
/// (docs/formats/oci-image.md). The idea is that of tar-split (Vincent Batts, 2015).
struct LayerRecipe {
  struct Body {
    cas::ContentId id;
    std::uint64_t size = 0;
    bool operator==(const Body&) const = default;
  };
  /// So many bytes of the literals, and then, if there is one, a body.
  struct Step {
    std::uint64_t literals = 0;
    std::optional<std::uint32_t> body;
    bool operator==(const Step&) const = default;
  };
  std::vector<Body> bodies;  ///< each once
  std::vector<Step> steps;
  bool operator==(const LayerRecipe&) const = default;

  std::string encode() const;
  /// Errors: corrupt. Nothing that the text declares is allocated before it is there.
  static Result<LayerRecipe> decode(std::string_view text);
};

/// Passes the bytes of a tar on and takes its recipe meanwhile. What is not a plain tar is a literal as a whole.
///
/// Memory: 48 bytes a file. Threads: one at a time.
class RecipeInput final : public fs::ByteInput {
 public:
  /// `literals` gets what is no body.
  RecipeInput(fs::ByteInput& tar, cas::ContentWriter& literals) : tar_{tar}, literals_{literals} {}
  Result<std::size_t> read(MutableByteSpan out) override;
  /// After the end. Whoever read the tar has made contents of its files; they are what the bodies name.
  LayerRecipe finish();
  std::uint64_t literal_bytes() const { return literal_bytes_; }

 private:
  enum class State { header, records, body, skipped, literal };
  Result<void> take(ByteSpan bytes);
  Result<std::size_t> take_some(ByteSpan bytes);
  Result<void> put_literal(ByteSpan bytes);
  void read_header();
  void end_of_body();

  fs::ByteInput& tar_;
  cas::ContentWriter& literals_;
  State state_ = State::header;
  std::string gathered_;               // of a header or of the records before one
  std::uint64_t left_ = 0;             // bytes of what the state is about
  std::uint64_t padding_ = 0;          // behind it
  std::optional<std::uint64_t> size_;  // that records announce
  bool odd_ = false;                   // records say that the next body is not what it seems
  std::uint64_t body_size_ = 0;
  cas::Hasher hasher_;
  std::uint64_t step_literals_ = 0, literal_bytes_ = 0;
  std::map<cas::ContentId, std::uint32_t> known_;
  LayerRecipe recipe_;
};

/// The tar that a recipe is of.   Errors: corrupt, not_found, io. Threads: one at a time.
class RecipeReplay final : public fs::ByteInput {
 public:
  RecipeReplay(cas::ContentStore& contents, LayerRecipe recipe, std::unique_ptr<fs::ByteInput> literals)
      : contents_{contents}, recipe_{std::move(recipe)}, literals_{std::move(literals)} {}
  Result<std::size_t> read(MutableByteSpan out) override;

 private:
  Result<std::size_t> read_some(fs::ByteInput& from, MutableByteSpan out);

  cas::ContentStore& contents_;
  LayerRecipe recipe_;
  std::unique_ptr<fs::ByteInput> literals_, body_;
  std::size_t next_ = 0;    // step
  std::uint64_t left_ = 0;  // of the literals or the body that is being read
  bool in_body_ = false;
};

}  // namespace stellarium::cdn::oci
