// Layers that nobody vouches for, one over the other: whatever they say, what is merged is a tree that can be, and the
// recipe of each tar gives back its bytes. No store: contents are only counted.
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "cdn/oci/layer_import.h"
#include "cdn/oci/layer_recipe.h"
#include "cdn/oci/merged_tree.h"
#include "fs/tar_header.h"
#include "support/byte_streams.h"

using namespace stellarium;
using namespace stellarium::cdn::oci;

namespace {

constexpr std::size_t kMaxTaken = 16u << 20;  // a bomb is a matter of time, not of memory

class CountingWriter final : public cas::ContentWriter {
 public:
  Result<void> append(ByteSpan data) override {
    taken_ += data.size();
    hasher_.update(data);
    if (taken_ > kMaxTaken) return fail(Errc::out_of_space, "enough");
    return {};
  }
  Result<void> append_zeros(std::uint64_t count) override {
    if (count > kMaxTaken) return fail(Errc::out_of_space, "enough");
    hasher_.update_zeros(count);
    return {};
  }
  Result<cas::ContentId> finish() override { return hasher_.finish(); }
  using ContentWriter::finish;

 private:
  std::uint64_t taken_ = 0;
  cas::Hasher hasher_;
};

class CountingSession final : public cas::WriteSession {
 public:
  std::unique_ptr<cas::ContentWriter> begin(cas::Placement) override { return std::make_unique<CountingWriter>(); }
  Result<bool> knows(const cas::ContentId&, std::uint64_t) override { return true; }
  Result<bool> adopt(const cas::ContentId&, std::uint64_t) override { return true; }
  Result<void> add_frame(ByteSpan, const cas::DecodedFrame&) override { return {}; }
  Result<void> add_recipe(const cas::Recipe&) override { return {}; }
  Result<void> commit() override { return {}; }
  void begin_commit() override {}
  Totals totals() const override { return {}; }
};

/// Keeps the literals.
class Literals final : public cas::ContentWriter {
 public:
  Result<void> append(ByteSpan data) override {
    put_bytes(text, data);
    return {};
  }
  Result<void> append_zeros(std::uint64_t) override { std::abort(); }
  Result<cas::ContentId> finish() override { return cas::ContentId{}; }
  std::string text;
};

/// Literals and bodies, in the order of the steps, are the bytes.
void check_recipe(ByteSpan tar) {
  test::SpanInput input{tar, 777};
  Literals literals;
  RecipeInput reading{input, literals};
  std::vector<std::byte> buffer(1000);
  while (true) {
    const auto got = reading.read(buffer);
    if (!got) std::abort();
    if (*got == 0) break;
  }
  const LayerRecipe recipe = reading.finish();
  std::size_t at = 0, literal = 0;
  for (const LayerRecipe::Step& step : recipe.steps) {
    if (step.literals > tar.size() - at || step.literals > literals.text.size() - literal) std::abort();
    if (std::memcmp(tar.data() + at, literals.text.data() + literal, step.literals) != 0) std::abort();
    at += step.literals;
    literal += step.literals;
    if (!step.body) continue;
    const LayerRecipe::Body& body = recipe.bodies[*step.body];
    if (body.size > tar.size() - at || cas::hash_of(tar.subspan(at, body.size)) != body.id) std::abort();
    at += body.size;
  }
  // A body that was cut off is no step: its layer is refused for other reasons.
  if (at > tar.size() || literal != literals.text.size()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  // Layers end where a block begins that the first byte chooses.
  const std::size_t layers = 1 + data[0] % 4;
  const ByteSpan all = std::as_bytes(std::span{data + 1, size - 1});
  const std::size_t part = (all.size() / layers / fs::kTarBlock + 1) * fs::kTarBlock;
  CountingSession session;
  MergedTree tree{"/nonexistent"};
  fs::ImportObserver observer;
  fs::ImportReport report;
  LayerImport layer{session, tree, observer, report};
  for (std::size_t at = 0; at < all.size(); at += part) {
    std::vector<std::byte> tar(all.begin() + static_cast<std::ptrdiff_t>(at),
                               all.begin() + static_cast<std::ptrdiff_t>(std::min(at + part, all.size())));
    check_recipe(tar);
    tar.resize(tar.size() + 2 * fs::kTarBlock);  // the mark of its end
    test::SpanInput input{tar};
    if (!layer.run(input)) break;  // what came before it is a tree nevertheless
  }
  fs::LayerBuilder builder{"/nonexistent", {.sort_memory = 8u << 20}};
  if (!tree.emit(builder)) std::abort();
  if (!builder.assemble()) std::abort();
  return 0;
}
