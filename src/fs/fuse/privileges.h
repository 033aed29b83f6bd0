#pragma once

namespace stellarium::fs::fuse {

/// Whether the kernel would let this process make backing ids: CAP_SYS_ADMIN in the initial user namespace.
bool may_pass_through();

}  // namespace stellarium::fs::fuse
