#pragma once
#include <cstddef>
#include <vector>

#include "cas/frame_format.h"

namespace stellarium::test {

/// The container that a builder makes, as bytes to be damaged.
inline std::vector<std::byte> container_of(const cas::FrameBuilder& builder, cas::Compressor& compressor) {
  const cas::FrameBuffer container = builder.encode(compressor);
  return {container.bytes().begin(), container.bytes().end()};
}

}  // namespace stellarium::test
