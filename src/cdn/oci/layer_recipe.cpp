#include "cdn/oci/layer_recipe.h"

#include <algorithm>
#include <limits>

#include "base/bytes.h"
#include "fs/content_input.h"
#include "fs/pax_records.h"
#include "fs/tar_header.h"
#include "fs/types.h"

namespace stellarium::cdn::oci {
namespace {

constexpr std::string_view kRecipeMagic = "stellarium layer recipe 1\n";
constexpr std::uint64_t kMostRecords = 64u << 10;  // bytes of an extended header that are looked into
constexpr std::uint64_t kEndless = std::numeric_limits<std::uint64_t>::max();
constexpr std::size_t kBodyBytes = 33;  // at least, of one in a recipe

tl::unexpected<Error> malformed_recipe() {
  return fail(Errc::corrupt, "a malformed layer recipe");
}

}  // namespace

std::string LayerRecipe::encode() const {
  std::string out{kRecipeMagic};
  put_varint(out, bodies.size());
  for (const Body& body : bodies) {
    out += as_text(body.id.span());
    put_varint(out, body.size);
  }
  put_varint(out, steps.size());
  for (const Step& step : steps) {
    put_varint(out, step.literals);
    put_varint(out, step.body ? *step.body + std::uint64_t{1} : 0);
  }
  return out;
}

Result<LayerRecipe> LayerRecipe::decode(std::string_view text) {
  if (!text.starts_with(kRecipeMagic)) return malformed_recipe();
  ByteReader reader{as_bytes(text.substr(kRecipeMagic.size()))};
  LayerRecipe recipe;
  const std::uint64_t bodies = reader.varint();
  if (bodies > reader.left() / kBodyBytes) return malformed_recipe();
  for (std::uint64_t i = 0; i < bodies; ++i) {
    const auto id = cas::Hash::from_bytes(as_bytes(reader.text(32)));
    const std::uint64_t size = reader.varint();
    if (!id || !reader.ok()) return malformed_recipe();
    recipe.bodies.push_back({.id = *id, .size = size});
  }
  const std::uint64_t steps = reader.varint();
  if (steps > reader.left() / 2) return malformed_recipe();
  std::uint64_t total = 0;
  for (std::uint64_t i = 0; i < steps; ++i) {
    Step step{.literals = reader.varint(), .body = {}};
    const std::uint64_t body = reader.varint();
    if (!reader.ok() || body > recipe.bodies.size()) return malformed_recipe();
    if (body != 0) step.body = static_cast<std::uint32_t>(body - 1);
    const std::uint64_t size = body != 0 ? recipe.bodies[*step.body].size : 0;
    if (step.literals > INT64_MAX - total || size > INT64_MAX - total - step.literals) return malformed_recipe();
    total += step.literals + size;
    recipe.steps.push_back(step);
  }
  if (!reader.ok() || !reader.at_end()) return malformed_recipe();
  return recipe;
}

Result<std::size_t> RecipeInput::read(MutableByteSpan out) {
  auto got = tar_.read(out);
  if (!got) return got;
  if (auto taken = take(ByteSpan{out}.first(*got)); !taken) return fail(taken.error());
  return got;
}

Result<void> RecipeInput::take(ByteSpan bytes) {
  while (!bytes.empty()) {
    const auto taken = take_some(bytes);
    if (!taken) return fail(taken.error());
    bytes = bytes.subspan(*taken);
  }
  return {};
}

Result<void> RecipeInput::put_literal(ByteSpan bytes) {
  step_literals_ += bytes.size();
  literal_bytes_ += bytes.size();
  return literals_.append(bytes);
}

// Bytes of one state only. At least one byte is taken.
Result<std::size_t> RecipeInput::take_some(ByteSpan bytes) {
  std::size_t count = bytes.size();
  switch (state_) {
    case State::header:
      count = std::min(count, fs::kTarBlock - gathered_.size());
      gathered_ += as_text(bytes.first(count));
      if (auto put = put_literal(bytes.first(count)); !put) return fail(put.error());
      if (gathered_.size() == fs::kTarBlock) read_header();
      break;
    case State::records:
      count = std::min<std::uint64_t>(count, left_);
      gathered_ += as_text(bytes.first(count));
      if (auto put = put_literal(bytes.first(count)); !put) return fail(put.error());
      left_ -= count;
      if (left_ > 0) break;
      if (const auto records = fs::read_pax_records(gathered_)) {
        if (records->size) size_ = records->size;
        odd_ = odd_ || records->others;
        state_ = padding_ > 0 ? State::skipped : State::header;
        left_ = std::exchange(padding_, 0);
      } else {
        state_ = State::literal;
      }
      gathered_.clear();
      break;
    case State::body:
      count = std::min<std::uint64_t>(count, left_);
      hasher_.update(bytes.first(count));
      left_ -= count;
      if (left_ == 0) end_of_body();
      break;
    case State::skipped:
      count = std::min<std::uint64_t>(count, left_);
      if (auto put = put_literal(bytes.first(count)); !put) return fail(put.error());
      left_ -= count;
      if (left_ == 0) state_ = State::header;
      break;
    case State::literal:
      if (auto put = put_literal(bytes); !put) return fail(put.error());
      break;
  }
  return count;
}

void RecipeInput::read_header() {
  const std::string block = std::exchange(gathered_, {});
  if (block.find_first_not_of('\0') == std::string::npos) return;  // of the mark at the end, mostly
  const auto header = fs::TarHeader::decode(block);
  state_ = State::literal;  // unless it is understood
  if (!header) return;
  const auto skip = [&](std::uint64_t size) {
    left_ = size + fs::tar_padding(size);
    state_ = left_ > 0 ? State::skipped : State::header;
  };
  switch (header->type) {
    case 'x':
      if (header->size == 0 || header->size > kMostRecords) return;
      left_ = header->size;
      padding_ = fs::tar_padding(header->size);
      state_ = State::records;
      return;
    case 'g':
    case 'L':
    case 'K':
      if (header->size < kEndless - fs::kTarBlock) skip(header->size);
      return;
    default:
      break;
  }
  const std::uint64_t size = std::exchange(size_, {}).value_or(header->size);
  const bool odd = std::exchange(odd_, false);
  const bool plain = header->type == '0' || header->type == '\0';
  if ((!plain && size != 0) || size > INT64_MAX) return;  // whether data follow depends on who reads it
  if (odd || size <= fs::kMaxInlineContent) return skip(size);
  hasher_ = {};
  left_ = body_size_ = size;
  padding_ = fs::tar_padding(size);
  state_ = State::body;
}

void RecipeInput::end_of_body() {
  const cas::ContentId id = hasher_.finish();
  const auto [known, is_new] = known_.try_emplace(id, static_cast<std::uint32_t>(recipe_.bodies.size()));
  if (is_new) recipe_.bodies.push_back({.id = id, .size = body_size_});
  recipe_.steps.push_back({.literals = std::exchange(step_literals_, 0), .body = known->second});
  state_ = padding_ > 0 ? State::skipped : State::header;
  left_ = std::exchange(padding_, 0);
}

LayerRecipe RecipeInput::finish() {
  if (step_literals_ > 0) recipe_.steps.push_back({.literals = std::exchange(step_literals_, 0), .body = {}});
  return std::move(recipe_);
}

Result<std::size_t> RecipeReplay::read_some(fs::ByteInput& from, MutableByteSpan out) {
  const auto got = from.read(out.first(std::min<std::uint64_t>(out.size(), left_)));
  if (!got) return got;
  if (*got == 0) return fail(Errc::corrupt, "a layer recipe names more than there is");
  left_ -= *got;
  return got;
}

Result<std::size_t> RecipeReplay::read(MutableByteSpan out) {
  if (out.empty()) return 0;
  while (left_ == 0) {
    if (!in_body_ && next_ > 0 && recipe_.steps[next_ - 1].body) {
      const LayerRecipe::Body& body = recipe_.bodies[*recipe_.steps[next_ - 1].body];
      body_ = std::make_unique<fs::ContentInput>(contents_, body.id, body.size);
      left_ = body.size;
      in_body_ = true;
      continue;
    }
    if (next_ == recipe_.steps.size()) return 0;
    left_ = recipe_.steps[next_++].literals;
    in_body_ = false;
  }
  return read_some(in_body_ ? *body_ : *literals_, out);
}

}  // namespace stellarium::cdn::oci
