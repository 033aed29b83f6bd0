#include "tools/cli/tree_size.h"

#include <fts.h>

#include <algorithm>
#include <memory>

namespace stellarium::cli {

std::uint64_t content_bytes(const struct stat& status) {
  if (!S_ISREG(status.st_mode)) return 0;
  return std::min(static_cast<std::uint64_t>(status.st_size), static_cast<std::uint64_t>(status.st_blocks) * 512);
}

TreeSize::TreeSize(std::string root) : root_{std::move(root)}, thread_{[this] { walk(); }} {}

TreeSize::~TreeSize() {
  stop_ = true;
  thread_.join();
}

void TreeSize::walk() {
  char* roots[] = {root_.data(), nullptr};
  const std::unique_ptr<FTS, int (*)(FTS*)> tree{::fts_open(roots, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, nullptr),
                                                 &::fts_close};
  if (!tree) return;  // then the display shows no total
  while (FTSENT* entry = ::fts_read(tree.get())) {
    if (stop_) return;
    if (entry->fts_info == FTS_F) bytes_ += content_bytes(*entry->fts_statp);
  }
  complete_ = true;
}

}  // namespace stellarium::cli
