#pragma once
#include <sys/stat.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "fs/archive_member.h"

namespace stellarium::test {

/// All that a reader gives of an archive: each member as a line of its own, data and holes included, and whether it
/// came to the archive's end. At most `most` bytes of data are looked at.
struct ReadMembers {
  std::vector<std::string> lines;
  bool whole = false;
  std::string error;
};

inline std::string line_of(const fs::ArchiveMember& member) {
  std::string line = member.path + '\0';
  const auto put = [&line](auto number) { line += std::to_string(number) + ' '; };
  put(member.hard_link ? member.mode & 07777u : member.mode);  // nobody knows the type of a link
  put(member.uid), put(member.gid), put(member.size), put(member.rdev);
  for (const auto* time : {&member.mtime, &member.atime, &member.ctime, &member.btime})
    put(time->seconds), put(time->nanoseconds);
  line += "to " + member.symlink + '\0' + (member.hard_link ? "as " + *member.hard_link : "") + '\0';
  fs::Xattrs xattrs = member.xattrs;
  std::ranges::sort(xattrs);
  for (const auto& [name, value] : xattrs) line += name + '=' + std::to_string(value.size()) + ' ' + value + '\0';
  if (member.nfs4_acl) line += "nfs4";
  return line;
}

template <class Reader>
ReadMembers read_members(Reader& reader, std::size_t most = 64u << 20) {
  ReadMembers read;
  while (true) {
    const auto member = reader.next();
    if (!member) {
      read.error = to_string(member.error());
      return read;
    }
    if (!*member) {
      read.whole = true;
      return read;
    }
    std::string line = line_of(**member);
    std::uint64_t end = 0;
    while (true) {
      const auto block = reader.data();
      if (!block) {
        read.error = to_string(block.error());
        return read;
      }
      if (!*block) break;
      if ((*block)->bytes.empty()) continue;
      if ((*block)->offset != end) line += " hole " + std::to_string((*block)->offset) + ' ';
      line += as_text((*block)->bytes);
      end = (*block)->offset + (*block)->bytes.size();
      if (most < (*block)->bytes.size()) return read;
      most -= (*block)->bytes.size();
    }
    read.lines.push_back(std::move(line));
  }
}

}  // namespace stellarium::test
