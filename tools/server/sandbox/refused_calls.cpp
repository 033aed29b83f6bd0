#include "tools/server/sandbox/refused_calls.h"

#include <seccomp.h>
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

namespace stellarium::server::sandbox {
namespace {

struct Call {
  std::array<char, 32> name{};  // empty: unknown
  std::atomic<bool> told = false;
};
// A signal belongs to the process, and its handler may neither allocate nor lock: names are looked up before.
std::array<Call, 512> calls;

void set_result([[maybe_unused]] void* context, [[maybe_unused]] int result) {
  [[maybe_unused]] auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  machine.gregs[REG_RAX] = result;
#elif defined(__aarch64__)
  machine.regs[0] = static_cast<unsigned long long>(result);
#endif
}

void on_refused_call(int, siginfo_t* info, void* context) {
  const int interrupted = errno;
  const auto number = static_cast<std::size_t>(info->si_syscall);
  const bool known = number < calls.size() && calls[number].name[0] != '\0';
  set_result(context, known ? -EPERM : -ENOSYS);
  if (known && !calls[number].told.exchange(true)) {
    std::array<char, 128> line{};
    std::size_t length = 0;
    for (const std::string_view part :
         {std::string_view{"sandbox: the system call "}, std::string_view{calls[number].name.data()},
          std::string_view{" was refused; docs/sandbox.md says what to do\n"}}) {
      std::ranges::copy(part, line.begin() + static_cast<std::ptrdiff_t>(length));
      length += part.size();
    }
    (void)!::write(STDERR_FILENO, line.data(), length);
  }
  errno = interrupted;
}

}  // namespace

Result<void> report_refused_calls() {
  for (std::size_t number = 0; number < calls.size(); ++number) {
    const std::unique_ptr<char, void (*)(void*)> name{
        ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, static_cast<int>(number)), &std::free};
    if (name != nullptr) std::strncpy(calls[number].name.data(), name.get(), calls[number].name.size() - 1);
  }
  struct sigaction action {};
  action.sa_sigaction = &on_refused_call;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_RESTART;
  if (::sigaction(SIGSYS, &action, nullptr) != 0) return fail_errno("handling SIGSYS");
  return {};
}

}  // namespace stellarium::server::sandbox
