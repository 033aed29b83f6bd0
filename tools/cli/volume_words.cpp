#include "tools/cli/options.h"

namespace stellarium::cli {

std::string why_wrong(const VolumeOptions& options) {
  using Action = VolumeOptions::Action;
  const auto expect = [&](std::size_t count, const char* usage) -> std::string {
    if (options.words.size() == count) return {};
    return std::string{"expected 'volume "} + usage + "'";
  };
  if (!options.size.empty() && options.action != Action::create) return "--size is for 'volume create' only";
  if (!options.format.empty() && options.action != Action::import) return "--format is for 'volume import' only";
  switch (options.action) {
    case Action::create:
      if (options.size.empty()) return "'volume create' needs --size";
      return expect(1, "create NAME --size SIZE");
    case Action::clone:
      return expect(2, "clone FROM NAME");
    case Action::resize:
      return expect(2, "resize NAME SIZE");
    case Action::import:
      return expect(2, "import FILE NAME");
    case Action::export_:
      return expect(2, "export NAME FILE");
    case Action::manifest:
      return options.words.size() == 1 ? std::string{} : expect(2, "manifest NAME [FILE]");
    case Action::map:
      return expect(1, "map NAME");
    case Action::rm:
      return expect(1, "rm NAME");
    case Action::list:
      return expect(0, "list");
  }
  return "no such action";
}

}  // namespace stellarium::cli
