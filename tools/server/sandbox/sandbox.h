#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "tools/protocol/sandbox_layers.h"

namespace stellarium::server::sandbox {

/// What this process has given up, so that a guest that takes it over gains as little as possible (docs/sandbox.md). In
/// two steps, because some of it concerns single threads, and because opening the store needs more than serving it.
/// What cannot be had (an ordinary user, an old kernel) is left out and said; it is never a reason not to serve.
///
/// Threads: one at a time.
class Sandbox {
 public:
  explicit Sandbox(protocol::SandboxLayers wanted) : wanted_{wanted} {}

  /// Before the first thread starts, and the store (absolute, without symlinks) is opened: capabilities, namespaces,
  /// files. Afterwards paths of the store and `kPlaces` are all that can be opened.
  /// `own_processes`: it was started in a pid namespace of its own.
  void enter(const std::filesystem::path& store, bool own_processes);
  /// When the store is open, for all threads: system calls.
  void close();

  /// In words, for people: what is in force; what is not, and why.
  const std::vector<std::string>& in_force() const { return in_force_; }
  const std::vector<std::string>& missing() const { return missing_; }

 private:
  template <typename T>
  bool note(protocol::SandboxLayer layer, const Result<T>& outcome, const std::string& in_words);
  bool wants(protocol::SandboxLayer layer);

  const protocol::SandboxLayers wanted_;
  std::vector<std::string> in_force_, missing_;
};

}  // namespace stellarium::server::sandbox
