#include "tools/server/outside.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>

#include "base/bytes.h"
#include "base/io.h"

namespace stellarium::server {
namespace {

constexpr std::size_t kMaxMounts = 16u << 20;

/// A file of /proc gives what there is in parts of a page or so.
std::string read_all(int file, std::size_t max) {
  std::string text;
  for (std::size_t done = 0; done < max;) {
    text.resize(std::min(max, done + fs::fuse::HostProcesses::kMaxText));
    const auto got = system_io().read_at(file, std::as_writable_bytes(std::span{text}).subspan(done), done);
    done += got.value_or(0);
    const bool ended = !got || done < text.size();
    text.resize(done);
    if (ended) break;
  }
  return text;
}

/// Behind the name that a line begins with; 0 if there is none.
int number_in(std::string_view line) {
  const std::size_t at = std::min(line.find_first_of("0123456789"), line.size());
  int number = 0;
  std::from_chars(line.data() + at, line.data() + line.size(), number);
  return number;
}

}  // namespace

Outside::Numbers Outside::numbers_in_proc() {
  Numbers found{::getpid(), ::getppid()};
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Pid:")) found.process = number_in(line);
    if (line.starts_with("PPid:")) {
      found.keeper = number_in(line);
      break;  // it comes after the other
    }
  }
  return found;
}

Result<UniqueFd> Outside::ask(protocol::OutsideType type, std::string_view payload) const {
  const MutexLock lock{mutex_};
  if (auto sent = first_process_->send(wire(type), payload); !sent) return fail(sent.error());
  auto answer = first_process_->receive();
  if (!answer) return fail(answer.error());
  if (answer->type != wire(protocol::OutsideType::opened) || answer->descriptors.size() != 1)
    return fail(Errc::not_found, "it cannot be opened");
  return std::move(answer->descriptors.front());
}

std::string Outside::read(std::uint32_t thread, File file) const {
  if (!first_process_) return fs::fuse::processes_in_proc().read(thread, file);
  std::string payload;
  put_le(payload, thread);
  const auto opened =
      ask(file == File::status ? protocol::OutsideType::status : protocol::OutsideType::gid_map, payload);
  return opened ? read_all(opened->get(), kMaxText) : std::string{};
}

std::string Outside::mounts() const {
  const auto opened = first_process_ ? ask(protocol::OutsideType::mounts, {})
                                     : system_io().open(AT_FDCWD, "/proc/self/mountinfo", O_RDONLY, 0);
  return opened ? read_all(opened->get(), kMaxMounts) : std::string{};
}

}  // namespace stellarium::server
