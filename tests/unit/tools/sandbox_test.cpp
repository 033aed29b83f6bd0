#include "tools/server/sandbox/sandbox.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <functional>
#include <string>
#include <thread>

#include "base/unique_fd.h"
#include "support/cannot_run.h"
#include "support/sanitized.h"
#include "support/temp_dir.h"
#include "tools/keeper/first_process.h"
#include "tools/keeper/pid_namespace.h"
#include "tools/server/outside.h"
#include "tools/server/sandbox/capabilities.h"
#include "tools/server/sandbox/landlock.h"
#include "tools/server/sandbox/namespaces.h"
#include "tools/server/sandbox/system_call_filter.h"

namespace stellarium::server::sandbox {
namespace {

using protocol::SandboxLayer;
using protocol::SandboxLayers;

constexpr int kNoLandlock = 77;

/// What the child returned, or minus the signal that ended it; what it wrote to stderr goes to `said`. Nothing of this
/// can be undone, so that a process is needed for each.
int in_child(const std::function<int()>& act, std::string* said = nullptr) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return -1000;
  const UniqueFd hear{ends[0]};
  UniqueFd tell{ends[1]};
  const pid_t child = ::fork();
  if (child == 0) {
    if (said != nullptr) ::dup2(tell.get(), STDERR_FILENO);
    ::_exit(act());
  }
  tell.reset();
  std::array<char, 4096> buffer{};
  for (ssize_t got = 0; said != nullptr && (got = ::read(hear.get(), buffer.data(), buffer.size())) > 0;)
    said->append(buffer.data(), static_cast<std::size_t>(got));
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/// The number of the first that is false, counted from 1; 0 if all are true.
int first_false(std::initializer_list<bool> expected) {
  int number = 0;
  for (const bool each : expected) {
    ++number;
    if (!each) return number;
  }
  return 0;
}

bool opens(const std::filesystem::path& path, int flags = O_RDONLY) {
  return UniqueFd{::open(path.c_str(), flags | O_CLOEXEC, 0600)}.operator bool();
}

void forbid_privileges() {
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

bool filter() {
  forbid_privileges();
  return filter_system_calls().has_value();
}

TEST(SandboxLayers, AreAllUnlessNamed) {
  EXPECT_EQ(SandboxLayers::parse("").value(), SandboxLayers::all());
  EXPECT_EQ(SandboxLayers::parse("none").value(), SandboxLayers::none());
  const auto two = SandboxLayers::parse("seccomp,network");
  ASSERT_TRUE(two);
  EXPECT_TRUE(two->has(SandboxLayer::seccomp) && two->has(SandboxLayer::network));
  EXPECT_FALSE(two->has(SandboxLayer::landlock) || two->has(SandboxLayer::capabilities));
}

TEST(SandboxLayers, RefuseAnUnknownWord) {
  for (const char* text : {"no", "seccomp,nothing", "none,seccomp", ",seccomp", ","}) {
    EXPECT_FALSE(SandboxLayers::parse(text)) << text;
  }
}

TEST(Landlock, LeavesTheStoreAndNothingElse) {
  const test::TempDir store, other;
  std::filesystem::create_directories(store / "hot/files");
  std::filesystem::create_directory(store / "staged");
  ASSERT_TRUE(opens(other / "secret", O_CREAT | O_WRONLY));
  const UniqueFd before{::open((other / "secret").c_str(), O_WRONLY | O_CLOEXEC)};
  const int result = in_child([&] {
    forbid_privileges();
    const auto version = restrict_files(store.path());
    if (!version) return version.error().code == Errc::not_supported ? kNoLandlock : 100;
    return first_false({
        opens(store / "staged/made", O_CREAT | O_RDWR),
        ::rename((store / "staged/made").c_str(), (store / "hot/files/made").c_str()) == 0,
        opens(store / "hot/files/made", O_RDWR | O_TRUNC),
        ::unlink((store / "hot/files/made").c_str()) == 0,
        opens(store / "staged", O_TMPFILE | O_RDWR),
        ::mkdir((store / "more").c_str(), 0700) == 0 && ::rmdir((store / "more").c_str()) == 0,
        opens("/proc/self/status"),
        ::write(before.get(), "x", 1) == 1,  // what is open stays open
        !opens(other / "secret") && errno == EACCES,
        !opens(other / "new", O_CREAT | O_WRONLY) && errno == EACCES,
        !opens("/etc/passwd") && errno == EACCES,
        !opens("/proc/self/oom_score_adj", O_WRONLY) && errno == EACCES,
        ::rename((other / "secret").c_str(), (store / "stolen").c_str()) != 0,
        ::link((other / "secret").c_str(), (store / "stolen").c_str()) != 0,
        ::unlink((other / "secret").c_str()) != 0,
        ::mknod((store / "disk").c_str(), S_IFBLK | 0600, makedev(7, 0)) != 0,
        !opens("/proc/" + std::to_string(::getppid()) + "/cwd"),
    });
  });
  if (result == kNoLandlock) STELLARIUM_CANNOT_RUN("this kernel has no Landlock");
  EXPECT_EQ(result, 0);
}

TEST(Landlock, LeavesNoNetworkAndNoProcess) {
  const test::TempDir store;
  const int result = in_child([&] {
    forbid_privileges();
    const auto version = restrict_files(store.path());
    if (!version || *version < 6) return kNoLandlock;
    const UniqueFd tcp{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(1);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const auto* const to = reinterpret_cast<const sockaddr*>(&address);
    return first_false({
        ::connect(tcp.get(), to, sizeof address) != 0 && errno == EACCES,
        ::kill(::getppid(), 0) != 0 && errno == EPERM,
        ::ptrace(PTRACE_ATTACH, ::getppid(), 0, 0) != 0 && errno == EPERM,
    });
  });
  if (result == kNoLandlock) STELLARIUM_CANNOT_RUN("this kernel's Landlock knows neither ports nor scopes");
  EXPECT_EQ(result, 0);
}

TEST(SystemCallFilter, LetsTheServerWork) {
  const test::TempDir store;
  EXPECT_EQ(in_child([&] {
              if (!filter()) return 100;
              std::atomic<int> ran = 0;
              std::thread{[&] { ++ran; }}.join();
              void* const memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              rlimit limit{};
              return first_false({
                  ran == 1,
                  memory != MAP_FAILED && ::munmap(memory, 4096) == 0,
                  opens(store / "file", O_CREAT | O_RDWR),
                  ::rename((store / "file").c_str(), (store / "other").c_str()) == 0,
                  ::getrlimit(RLIMIT_NOFILE, &limit) == 0,
              });
            }),
            0);
}

TEST(SystemCallFilter, RefusesWhatTheServerDoesNotDoAndSaysSoOnce) {
  std::string said;
  const int result = in_child(
      [] {
        if (!filter()) return 100;
        winsize size{};
        rlimit limit{100, 100};
        return first_false({
            ::socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM,
            ::socket(AF_UNIX, SOCK_STREAM, 0) < 0 && errno == EPERM,
            ::socket(AF_NETLINK, SOCK_RAW, 0) < 0 && errno == EPERM,
            ::ioctl(STDIN_FILENO, TIOCSTI, "x") < 0 && errno == EPERM,
            ::ioctl(STDIN_FILENO, TIOCGWINSZ, &size) < 0 && errno == EPERM,
            ::chown("/tmp", 0, 0) < 0 && errno == EPERM,
            test::kSanitized || (::setrlimit(RLIMIT_NOFILE, &limit) < 0 && errno == EPERM),
            test::kSanitized || (::kill(::getppid(), 0) < 0 && errno == EPERM),
            test::kSanitized || (::syscall(SYS_tgkill, ::getppid(), ::getppid(), 0) < 0 && errno == EPERM),
            ::syscall(SYS_clone3, nullptr, 0) < 0 && errno == ENOSYS,
            ::syscall(1000) < 0 && errno == ENOSYS,
        });
      },
      &said);
  EXPECT_EQ(result, 0) << said;
  const auto first = said.find("sandbox: the system call socket was refused");
  ASSERT_NE(first, std::string::npos) << said;
  EXPECT_EQ(said.find("system call socket", first + 20), std::string::npos) << said;
}

TEST(SystemCallFilter, LetsNoMemoryBecomeCode) {
  if (test::kSanitized) GTEST_SKIP() << "the run-time libraries of sanitizers need it";
  EXPECT_EQ(in_child([] {
              if (!filter()) return 100;
              void* const memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
              constexpr int kAll = PROT_READ | PROT_WRITE | PROT_EXEC;
              return first_false({
                  ::mprotect(memory, 4096, PROT_READ | PROT_EXEC) != 0 && errno == EPERM,
                  ::mmap(nullptr, 4096, kAll, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EPERM,
              });
            }),
            0);
}

TEST(SystemCallFilter, EndsAProcessThatIsTakenOver) {
  const UniqueFd own{::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC)};
  const std::pair<const char*, std::function<void()>> deeds[] = {
      {"execve", [] { ::execl("/bin/true", "true", static_cast<char*>(nullptr)); }},
      {"mount", [] { ::mount("none", "/tmp", "tmpfs", 0, nullptr); }},
      {"setns", [&] { ::setns(own.get(), 0); }},
      {"unshare", [] { ::unshare(CLONE_NEWUSER); }},
      {"bpf", [] { ::syscall(SYS_bpf, 0, nullptr, 0); }},
      {"open_by_handle_at", [] { ::syscall(SYS_open_by_handle_at, -1, nullptr, 0); }},
      {"userfaultfd", [] { ::syscall(SYS_userfaultfd, 0); }},
      {"io_uring_setup", [] { ::syscall(SYS_io_uring_setup, 1, nullptr); }},
      {"process_vm_writev", [] { ::syscall(SYS_process_vm_writev, ::getppid(), nullptr, 0, nullptr, 0, 0); }},
      {"setuid", [] { ::syscall(SYS_setuid, 0); }},
  };
  for (const auto& [name, listed_deed] : deeds) {
    const auto& deed = listed_deed;  // clang 14 captures no structured bindings
    EXPECT_EQ(in_child([&] {
                if (!filter()) return 100;
                deed();
                return 0;
              }),
              -SIGSYS)
        << name;
  }
  if (test::kSanitized) return;
  EXPECT_EQ(in_child([] {
              if (!filter()) return 100;
              ::ptrace(PTRACE_ATTACH, ::getppid(), 0, 0);
              return 0;
            }),
            -SIGSYS);
}

#ifdef __x86_64__
TEST(SystemCallFilter, KnowsOneWayIntoTheKernelOnly) {
  const int result = in_child([] {
    if (!filter()) return 100;
    long number = 20;  // getpid(2) of 32-bit programs
    asm volatile("int $0x80" : "+a"(number) : : "memory");
    return 0;
  });
  EXPECT_TRUE(result == -SIGSYS || result == -SIGSEGV) << result;  // the latter: a kernel without 32-bit programs
}
#endif

TEST(SystemCallFilter, HoldsForThreadsThatExist) {
  EXPECT_EQ(in_child([] {
              std::atomic<bool> filtered = false;
              std::atomic<int> refused = 0;
              std::thread earlier{[&] {
                while (!filtered) std::this_thread::yield();
                if (::socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM) refused = 1;
              }};
              if (!filter()) return 100;
              filtered = true;
              earlier.join();
              return refused == 1 ? 0 : 1;
            }),
            0);
}

TEST(Capabilities, AreGivenUpButForAFew) {
  if (::geteuid() != 0) STELLARIUM_CANNOT_RUN("must be root to have any");
  EXPECT_EQ(in_child([] {
              if (!give_up_capabilities()) return 100;
              int bounding = 0;
              for (int each = 0; each <= 40; ++each) bounding += ::prctl(PR_CAPBSET_READ, each) == 1 ? 1 : 0;
              const UniqueFd foreign{::open("/tmp", O_PATH | O_CLOEXEC)};
              return first_false({
                  bounding == 0, ::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, ::chroot("/") != 0 && errno == EPERM,
                  // Of this thread: glibc's asks all, and the one that ThreadSanitizer has kept its capabilities.
                  ::syscall(SYS_setgid, 1) != 0 && errno == EPERM,
                  ::mknod("/tmp/stellarium-never-made", S_IFCHR | 0600, makedev(1, 3)) != 0 && errno == EPERM,
                  ::socket(AF_PACKET, SOCK_RAW, 0) < 0 && errno == EPERM,
                  ::kill(1, 0) == 0,  // the same user's: pid namespaces and Landlock are what keeps us from them
              });
            }),
            0);
}

TEST(Namespaces, ShowTheStoreAndNothingElse) {
  if (::geteuid() != 0) STELLARIUM_CANNOT_RUN("must be root to mount");
  const test::TempDir store;
  ASSERT_TRUE(opens(store / "file", O_CREAT | O_WRONLY));
  std::string said;
  const int result = in_child(
      [&] {
        if (auto entered = enter_own_mounts(store.path(), false); !entered) {
          ::dprintf(STDERR_FILENO, "%s", to_string(entered.error()).c_str());
          return 100;
        }
        return first_false({
            opens(store / "file", O_RDWR),
            opens(store / "new", O_CREAT | O_RDWR),
            opens("/proc/self/status"),
            !opens("/etc/passwd") && errno == ENOENT,
            !opens("/new", O_CREAT | O_WRONLY) && errno == EROFS,
            !opens("/proc/sys/kernel/core_pattern", O_WRONLY) && errno == EROFS,
            !opens("../../../../../../etc/passwd"),
        });
      },
      &said);
  EXPECT_EQ(result, 0) << said;
  EXPECT_TRUE(opens(store / "new"));  // it is the same store
}

TEST(Namespaces, AreLeftAgainIfTheStoreIsNotThere) {
  if (::geteuid() != 0) STELLARIUM_CANNOT_RUN("must be root to mount");
  EXPECT_EQ(in_child([] {
              const auto before = std::filesystem::read_symlink("/proc/self/ns/mnt");
              const bool entered = enter_own_mounts("/no/such/store", false).has_value();
              return first_false(
                  {!entered, std::filesystem::read_symlink("/proc/self/ns/mnt") == before, opens("/etc/passwd")});
            }),
            0);
}

TEST(Namespaces, HaveNoNetwork) {
  if (::geteuid() != 0) STELLARIUM_CANNOT_RUN("must be root to make a network namespace");
  EXPECT_EQ(
      in_child([] {
        if (!enter_empty_network()) return 100;
        const UniqueFd udp{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(9);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return first_false({::connect(udp.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
                            errno == ENETUNREACH});
      }),
      0);
}

TEST(PidNamespace, HoldsWhatIsStartedWhileItIsEntered) {
  if (::geteuid() != 0) STELLARIUM_CANNOT_RUN("must be root to make a pid namespace");
  const pid_t self = ::getpid();
  auto made = keeper::PidNamespace::enter("/no/such/program");  // then the first process goes on as this program
  ASSERT_TRUE(made) << to_string(made.error());
  EXPECT_EQ(in_child([&] {
              return first_false(
                  {::getpid() == 2 || test::kSanitized, ::getppid() == 0, ::kill(self, 0) != 0 && errno == ESRCH});
            }),
            0);
  ASSERT_TRUE(made->leave());
  EXPECT_EQ(in_child([&] { return ::getppid() == self ? 0 : 1; }), 0);
  made->end();
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);  // nobody is left
}

TEST(PidNamespace, LetsTheServerAskForWhatItNeedsOfTheHostAndForNothingElse) {
  if (::geteuid() != 0) STELLARIUM_CANNOT_RUN("must be root to make a pid namespace");
  using File = fs::fuse::HostProcesses::File;
  const auto self = static_cast<std::uint32_t>(::getpid());
  const test::TempDir store;
  auto made = keeper::PidNamespace::enter("/no/such/program");
  ASSERT_TRUE(made) << to_string(made.error());
  const int result = in_child([&] {
    const Outside outside{protocol::Channel{UniqueFd{::fcntl(made->server_end(), F_DUPFD_CLOEXEC, 3)}}};
    if (!enter_own_mounts(store.path(), true)) return 100;
    return first_false({
        outside.numbers().process != ::getpid() && outside.numbers().keeper == static_cast<pid_t>(self),
        outside.read(self, File::status).find("Pid:\t" + std::to_string(self)) != std::string::npos,
        !outside.read(self, File::gid_map).empty(),
        outside.read(4'000'000'000, File::status).empty(),
        outside.mounts().find(" / ") != std::string::npos && outside.mounts().find("/sys ") != std::string::npos,
        !opens("/proc/" + std::to_string(self) + "/status"),  // it does not see us
        opens("/proc/2/status") && opens("/proc/self/status"),
    });
  });
  EXPECT_EQ(result, 0);
  ASSERT_TRUE(made->leave());
  made->end();
}

TEST(FirstProcess, EndsTheConversationAtWhatIsNoQuestion) {
  using protocol::OutsideType;
  const std::string thread(4, '\1');
  const std::pair<std::uint16_t, std::string> nonsense[] = {{wire(OutsideType::status), "1"},
                                                            {wire(OutsideType::gid_map), thread + "/../../etc/passwd"},
                                                            {wire(OutsideType::mounts), thread},
                                                            {wire(OutsideType::opened), ""},
                                                            {0, thread}};
  for (const auto& [type, payload] : nonsense) {
    auto ends = protocol::make_socket_pair();
    ASSERT_TRUE(ends);
    const protocol::Channel server{std::move(ends->first)};
    ASSERT_TRUE(server.send(type, payload));
    EXPECT_EQ(keeper::answer_server(protocol::Channel{std::move(ends->second)}), 1) << type;
  }
}

TEST(PidNamespace, EndsWhenNobodyHoldsTheServersEnd) {
  if (::geteuid() != 0) STELLARIUM_CANNOT_RUN("must be root to make a pid namespace");
  auto made = keeper::PidNamespace::enter("/no/such/program");
  ASSERT_TRUE(made) << to_string(made.error());
  ASSERT_TRUE(made->leave());
  int status = -1;
  EXPECT_GT(::waitpid(-1, &status, 0), 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(Sandbox, SaysWhatIsInForceAndWhatIsNot) {
  const test::TempDir store;
  std::string said;
  EXPECT_EQ(in_child(
                [&] {
                  Sandbox sandbox{SandboxLayers::none().with(SandboxLayer::seccomp)};
                  sandbox.enter(store.path(), false);
                  sandbox.close();
                  return first_false({sandbox.in_force() == std::vector<std::string>{"seccomp"},
                                      sandbox.missing().size() == 5, opens("/etc/passwd"),
                                      ::socket(AF_INET, SOCK_STREAM, 0) < 0 && errno == EPERM});
                },
                &said),
            0)
      << said;
}

}  // namespace
}  // namespace stellarium::server::sandbox
