#include "tools/cli/virtiofsd_words.h"

#include <filesystem>

#include "tools/cli/foreign_options.h"

namespace stellarium::cli {

Result<VirtiofsdOptions> plain_virtiofsd(const VirtiofsdOptions& given, std::vector<std::string>& ignored) {
  auto foreign = read_foreign(given.foreign);
  if (!foreign) return fail(foreign.error());
  ignored = std::move(foreign->ignored);
  VirtiofsdOptions plain = given;
  const std::string& shared = given.shared_dir.empty() ? foreign->shared_dir : given.shared_dir;
  if (shared.find('/') != std::string::npos)
    return fail(Errc::not_supported, shared +
                                         ": folders are not shared, but images and clones of the store: name one "
                                         "of these ('stellarium import' makes an image of a folder)");
  if (!plain.ref.empty() && !shared.empty())
    return fail(Errc::invalid_argument, "both " + plain.ref + " and " + shared + " are to be served: name one");
  if (plain.ref.empty()) plain.ref = shared;
  if (plain.ref.empty()) return fail(Errc::invalid_argument, "what is to be served: name an image or a clone");
  if (plain.socket_path.empty() == (plain.fd < 0))
    return fail(Errc::invalid_argument,
                "where does the machine's monitor connect: name --socket-path or --fd, one of them");
  if (!plain.socket_group.empty() && plain.socket_path.empty())
    return fail(Errc::invalid_argument, "--socket-group is for sockets that are made here: name --socket-path");
  return plain;
}

bool is_virtiofsd(const char* program) {
  return std::filesystem::path{program}.filename() == "virtiofsd";
}

std::vector<std::string> virtiofsd_words(const VirtiofsdOptions& options) {
  std::vector<std::string> words{
      "--socket-path", options.socket_path, "--request-queues",    std::to_string(options.request_queues),
      "--dax-window",  options.dax_window,  "--shmem-feature-bit", std::to_string(options.shmem_feature_bit)};
  if (!options.tag.empty()) words.insert(words.end(), {"--tag", options.tag});
  if (options.readonly) words.emplace_back("--readonly");
  words.insert(words.end(), {"--", options.ref});
  return words;
}

}  // namespace stellarium::cli
