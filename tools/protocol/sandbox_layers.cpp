#include "tools/protocol/sandbox_layers.h"

#include <algorithm>
#include <cstdlib>
#include <string>

#include "tools/protocol/sanitized_build.h"

namespace stellarium::protocol {

SandboxLayers SandboxLayers::all() {
  using enum SandboxLayer;
  const SandboxLayers always = none().with(capabilities).with(network).with(seccomp);
  return kSanitizedBuild ? always : always.with(pid).with(mount).with(landlock);
}

Result<SandboxLayers> SandboxLayers::parse(std::string_view text) {
  if (text.empty()) return all();
  if (text == "none") return none();
  SandboxLayers wanted = none();
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(','));
    text.remove_prefix(std::min(word.size() + 1, text.size()));
    const auto found = std::ranges::find(kSandboxLayerNames, word);
    if (found == kSandboxLayerNames.end())
      return fail(Errc::invalid_argument, "the sandbox has no layer '" + std::string{word} + "'");
    wanted = wanted.with(static_cast<SandboxLayer>(found - kSandboxLayerNames.begin()));
  }
  return wanted;
}

SandboxLayers SandboxLayers::from_environment() {
  const char* const set = std::getenv("STELLARIUM_SANDBOX");
  return parse(set == nullptr ? "" : set).value_or(all());
}

}  // namespace stellarium::protocol
