#include "tools/server/commands.h"

namespace stellarium::server {
namespace {

int refuse(const char* name, CommandContext& context) {
  context.io.complain(Error{Errc::invalid_argument, std::string{name} + " is not a command for the server", 0});
  return 2;
}

struct Runner {
  CommandContext& context;
  int operator()(const cli::RemoteOptions&) const { return refuse("remote", context); }
  int operator()(const cli::UmountOptions&) const { return refuse("umount", context); }
  int operator()(const cli::NspawnOptions&) const { return refuse("nspawn", context); }
  int operator()(const cli::VmOptions&) const { return refuse("vm", context); }
  int operator()(const cli::DoctorOptions&) const { return refuse("doctor", context); }
  int operator()(const cli::CompletionOptions&) const { return refuse("completion", context); }
  template <typename Options>
  int operator()(const Options& options) const {
    return run(options, context);
  }
};

}  // namespace

int run_any(const cli::CommandOptions& options, CommandContext& context) {
  return std::visit(Runner{context}, options);
}

}  // namespace stellarium::server
