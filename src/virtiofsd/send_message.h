#pragma once
#include <sys/types.h>

#include "base/bytes.h"

namespace stellarium::virtiofsd {

/// sendmsg(2) of bytes to a connected socket, with a descriptor beside the first of them if it is not -1. No SIGPIPE.
ssize_t send_message(int socket, ByteSpan bytes, int descriptor);

}  // namespace stellarium::virtiofsd
