#include "tools/cli/registry_image.h"

#include <poll.h>
#include <stdlib.h>

#include <array>
#include <filesystem>
#include <vector>

#include "cdn/oci/documents.h"
#include "tools/cli/child_program.h"

namespace stellarium::cli {
namespace {

/// On a disk: an image may be larger than memory.
std::string folder_for_images() {
  const char* const chosen = ::getenv("TMPDIR");
  return chosen != nullptr && *chosen == '/' ? chosen : "/var/tmp";
}

Result<std::vector<std::string>> words_for_skopeo(const std::string& source, const std::string& platform,
                                                  const std::string& target) {
  std::vector<std::string> words{"skopeo", "copy", "--quiet"};
  if (!platform.empty()) {
    const auto parsed = cdn::oci::Platform::parse(platform);
    if (!parsed) return fail(parsed.error());
    words = {"skopeo", "--override-os", parsed->os, "--override-arch", parsed->architecture};
    if (!parsed->variant.empty()) words.insert(words.end(), {"--override-variant", parsed->variant});
    words.insert(words.end(), {"copy", "--quiet"});
  }
  words.insert(words.end(), {source, "oci:" + target + ":image"});
  return words;
}

/// Its exit code; nothing if somebody asked us to stop, and so it was.
Result<std::optional<int>> wait_for(const ChildProgram& program, const Interrupts& interrupts) {
  std::array<pollfd, 2> events{{{program.ended(), POLLIN, 0}, {interrupts.fd(), POLLIN, 0}}};
  while (::poll(events.data(), events.size(), -1) < 0 && errno == EINTR) {
  }
  const bool stopped = events[0].revents == 0;
  if (stopped) program.kill(SIGTERM);
  const auto code = program.wait();
  if (!code) return fail(code.error());
  if (stopped) return std::nullopt;
  return *code;
}

}  // namespace

Result<RegistryImage> RegistryImage::fetch(const std::string& source, const std::string& platform,
                                           const Interrupts& interrupts) {
  std::string pattern = folder_for_images() + "/stellarium-image-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) return fail_errno(folder_for_images());
  RegistryImage image{pattern};
  const auto words = words_for_skopeo(source, platform, image.layout());
  if (!words) return fail(words.error());
  const auto program = ChildProgram::start({.words = *words, .mask = interrupts.mask_before(), .package = "skopeo"});
  if (!program) return fail(program.error());
  const auto code = wait_for(*program, interrupts);
  if (!code) return fail(code.error());
  if (!*code) return fail(Errc::cancelled, "the import was stopped");
  if (**code != 0)
    return fail(Errc::unavailable, source + ": skopeo ended with " + std::to_string(**code) + ", see above");
  return image;
}

RegistryImage::~RegistryImage() {
  std::error_code failed;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, failed);
}

}  // namespace stellarium::cli
