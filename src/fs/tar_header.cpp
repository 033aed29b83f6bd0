#include "fs/tar_header.h"

#include <algorithm>
#include <cassert>

#include "base/bytes.h"

namespace stellarium::fs {
namespace {

struct Field {
  std::size_t at, size;
};
constexpr Field kName{0, 100}, kMode{100, 8}, kUid{108, 8}, kGid{116, 8}, kSize{124, 12}, kTime{136, 12}, kSum{148, 8},
    kLink{157, 100}, kMagic{257, 8}, kMajor{329, 8}, kMinor{337, 8}, kPrefix{345, 155};
constexpr std::size_t kType = 156;
constexpr std::string_view kUstar{
    "ustar\0"
    "00",
    8};
constexpr std::string_view kGnu{"ustar  \0", 8};

/// Leading zeros, and a NUL at the end.
void put_octal(char* block, Field field, std::uint64_t value) {
  char* const digits = block + field.at;
  digits[field.size - 1] = '\0';
  for (std::size_t at = field.size - 1; at-- > 0; value >>= 3) digits[at] = static_cast<char>('0' + (value & 7));
}

/// Spaces, digits, and then only spaces and NULs; no digits are 0.
std::optional<std::uint64_t> octal(std::string_view block, Field field) {
  std::string_view text = block.substr(field.at, field.size);
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  std::uint64_t value = 0;
  while (!text.empty() && text.front() >= '0' && text.front() <= '7') {
    value = value << 3 | static_cast<std::uint64_t>(text.front() - '0');
    text.remove_prefix(1);
  }
  const bool plain = std::ranges::all_of(text, [](char c) { return c == ' ' || c == '\0'; });
  return plain ? std::optional{value} : std::nullopt;
}

std::string_view text(std::string_view block, Field field) {
  const std::string_view whole = block.substr(field.at, field.size);
  return whole.substr(0, whole.find('\0'));
}

/// The checksum counts its own field as spaces.
std::uint32_t sum_of(std::string_view block) {
  // Eight bytes at a time, in four sums of 16 bits: kTarBlock / 4 bytes of 255 fit.
  constexpr std::uint64_t kEven = 0x00ff00ff00ff00ff;
  std::uint64_t sums = 0;
  for (std::size_t at = 0; at < kTarBlock; at += 8) {
    const auto word = load_le<std::uint64_t>(reinterpret_cast<const std::byte*>(block.data() + at));
    sums += (word & kEven) + (word >> 8 & kEven);
  }
  std::uint32_t sum = 0;
  for (; sums != 0; sums >>= 16) sum += static_cast<std::uint32_t>(sums & 0xffff);
  for (const char byte : block.substr(kSum.at, kSum.size)) sum += ' ' - std::uint32_t{static_cast<unsigned char>(byte)};
  return sum;
}

}  // namespace

std::array<char, kTarBlock> TarHeader::encode() const {
  assert(prefix.empty());
  std::array<char, kTarBlock> block{};
  char* const at = block.data();
  const auto fitting = [](std::uint64_t value, std::uint64_t most) { return value <= most ? value : 0; };
  name.copy(at + kName.at, kName.size);
  put_octal(at, kMode, mode);
  put_octal(at, kUid, fitting(uid, kMaxOwner));
  put_octal(at, kGid, fitting(gid, kMaxOwner));
  put_octal(at, kSize, fitting(size, kMaxNumber));
  put_octal(at, kTime, fitting(mtime, kMaxNumber));
  at[kType] = type;
  link.copy(at + kLink.at, kLink.size);
  kUstar.copy(at + kMagic.at, kMagic.size);
  put_octal(at, kMajor, device_major);
  put_octal(at, kMinor, device_minor);
  const std::uint32_t sum = sum_of({block.data(), block.size()});
  at[kSum.at + kSum.size - 1] = ' ';
  put_octal(at, {kSum.at, kSum.size - 1}, sum);
  return block;
}

std::optional<TarHeader> TarHeader::decode(std::string_view block) {
  const std::string_view magic = block.substr(kMagic.at, kMagic.size);
  if ((magic != kUstar && magic != kGnu) || octal(block, kSum) != sum_of(block)) return {};
  const std::string_view prefix = text(block, kPrefix);
  // GNU tar keeps other things there.
  if (magic == kGnu && !all_zero(as_bytes(block.substr(kPrefix.at)))) return {};
  const auto mode = octal(block, kMode), uid = octal(block, kUid), gid = octal(block, kGid), size = octal(block, kSize),
             mtime = octal(block, kTime), device_major = octal(block, kMajor), device_minor = octal(block, kMinor);
  if (!mode || *mode > 0177777 || !uid || !gid || !size || !mtime || !device_major || !device_minor) return {};
  return TarHeader{.name = text(block, kName),
                   .link = text(block, kLink),
                   .mode = static_cast<std::uint32_t>(*mode) & 07777,
                   .uid = *uid,
                   .gid = *gid,
                   .size = *size,
                   .mtime = *mtime,
                   .type = block[kType],
                   .device_major = static_cast<std::uint32_t>(*device_major),
                   .device_minor = static_cast<std::uint32_t>(*device_minor),
                   .prefix = prefix,
                   .gnu = magic == kGnu};
}

}  // namespace stellarium::fs
