#include "fs/tar_header.h"

#include <algorithm>
#include <cassert>

namespace stellarium::fs {
namespace {

/// Leading zeros, and a NUL at the end.
void put_octal(char* field, std::size_t size, std::uint64_t value) {
  field[size - 1] = '\0';
  for (std::size_t at = size - 1; at-- > 0; value >>= 3) field[at] = static_cast<char>('0' + (value & 7));
}

std::size_t digits_of(std::size_t number) {
  std::size_t digits = 1;
  for (; number >= 10; number /= 10) ++digits;
  return digits;
}

}  // namespace

std::array<char, kTarBlock> TarHeader::encode() const {
  std::array<char, kTarBlock> block{};
  char* const at = block.data();
  const auto fitting = [](std::uint64_t value, std::uint64_t most) { return value <= most ? value : 0; };
  name.copy(at, kMaxName);
  put_octal(at + 100, 8, mode);
  put_octal(at + 108, 8, fitting(uid, kMaxOwner));
  put_octal(at + 116, 8, fitting(gid, kMaxOwner));
  put_octal(at + 124, 12, fitting(size, kMaxNumber));
  put_octal(at + 136, 12, fitting(mtime, kMaxNumber));
  std::fill_n(at + 148, 8, ' ');  // the checksum counts its own field as spaces
  at[156] = type;
  link.copy(at + 157, kMaxName);
  std::string_view{
      "ustar\0"
      "00",
      8}
      .copy(at + 257, 8);
  put_octal(at + 329, 8, device_major);
  put_octal(at + 337, 8, device_minor);
  std::uint32_t sum = 0;
  for (const char byte : block) sum += static_cast<unsigned char>(byte);
  put_octal(at + 148, 7, sum);
  return block;
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
