#include "fs/pax_records.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

namespace stellarium::fs {
namespace {

constexpr std::string_view kXattrKey = "SCHILY.xattr.";
/// Of users' names the numbers count; of the rest, what the tree says.
constexpr std::array<std::string_view, 6> kOfNoUse{"uname",      "gname",      "comment",
                                                   "SCHILY.dev", "SCHILY.ino", "SCHILY.nlink"};
constexpr std::string_view kPosixAcls = "system.posix_acl_";

std::size_t digits_of(std::size_t number) {
  std::size_t digits = 1;
  for (; number >= 10; number /= 10) ++digits;
  return digits;
}

/// Decimal digits and nothing else, small enough for a file's size.
std::optional<std::uint64_t> decimal_of(std::string_view text) {
  std::int64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || text.front() == '-' || error != std::errc{} || stop != text.data() + text.size()) return {};
  return static_cast<std::uint64_t>(value);
}

/// Seconds since 1970, and up to nine digits of a fraction.
std::optional<Timespec> time_of_text(std::string_view text) {
  const std::size_t point = std::min(text.find('.'), text.size());
  const auto seconds = decimal_of(text.substr(0, point));
  if (!seconds) return {};
  Timespec time{static_cast<std::int64_t>(*seconds), 0};
  if (point == text.size()) return time;
  const std::string_view fraction = text.substr(point + 1);
  const auto digits = decimal_of(fraction);
  if (!digits || fraction.size() > 9) return {};
  time.nanoseconds = static_cast<std::uint32_t>(*digits);
  for (std::size_t place = fraction.size(); place < 9; ++place) time.nanoseconds *= 10;
  return time;
}

std::optional<std::string> name_of_text(std::string_view text) {
  if (text.empty() || text.find('\0') != std::string_view::npos) return {};
  return std::string{text};
}

/// Splits off the first record; nothing if it is malformed.
std::optional<std::pair<std::string_view, std::string_view>> take_record(std::string_view& records) {
  std::size_t length = 0;
  const auto [stop, error] = std::from_chars(records.data(), records.data() + records.size(), length);
  const auto begin = static_cast<std::size_t>(stop - records.data());
  if (error != std::errc{} || records.front() == '0' || length > records.size() || begin + 2 > length ||
      records[begin] != ' ' || records[length - 1] != '\n')
    return {};
  const std::string_view record = records.substr(begin + 1, length - begin - 2);
  records.remove_prefix(length);
  const std::size_t equals = record.find('=');
  if (equals == std::string_view::npos || equals == 0) return {};
  return std::pair{record.substr(0, equals), record.substr(equals + 1)};
}

class Reader {
 public:
  /// False: what is said of the size cannot be used.
  bool take(std::string_view key, std::string_view value) {
    if (key == "size") {
      const bool first = !out.size;
      out.size = decimal_of(value);
      return first && out.size;
    }
    out.names_folder |= (key == "path" || key == "GNU.sparse.name") && is_folder_name(value);
    if (take_other(key, value)) return true;
    out.others = true;
    has_major_ |= key == "GNU.sparse.major";
    has_minor_ |= key == "GNU.sparse.minor";
    out.half_version = has_major_ != has_minor_;
    return true;
  }

  PaxRecords out;

 private:
  bool has_major_ = false, has_minor_ = false;

  bool take_other(std::string_view key, std::string_view value) {
    if (key == "mtime") return set(out.mtime, time_of_text(value));
    if (key.starts_with(kXattrKey)) return take_xattr(key.substr(kXattrKey.size()), value);
    if (key == "path") return set(out.path, name_of_text(value));
    if (key == "linkpath") return set(out.link, name_of_text(value));
    if (key == "uid") return set(out.uid, decimal_of(value));
    if (key == "gid") return set(out.gid, decimal_of(value));
    if (key == "atime") return set(out.atime, time_of_text(value));
    if (key == "ctime") return set(out.ctime, time_of_text(value));
    if (key == "LIBARCHIVE.creationtime") return set(out.btime, time_of_text(value));
    if (key == "hdrcharset") return value == "BINARY" || value == "ISO-IR 10646 2000 UTF-8";
    return std::ranges::find(kOfNoUse, key) != kOfNoUse.end();
  }
  template <class Value>
  static bool set(std::optional<Value>& to, std::optional<Value> value) {
    const bool plain = value && !to;
    to = std::move(value);
    return plain;
  }
  bool take_xattr(std::string_view key, std::string_view value) {
    if (key.find('\0') != std::string_view::npos) return false;
    std::string attribute = plain_attribute_name(key);
    // An ACL changes the mode, too.
    if (attribute.empty() || attribute.starts_with(kPosixAcls)) return false;
    if (std::ranges::find(out.xattrs, attribute, &Xattrs::value_type::first) != out.xattrs.end()) return false;
    out.xattrs.emplace_back(std::move(attribute), value);
    return true;
  }
};

}  // namespace

bool is_folder_name(std::string_view name) {
  return name.substr(0, name.find('\0')).ends_with('/');
}

void put_pax_record(std::string& records, std::string_view key, std::string_view value) {
  const std::size_t rest = key.size() + value.size() + 3;  // space, '=', newline
  std::size_t length = rest + digits_of(rest);
  if (digits_of(length) != digits_of(rest)) ++length;
  records += std::to_string(length);
  records += ' ';
  records += key;
  records += '=';
  records += value;
  records += '\n';
}

std::optional<PaxRecords> read_pax_records(std::string_view records) {
  Reader reader;
  while (!records.empty()) {
    const auto record = take_record(records);
    if (!record || !reader.take(record->first, record->second)) return {};
  }
  return std::move(reader.out);
}

std::string escaped_attribute_name(std::string_view name) {
  std::string escaped;
  for (const char c : name) {
    if (c == '=') {
      escaped += "%3D";
    } else if (c == '%') {
      escaped += "%25";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string plain_attribute_name(std::string_view name) {
  std::string plain;
  while (!name.empty()) {
    const bool equals = name.starts_with("%3D");
    const bool escaped = equals || name.starts_with("%25");
    plain += !escaped ? name.front() : equals ? '=' : '%';
    name.remove_prefix(escaped ? 3 : 1);
  }
  return plain;
}

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const auto first = static_cast<unsigned char>(text[at]);
    if (first < 0x80) {
      ++at;
      continue;
    }
    const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || text.size() - at < size) return false;
    std::uint32_t point = first & (0x7fu >> size);
    for (std::size_t i = 1; i < size; ++i) {
      const auto byte = static_cast<unsigned char>(text[at + i]);
      if ((byte & 0xc0) != 0x80) return false;
      point = point << 6 | (byte & 0x3fu);
    }
    const bool overlong = (size == 3 && point < 0x800) || (size == 4 && point < 0x10000);
    if (overlong || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return false;
    at += size;
  }
  return true;
}

}  // namespace stellarium::fs
