#include "tools/cli/virtiofsd_words.h"

namespace stellarium::cli {

std::vector<std::string> virtiofsd_words(const VirtiofsdOptions& options) {
  std::vector<std::string> words{
      "--socket-path", options.socket_path, "--request-queues",    std::to_string(options.request_queues),
      "--dax-window",  options.dax_window,  "--shmem-feature-bit", std::to_string(options.shmem_feature_bit)};
  if (!options.tag.empty()) words.insert(words.end(), {"--tag", options.tag});
  words.insert(words.end(), {"--", options.ref});
  return words;
}

}  // namespace stellarium::cli
