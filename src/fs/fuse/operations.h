#pragma once
#include <cstdint>

#include "fs/fuse/filesystem.h"

namespace stellarium::fs::fuse {

/// One row of the table of opcodes.
struct Operation {
  const char* name = nullptr;  ///< as in the protocol's header without "FUSE_"; null: no such opcode
  /// Takes the arguments apart and calls the file system; null: answered with `refusal`.
  void (*run)(Filesystem&, const Request&, Reply) = nullptr;
  int refusal = 0;       ///< positive errno
  bool changes = false;  ///< changes something, whatever it holds
  bool silent = false;   ///< takes no answer, whatever it holds; `run` gets a reply that needs none
};

inline constexpr std::uint32_t kOpcodes = 54;  ///< rows: 0 to COPY_FILE_RANGE_64

/// The row of `opcode`, or null for an unknown one. INIT and DESTROY are rows without `run`: the session answers them.
const Operation* operation_of(std::uint32_t opcode);

}  // namespace stellarium::fs::fuse
