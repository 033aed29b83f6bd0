#include "fs/content_input.h"

#include <algorithm>
#include <cstring>

namespace stellarium::fs {

Result<void> ContentInput::load_next_chunk() {
  if (!recipe_) {
    Result<cas::Recipe> recipe = store_.recipe(content_, size_);
    if (!recipe) return fail(recipe.error());
    recipe_ = std::move(*recipe);
  }
  if (next_entry_ == recipe_->entries.size())
    return fail(Errc::corrupt, "content " + content_.hex() + " is shorter than its size");
  const cas::Recipe::Entry& entry = recipe_->entries[next_entry_];
  const cas::DecodedFrame::Entry* found = frame_ ? frame_->find(entry.id) : nullptr;
  if (found == nullptr) {
    Result<std::shared_ptr<const cas::DecodedFrame>> frame = store_.fetch(entry.id);
    if (!frame) return fail(frame.error());
    frame_ = std::move(*frame);
    found = frame_->find(entry.id);
  }
  if (found == nullptr || found->size != entry.size)
    return fail(Errc::corrupt, "chunk " + entry.id.hex() + " has another size than its recipe says");
  chunk_ = frame_->data(*found);
  if (++repeats_done_ == entry.repeat) {
    ++next_entry_;
    repeats_done_ = 0;
  }
  return {};
}

Result<std::size_t> ContentInput::read(MutableByteSpan out) {
  if (left_ == 0 || out.empty()) return 0;
  if (chunk_.empty()) {
    if (Result<void> loaded = load_next_chunk(); !loaded) return fail(loaded.error());
  }
  const std::size_t count = static_cast<std::size_t>(std::min<std::uint64_t>({left_, out.size(), chunk_.size()}));
  std::memcpy(out.data(), chunk_.data(), count);
  hasher_.update(chunk_.first(count));
  chunk_ = chunk_.subspan(count);
  left_ -= count;
  if (left_ == 0 && hasher_.finish() != content_)
    return fail(Errc::corrupt, "content " + content_.hex() + " is not what was stored");
  return count;
}

}  // namespace stellarium::fs
