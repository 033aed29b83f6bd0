#pragma once
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "base/result.h"
#include "fs/fuse/reply.h"

// Small answers that several views give.
namespace stellarium::fs::fuse {

/// ESTALE: the node id names nothing.
tl::unexpected<Error> stale();
/// The error's errno; damage is logged, too.
void refuse(Reply& reply, const Error& error);
/// The bytes of a small answer, by way of resident memory.
void answer(Reply& reply, std::string_view bytes);
/// The protocol of extended attributes: size 0 asks for the size, too small a size is an error.
void answer_xattr(Reply& reply, std::string_view value, std::uint32_t size);

}  // namespace stellarium::fs::fuse
