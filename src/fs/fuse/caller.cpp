#include "fs/fuse/caller.h"

#include <linux/capability.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <vector>

#include "fs/fuse/host_processes.h"

namespace stellarium::fs::fuse {
namespace {

constexpr std::size_t kOfFiles = 3;  // of the four ids of a line: real, effective, saved, that for files

/// The first line, without what ends it; gone from `text` afterwards.
std::string_view next_line(std::string_view& text) {
  const auto end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

std::vector<std::uint64_t> numbers_in(std::string_view line, int base = 10) {
  std::vector<std::uint64_t> numbers;
  while (true) {
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    std::uint64_t number = 0;
    const auto read = std::from_chars(line.data(), line.data() + line.size(), number, base);
    if (read.ec != std::errc{}) return numbers;
    numbers.push_back(number);
    line.remove_prefix(static_cast<std::size_t>(read.ptr - line.data()));
  }
}

/// The numbers of the line that begins with `name`.
std::vector<std::uint64_t> numbers_of(std::string_view status, std::string_view name, int base = 10) {
  while (!status.empty()) {
    const std::string_view line = next_line(status);
    if (line.starts_with(name)) return numbers_in(line.substr(name.size()), base);
  }
  return {};
}

/// The host's id of what the namespace calls `id`; lines of the map: first inside, first outside, how many.
std::optional<std::uint64_t> outside(std::string_view map, std::uint64_t id) {
  while (!map.empty()) {
    const auto run = numbers_in(next_line(map));
    if (run.size() == 3 && id >= run[0] && id - run[0] < run[2]) return run[1] + (id - run[0]);
  }
  return std::nullopt;
}

}  // namespace

Caller parse_caller(std::string_view status, std::string_view map, std::uint32_t group) {
  const auto users = numbers_of(status, "Uid:"), own = numbers_of(status, "Gid:"),
             others = numbers_of(status, "Groups:"), capabilities = numbers_of(status, "CapEff:", 16);
  if (users.size() <= kOfFiles || own.size() <= kOfFiles || capabilities.empty()) return {};
  const auto is_in = [&](std::uint64_t id) {
    return own[kOfFiles] == id || std::ranges::find(others, id) != others.end();
  };
  const auto shifted = outside(map, group);
  const auto has = [&](int capability) { return (capabilities[0] >> capability & 1) != 0; };
  return {.in_group = is_in(group) || (shifted && is_in(*shifted)),
          .has_fsetid = has(CAP_FSETID),
          .is_administrator = users[kOfFiles] == 0 && has(CAP_SYS_ADMIN)};
}

Caller caller_of(const Request& request, std::uint32_t group) {
  if (request.peer() == Peer::guest) {
    const bool root = request.header().uid == 0;
    return {.in_group = request.header().gid == group, .has_fsetid = root, .is_administrator = root};
  }
  const std::uint32_t pid = request.header().pid;
  if (pid == 0) return {};  // of another pid namespace, or the kernel itself
  const HostProcesses& processes = request.processes();
  return parse_caller(processes.read(pid, HostProcesses::File::status),
                      processes.read(pid, HostProcesses::File::gid_map), group);
}

}  // namespace stellarium::fs::fuse
