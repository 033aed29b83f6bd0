#pragma once
#include <vector>

#include "base/bytes.h"
#include "virtiofsd/virtqueue.h"

namespace stellarium::virtiofsd {

/// A FUSE request as a chain brought it: a copy, which the guest cannot change any more while it is checked, but for
/// what a WRITE is to write. That is taken from where it lies, in the guest's memory.
struct GuestRequest {
  ByteSpan message;
  std::vector<ByteSpan> data;
};

/// Copies into `into`, which the result borrows, as it borrows the chain's memory. Nothing if it does not fit. `again`:
/// marks it as sent a second time, as the kernel marks what it resends.
GuestRequest take_in(const DescriptorChain& chain, bool again, MutableByteSpan into);

}  // namespace stellarium::virtiofsd
