#include "fs/posix_acl.h"

#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

#include "base/bytes.h"

namespace stellarium::fs {
namespace {

constexpr std::uint32_t kAclVersion = 2;
constexpr std::uint32_t kNoId = 0xffffffff;
constexpr std::size_t kHeaderBytes = 4, kEntryBytes = 8;

// Numbered as in linux/posix_acl.h; the numbers are also the order in which a valid ACL lists them.
enum Tag : std::uint16_t { user_obj = 0x01, user = 0x02, group_obj = 0x04, group = 0x08, mask = 0x10, other = 0x20 };

struct Entry {
  std::uint16_t tag;
  std::uint16_t permissions;
  std::uint32_t id;
};

std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return {};
  return value;
}

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  for (std::size_t from = 0;;) {
    const std::size_t at = text.find_first_of(separators, from);
    parts.push_back(text.substr(from, at - from));
    if (at == std::string_view::npos) return parts;
    from = at + 1;
  }
}

std::optional<std::uint32_t> id_of_name(bool is_user, const std::string& name) {
  char buffer[4096];
  if (is_user) {
    passwd entry{}, *found = nullptr;
    if (::getpwnam_r(name.c_str(), &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr)
      return found->pw_uid;
  } else {
    ::group entry{}, *found = nullptr;
    if (::getgrnam_r(name.c_str(), &entry, buffer, sizeof buffer, &found) == 0 && found != nullptr)
      return found->gr_gid;
  }
  return {};
}

std::optional<std::uint16_t> permissions(std::string_view text) {
  if (text.size() != 3) return {};
  std::uint16_t bits = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    if (text[i] == "rwx"[i]) {
      bits = static_cast<std::uint16_t>(bits | (4u >> i));
    } else if (text[i] != '-') {
      return {};
    }
  }
  return bits;
}

Result<Entry> parse_entry(std::string_view line) {
  const auto bad = [&](const char* what) {
    return fail(Errc::invalid_argument, "ACL entry '" + std::string{line} + "': " + what);
  };
  const auto fields = split(line, ":");
  if (fields.size() < 3 || fields.size() > 4) return bad("expected type:name:rwx");
  const auto bits = permissions(fields[2]);
  if (!bits) return bad("expected rwx permissions");

  const bool is_user = fields[0] == "user" || fields[0] == "u";
  const bool is_group = fields[0] == "group" || fields[0] == "g";
  if (fields[0] == "mask" || fields[0] == "m") return Entry{Tag::mask, *bits, kNoId};
  if (fields[0] == "other" || fields[0] == "o") return Entry{Tag::other, *bits, kNoId};
  if (!is_user && !is_group) return bad("unknown type");
  if (fields[1].empty()) return Entry{is_user ? Tag::user_obj : Tag::group_obj, *bits, kNoId};

  auto id = fields.size() == 4 ? number(fields[3]) : number(fields[1]);
  if (!id && fields.size() == 3) id = id_of_name(is_user, std::string{fields[1]});
  if (!id) return bad(is_user ? "no such user; give the number" : "no such group; give the number");
  return Entry{is_user ? Tag::user : Tag::group, *bits, *id};
}

/// One owner, one owning group, one other; a mask where there are named entries; no entry twice.
bool complete(const std::vector<Entry>& entries) {
  const auto count = [&](std::uint16_t tag) {
    return std::count_if(entries.begin(), entries.end(), [tag](const Entry& entry) { return entry.tag == tag; });
  };
  const bool named = count(Tag::user) + count(Tag::group) > 0;
  const auto twice = std::adjacent_find(entries.begin(), entries.end(),
                                        [](const Entry& a, const Entry& b) { return a.tag == b.tag && a.id == b.id; });
  return count(Tag::user_obj) == 1 && count(Tag::group_obj) == 1 && count(Tag::other) == 1 && count(Tag::mask) <= 1 &&
         (!named || count(Tag::mask) == 1) && twice == entries.end();
}

const char* type_name(std::uint16_t tag) {
  switch (tag) {
    case Tag::user_obj:
    case Tag::user:
      return "user";
    case Tag::group_obj:
    case Tag::group:
      return "group";
    case Tag::mask:
      return "mask";
    case Tag::other:
      return "other";
    default:
      return nullptr;
  }
}

bool in_order(const Entry& a, const Entry& b) {
  return std::tie(a.tag, a.id) < std::tie(b.tag, b.id);
}

std::string encode(const std::vector<Entry>& entries) {
  std::string binary;
  put_le(binary, kAclVersion);
  for (const Entry& entry : entries) {
    put_le(binary, entry.tag);
    put_le(binary, entry.permissions);
    put_le(binary, entry.id);
  }
  return binary;
}

