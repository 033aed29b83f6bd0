#pragma once
#include <memory>

#include "base/result.h"
#include "tools/cli/child_program.h"
#include "tools/cli/interrupts.h"
#include "tools/transport/object_client.h"
#include "tools/transport/remote_access.h"

namespace stellarium::cli {

/// A running stellarium-transport: this process asks it for names, the server for everything else. It ends with this
/// object.
class TransportProcess {
 public:
  static Result<TransportProcess> start(const transport::RemoteAccess& access, const Interrupts& interrupts);
  TransportProcess(TransportProcess&&) = default;
  TransportProcess& operator=(TransportProcess&&) = delete;
  ~TransportProcess();

  transport::ObjectClient& objects() { return *objects_; }
  /// The server's end of a socket of its own.
  int for_server() const { return for_server_.get(); }
  /// Whether it has ended by itself, having said why: what others say of it then adds nothing.
  bool has_failed() const;

 private:
  TransportProcess(ChildProgram program, UniqueFd own, UniqueFd for_server);
  std::unique_ptr<ChildProgram> program_;
  int socket_;  // of objects_
  std::unique_ptr<transport::ObjectClient> objects_;
  UniqueFd for_server_;
};

}  // namespace stellarium::cli
