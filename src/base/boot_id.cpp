#include "base/boot_id.h"

#include <fcntl.h>

#include <array>

namespace stellarium {

std::string boot_id(Io& io) {
  const auto fd = io.open(AT_FDCWD, "/proc/sys/kernel/random/boot_id", O_RDONLY, 0);
  std::array<std::byte, 64> text;
  const Result<std::size_t> size = fd ? io.read_at(fd->get(), text, 0) : Result<std::size_t>{0};
  if (!size || *size == 0) return {};
  std::string id{as_text(ByteSpan{text}.first(*size))};
  while (!id.empty() && id.back() == '\n') id.pop_back();
  return id;
}

}  // namespace stellarium
