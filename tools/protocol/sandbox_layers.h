#pragma once
#include <array>
#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace stellarium::protocol {

/// What the server's sandbox is made of (docs/sandbox.md).
enum class SandboxLayer : std::uint8_t { capabilities, network, pid, mount, landlock, seccomp };

inline constexpr std::array<std::string_view, 6> kSandboxLayerNames{"capabilities", "network",  "pid",
                                                                    "mount",        "landlock", "seccomp"};
constexpr std::string_view name_of(SandboxLayer layer) {
  return kSandboxLayerNames[static_cast<std::size_t>(layer)];
}

/// The layers that are wanted. The keeper makes the pid namespace and the server the rest, so both must know.
class SandboxLayers {
 public:
  /// All that this build can have: a program with sanitizers writes reports to files that lie anywhere, and finds its
  /// threads in /proc by the number that it itself has, so it goes without `pid`, `mount` and `landlock`.
  static SandboxLayers all();
  static constexpr SandboxLayers none() { return {}; }
  /// "" (all), "none", or names with commas in between: only these. Errors: invalid_argument, for any other word.
  static Result<SandboxLayers> parse(std::string_view text);
  /// What $STELLARIUM_SANDBOX says; all of them if it cannot be understood: who mistypes must not be left without.
  static SandboxLayers from_environment();

  constexpr bool has(SandboxLayer layer) const { return (bits_ & bit(layer)) != 0; }
  constexpr SandboxLayers with(SandboxLayer layer) const {
    SandboxLayers more = *this;
    more.bits_ |= bit(layer);
    return more;
  }
  friend constexpr bool operator==(SandboxLayers, SandboxLayers) = default;

 private:
  static constexpr unsigned bit(SandboxLayer layer) { return 1u << static_cast<unsigned>(layer); }
  unsigned bits_ = 0;
};

}  // namespace stellarium::protocol