Result<std::vector<Entry>> decode(std::string_view binary) {
  if (binary.size() < kHeaderBytes || (binary.size() - kHeaderBytes) % kEntryBytes != 0) {
    return fail(Errc::corrupt, "ACL of " + std::to_string(binary.size()) + " bytes");
  }
  ByteReader reader{as_bytes(binary)};
  if (reader.le<std::uint32_t>() != kAclVersion) return fail(Errc::corrupt, "ACL of an unknown version");
  std::vector<Entry> entries;
  while (!reader.at_end()) {
    Entry entry{};
    entry.tag = reader.le<std::uint16_t>();
    entry.permissions = reader.le<std::uint16_t>();
    entry.id = reader.le<std::uint32_t>();
    if (type_name(entry.tag) == nullptr || entry.permissions > 7)
      return fail(Errc::corrupt, "ACL entry of unknown type " + std::to_string(entry.tag));
    entries.push_back(entry);
  }
  return entries;
}

// The entries that stat(2) shows, with the place of their bits: owner, mask or else group, others.
struct Class {
  Entry* entry;
  unsigned shift;
};
std::vector<Class> shown_by_mode(std::vector<Entry>& entries) {
  const bool masked = std::any_of(entries.begin(), entries.end(), [](const Entry& e) { return e.tag == Tag::mask; });
  std::vector<Class> shown;
  for (Entry& entry : entries) {
    if (entry.tag == Tag::user_obj) shown.push_back({&entry, 6});
    if (entry.tag == (masked ? Tag::mask : Tag::group_obj)) shown.push_back({&entry, 3});
    if (entry.tag == Tag::other) shown.push_back({&entry, 0});
  }
  return shown;
}

bool says_more(const std::vector<Entry>& entries) {
  return std::any_of(entries.begin(), entries.end(), [](const Entry& entry) {
    return entry.tag == Tag::user || entry.tag == Tag::group || entry.tag == Tag::mask;
  });
}

}  // namespace

Result<std::string> acl_from_text(std::string_view text) {
  std::vector<Entry> entries;
  for (std::string_view line : split(text, ",\n")) {
    line = line.substr(0, line.find('#'));
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t' || line.back() == '\0')) line.remove_suffix(1);
    while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
    if (line.empty()) continue;
    const Result<Entry> entry = parse_entry(line);
    if (!entry) return fail(entry.error());
    entries.push_back(*entry);
  }
  std::sort(entries.begin(), entries.end(), in_order);
  if (!complete(entries))
    return fail(Errc::invalid_argument, "ACL '" + std::string{text.substr(0, 200)} + "' is incomplete");

  return encode(entries);
}

Result<std::string> acl_to_text(std::string_view binary) {
  const Result<std::vector<Entry>> entries = decode(binary);
  if (!entries) return fail(entries.error());
  std::string text;
  for (const auto& [tag, bits, id] : *entries) {
    if (!text.empty()) text += ',';
    text += type_name(tag);
    text += ':';
    if (tag == Tag::user || tag == Tag::group) text += std::to_string(id);
    text += ':';
    for (unsigned i = 0; i < 3; ++i) text += (bits & (4u >> i)) != 0 ? "rwx"[i] : '-';
  }
  return text;
}

Result<std::uint32_t> acl_permissions(std::string_view binary) {
  Result<std::vector<Entry>> entries = decode(binary);
  if (!entries) return fail(entries.error());
  std::uint32_t permissions = 0;
  for (const Class& shown : shown_by_mode(*entries))
    permissions |= std::uint32_t{shown.entry->permissions} << shown.shift;
  return permissions;
}

bool acl_is_empty(std::string_view binary) {
  return binary.size() <= kHeaderBytes;
}

Result<std::string> acl_checked(std::string_view binary) {
  Result<std::vector<Entry>> entries = decode(binary);
  if (!entries) return fail(Errc::invalid_argument, entries.error().context);
  std::sort(entries->begin(), entries->end(), in_order);
  if (!complete(*entries)) return fail(Errc::invalid_argument, "an incomplete ACL");
  return encode(*entries);
}

Result<bool> acl_says_more(std::string_view binary) {
  const Result<std::vector<Entry>> entries = decode(binary);
  if (!entries) return fail(entries.error());
  return says_more(*entries);
}

Result<std::string> acl_with_permissions(std::string_view binary, std::uint32_t mode) {
  Result<std::vector<Entry>> entries = decode(binary);
  if (!entries) return fail(entries.error());
  for (const Class& shown : shown_by_mode(*entries))
    shown.entry->permissions = static_cast<std::uint16_t>(mode >> shown.shift & 7);
  return encode(*entries);
}

Result<AclOfNew> acl_of_new(std::string_view default_acl, std::uint32_t mode) {
  Result<std::vector<Entry>> entries = decode(default_acl);
  if (!entries) return fail(entries.error());
  std::uint32_t permissions = 0;
  for (const Class& shown : shown_by_mode(*entries)) {
    shown.entry->permissions = static_cast<std::uint16_t>(shown.entry->permissions & mode >> shown.shift);
    permissions |= std::uint32_t{shown.entry->permissions} << shown.shift;
  }
  return AclOfNew{(mode & ~0777u) | permissions, says_more(*entries) ? encode(*entries) : std::string{}};
}

}  // namespace stellarium::fs
