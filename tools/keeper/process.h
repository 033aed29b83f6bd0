#pragma once
#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

// The keeper's dealings with the process it started.
namespace stellarium::keeper {

/// Starts `program` with `link` as its descriptor 3 and `log` as its stdout and stderr; everything else is closed.
/// `oom_score_adj` is what the keeper itself was started with, because its own exemption must not be inherited.
/// `outside`: becomes its descriptor 4, if there is one (pid_namespace.h).
Result<pid_t> start_process(const std::filesystem::path& program, const std::vector<std::string>& arguments, int link,
                            int log, const std::string& oom_score_adj, int outside = -1);
inline constexpr int kLinkDescriptor = 3, kOutsideDescriptor = 4;

/// How a process ended, for the log: "killed by signal 9 (Killed)", "exit code 1".
std::string describe_exit(int wait_status);

/// The threads of a process that cannot die because they wait in the kernel, one line: "thread 812 (fuse-2) in
/// fuse_wait_answer". Empty if the process's first thread is still alive: then it is not dying at all.
std::string describe_stuck(pid_t pid);

/// Exempts this process from the kernel's memory killer and keeps its pages resident, as far as it is allowed to;
/// returns the old oom_score_adj.
std::string protect_this_process();

}  // namespace stellarium::keeper
