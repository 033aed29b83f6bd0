#include "tools/cli/transport_process.h"

#include <poll.h>
#include <sys/wait.h>

#include "tools/cli/programs_folder.h"

namespace stellarium::cli {

Result<TransportProcess> TransportProcess::start(const transport::RemoteAccess& access, const Interrupts& interrupts) {
  const auto programs = programs_folder();
  if (!programs) return fail(programs.error());
  auto own = protocol::make_socket_pair();
  if (!own) return fail(std::move(own).error());
  auto servers = protocol::make_socket_pair();
  if (!servers) return fail(std::move(servers).error());
  const int theirs[]{own->second.get(), servers->second.get()};
  std::vector<std::string> words{(*programs / "stellarium-transport").string(),
                                 std::to_string(theirs[0]) + "," + std::to_string(theirs[1])};
  for (std::string& word : transport::words_of(access)) words.push_back(std::move(word));
  auto program = ChildProgram::start({.words = words,
                                      .mask = interrupts.mask_before(),
                                      .package = "stellarium",
                                      .descriptors = theirs,
                                      .orphan_signal = SIGKILL});  // objects appear complete or not at all
  if (!program) return fail(std::move(program).error());
  return TransportProcess{*std::move(program), std::move(own->first), std::move(servers->first)};
}

TransportProcess::TransportProcess(ChildProgram program, UniqueFd own, UniqueFd for_server)
    : program_{std::make_unique<ChildProgram>(std::move(program))},
      socket_{own.get()},
      objects_{std::make_unique<transport::ObjectClient>(protocol::Channel{std::move(own)})},
      for_server_{std::move(for_server)} {}

TransportProcess::~TransportProcess() {
  if (!program_) return;
  objects_.reset();
  program_->kill(SIGKILL);
  (void)program_->wait();
}

bool TransportProcess::has_failed() const {
  pollfd gone{socket_, 0, 0};
  if (::poll(&gone, 1, 0) <= 0) return false;
  pollfd ended{program_->ended(), POLLIN, 0};
  (void)::poll(&ended, 1, 200);  // it may be on its way: the end of its sockets comes first
  siginfo_t how{};
  const auto id = static_cast<id_t>(program_->pid());
  if (::waitid(P_PID, id, &how, WEXITED | WNOHANG | WNOWAIT) != 0 || how.si_pid == 0) return false;
  return how.si_code == CLD_EXITED && how.si_status != 0;  // who is killed says nothing
}

}  // namespace stellarium::cli
