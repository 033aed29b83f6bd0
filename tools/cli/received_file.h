#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "tools/cli/command_line.h"
#include "tools/cli/connection.h"

// What a command receives from the server and writes to a file of the user's.
namespace stellarium::cli {

/// A user's file that is about to be written. A plain file gets its name when it is complete; until then, and if it
/// never is, nothing of that name changes.
class ReceivedFile {
 public:
  /// `-` is standard output; `what` names the content for those whose output is a terminal. Errors name the file.
  static Result<ReceivedFile> open(const std::string& name, const std::string& what);
  ReceivedFile(ReceivedFile&&) = default;
  ReceivedFile& operator=(ReceivedFile&&) = delete;
  ~ReceivedFile();

  int fd() const { return fd_.get(); }
  bool is_plain() const { return !partial_.empty(); }  ///< and empty so far, unlike a device or a pipe
  [[nodiscard]] Result<void> finish();

 private:
  ReceivedFile() = default;
  UniqueFd fd_;
  std::string name_, partial_;
};

/// Sends the command with a pipe, calls `write` with its other end on a thread of its own, and follows the command.
/// Returns what the process exits with; errors were told.
int receive(Connection& connection, const Invocation& invocation, std::vector<std::string> words,
            const std::function<Result<void>(int from)>& write);

}  // namespace stellarium::cli
