#include "tools/keeper/first_process.h"

#include <fcntl.h>

#include <optional>
#include <string>

#include "base/bytes.h"
#include "base/unique_fd.h"
#include "tools/protocol/outside.h"

namespace stellarium::keeper {
namespace {

using protocol::OutsideType;

/// The file that is asked for; nothing if it is no question.
std::optional<std::string> file_of(const protocol::Frame& question) {
  const auto type = static_cast<OutsideType>(question.type);
  if (type == OutsideType::mounts && question.payload.empty()) return "/proc/self/mountinfo";
  if (type != OutsideType::status && type != OutsideType::gid_map) return std::nullopt;
  ByteReader in{as_bytes(question.payload)};
  const auto thread = in.le<std::uint32_t>();
  if (!in.ok() || in.left() != 0) return std::nullopt;
  return "/proc/" + std::to_string(thread) + (type == OutsideType::status ? "/status" : "/gid_map");
}

}  // namespace

int answer_server(const protocol::Channel& server) {
  while (true) {
    const auto question = server.receive();
    if (!question) return question.error().code == Errc::unavailable ? 0 : 1;
    const auto file = file_of(*question);
    if (!file) return 1;
    const UniqueFd opened{::open(file->c_str(), O_RDONLY | O_CLOEXEC)};
    const int fd = opened.get();
    const auto answered =
        opened ? server.send(wire(OutsideType::opened), {}, {&fd, 1}) : server.send(wire(OutsideType::absent), {});
    if (!answered) return 0;
  }
}

}  // namespace stellarium::keeper
