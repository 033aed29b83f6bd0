#pragma once
#include "tools/protocol/channel.h"

namespace stellarium::keeper {

/// What the first process of a server's pid namespace does, until the server is gone: it opens for it, and only to be
/// read, the few files of /proc that it needs to know of the host (tools/protocol/outside.h). The server itself sees no
/// process of the host. Whatever does not belong into the conversation ends it, and with it the server. Returns the
/// exit code.
int answer_server(const protocol::Channel& server);

}  // namespace stellarium::keeper
