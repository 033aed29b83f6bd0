#include "fs/import_member.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "fs/records.h"
#include "fs/tree_emitter.h"

namespace stellarium::fs {
namespace {

// The next field of a reference as a number without signs or leading zeros.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  const std::size_t end = std::min(text.find(' '), text.size());
  const std::string_view digits = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  if (digits.size() > 1 && digits.front() == '0') return {};
  std::uint64_t value = 0;
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (digits.empty() || error != std::errc{} || stop != digits.data() + digits.size()) return {};
  return value;
}

Result<std::uint32_t> owner(std::int64_t id, const char* what) {
  if (id < 0 || id > 0xffffffff)
    return fail(Errc::invalid_argument, std::string{"the "} + what + " " + std::to_string(id) + " is out of range");
  return static_cast<std::uint32_t>(id);
}

}  // namespace

Result<ContentReference> parse_content_reference(std::string_view text) {
  const auto malformed = [] {
    return fail(Errc::invalid_argument, std::string{"a malformed attribute "} + kContentAttribute);
  };
  if (text.size() < 65 || text[64] != ' ' || text.back() == ' ') return malformed();
  const std::optional<cas::Hash> id = cas::Hash::from_hex(text.substr(0, 64));
  text.remove_prefix(65);
  const std::optional<std::uint64_t> size = take_number(text);
  const std::optional<std::uint64_t> allocated = take_number(text);
  const std::optional<std::uint64_t> elf = take_number(text);
  if (!id || !size || !allocated || !elf || !text.empty()) return malformed();
  if (*size <= kMaxInlineContent || *size > INT64_MAX || *allocated > *size || *elf > 1) return malformed();
  return ContentReference{*id, *size, *allocated, *elf == 1};
}

Result<std::optional<ContentReference>> take_content_reference(ArchiveMember& member) {
  const auto attribute = std::ranges::find(member.xattrs, kContentAttribute, &Xattrs::value_type::first);
  if (attribute == member.xattrs.end()) return std::nullopt;
  if (!S_ISREG(member.mode) || member.size != 0 || member.hard_link) {
    return fail(Errc::invalid_argument,
                std::string{"the attribute "} + kContentAttribute + " is reserved for regular files without data");
  }
  const Result<ContentReference> reference = parse_content_reference(attribute->second);
  if (!reference) return fail(reference.error());
  member.xattrs.erase(attribute);
  return *reference;
}

Result<Inode> inode_of(const ArchiveMember& member) {
  Inode inode;
  inode.mode = member.mode;
  const Result<std::uint32_t> uid = owner(member.uid, "owner");
  if (!uid) return fail(uid.error());
  const Result<std::uint32_t> gid = owner(member.gid, "group");
  if (!gid) return fail(gid.error());
  inode.uid = *uid;
  inode.gid = *gid;
  inode.rdev = member.rdev;
  inode.atime = member.atime;
  inode.mtime = member.mtime;
  inode.ctime = member.ctime;
  inode.btime = member.btime;
  if (dirent_type(member.mode) == 0) return fail(Errc::invalid_argument, "a file type that does not exist");
  if (member.size < 0) return fail(Errc::invalid_argument, "a negative size");
  if (S_ISLNK(member.mode)) {
    if (member.symlink.empty() || member.symlink.size() > kMaxSymlink) {
      return fail(Errc::invalid_argument,
                  "a symlink whose target has " + std::to_string(member.symlink.size()) + " bytes");
    }
    inode.body = Body::inline_;
    inode.inline_bytes = member.symlink;
    inode.size = inode.allocated = member.symlink.size();
  }
  return inode;
}

tl::unexpected<Error> refuse_member(const std::string& path, const Error& error) {
  std::string shown = path.substr(0, 200);
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = '?';
  }
  return fail(error, "member " + (shown.empty() ? "without a name" : shown) + (path.size() > 200 ? "…" : ""));
}

}  // namespace stellarium::fs
