#include "tools/cli/mount_helper.h"

namespace stellarium::cli {
namespace {

constexpr std::string_view kStore = "store=", kSource = "source=";
constexpr std::string_view kWholeStore = "none";

struct Call {
  std::vector<std::string> operands;
  std::string options;
  bool fake = false, verbose = false;
};

Result<Call> read(const std::vector<std::string>& words) {
  Call call;
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word.size() < 2 || word[0] != '-') {
      call.operands.push_back(word);
    } else if (word == "-o" || word == "-t") {
      if (++i == words.size()) return fail(Errc::invalid_argument, word + " needs a value");
      if (word == "-o") call.options += (call.options.empty() ? "" : ",") + words[i];
    } else if (word.find_first_not_of("sfnv", 1) != std::string::npos) {
      return fail(Errc::invalid_argument, "unknown option " + word);
    } else {  // -s and -n mean nothing here: unknown options are refused, and there is no mtab
      call.fake = call.fake || word.find('f') != std::string::npos;
      call.verbose = call.verbose || word.find('v') != std::string::npos;
    }
  }
  if (call.operands.size() != 2) return fail(Errc::invalid_argument, "expected an image and a directory");
  return call;
}

}  // namespace

bool is_mount_helper(std::string_view program) {
  return program.substr(program.rfind('/') + 1) == "mount.stellarium";  // npos + 1 is 0
}

Result<std::vector<std::string>> words_of_mount_helper(const std::vector<std::string>& words) {
  const auto call = read(words);
  if (!call) return fail(call.error());
  if (call->fake) return std::vector<std::string>{};
  const std::string& spec = call->operands[0];
  std::vector<std::string> out;
  std::string kept = std::string{kSource} + spec;  // mount -a compares it with fstab; one that was given comes later
  for (std::size_t start = 0; start < call->options.size();) {
    const std::size_t end = std::min(call->options.find(',', start), call->options.size());
    const std::string option = call->options.substr(start, end - start);
    start = end + 1;
    if (option.starts_with(kStore)) {
      out.insert(out.end(), {"--store", option.substr(kStore.size())});
    } else if (option == "no_passthrough") {
      out.emplace_back("--no-passthrough");
    } else if (!option.empty() && option != "rw") {
      kept += "," + option;
    }
  }
  if (call->verbose) out.emplace_back("--verbose");
  out.insert(out.begin(), "mount");
  out.insert(out.end(), {"-o", kept, "--"});
  if (spec != kWholeStore) out.push_back(spec);
  out.push_back(call->operands[1]);
  return out;
}

int exit_code_of_mount_helper(int exit_code) {
  constexpr int kWrongUsage = 1, kMountFailure = 32;
  if (exit_code == 0) return 0;
  return exit_code == 2 ? kWrongUsage : kMountFailure;
}

}  // namespace stellarium::cli
