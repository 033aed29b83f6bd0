#include "tools/server/sandbox/sandbox.h"

#include <sys/prctl.h>
#include <time.h>

#include "base/log.h"
#include "tools/server/sandbox/capabilities.h"
#include "tools/server/sandbox/landlock.h"
#include "tools/server/sandbox/namespaces.h"
#include "tools/server/sandbox/system_call_filter.h"

namespace stellarium::server::sandbox {

using protocol::SandboxLayer;

bool Sandbox::wants(SandboxLayer layer) {
  if (wanted_.has(layer)) return true;
  missing_.push_back(std::string{name_of(layer)} + ": switched off");
  return false;
}

template <typename T>
bool Sandbox::note(SandboxLayer layer, const Result<T>& outcome, const std::string& in_words) {
  if (outcome) {
    in_force_.push_back(in_words);
  } else {
    missing_.push_back(std::string{name_of(layer)} + ": " + to_string(outcome.error()));
  }
  return outcome.has_value();
}

void Sandbox::enter(const std::filesystem::path& store, bool own_processes) {
  ::tzset();  // reads a file that will be out of sight
  if (wants(SandboxLayer::network)) note(SandboxLayer::network, enter_empty_network(), "network namespace");
  if (wants(SandboxLayer::mount)) note(SandboxLayer::mount, enter_own_mounts(store, own_processes), "mount namespace");
  if (wants(SandboxLayer::pid)) {
    note(SandboxLayer::pid,
         own_processes ? Result<void>{} : fail(Errc::permission, "the keeper could not make a namespace"),
         "pid namespace");
  }
  if (wants(SandboxLayer::capabilities)) {
    const auto left = give_up_capabilities();
    note(SandboxLayer::capabilities, left, "capabilities (" + (left && !left->empty() ? *left : "none") + ")");
  }
  // What follows needs it, and it harms nobody: this process runs no program.
  if (wanted_.has(SandboxLayer::landlock) || wanted_.has(SandboxLayer::seccomp))
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (wants(SandboxLayer::landlock)) {
    const auto version = restrict_files(store);
    note(SandboxLayer::landlock, version, "Landlock (version " + std::to_string(version.value_or(0)) + ")");
  }
}

void Sandbox::close() {
  if (wants(SandboxLayer::seccomp)) note(SandboxLayer::seccomp, filter_system_calls(), "seccomp");
  std::string all;
  for (const std::string& part : in_force_) all += (all.empty() ? "" : ", ") + part;
  log::info("sandbox: {}", all.empty() ? "none" : all);
  for (const std::string& part : missing_) log::info("sandbox: without {}", part);
}

}  // namespace stellarium::server::sandbox
