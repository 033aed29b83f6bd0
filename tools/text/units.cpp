#include "tools/text/units.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <charconv>
#include <string_view>

#include <array>
#include <cmath>
#include <ctime>

namespace stellarium::text {

std::string format_bytes(std::uint64_t bytes) {
  constexpr std::array kUnits{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1000) return fmt::format("{} B", bytes);
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f} {}", value, decimals, kUnits[unit]);
}

std::string format_duration(double seconds) {
  if (seconds < 59.95) return fmt::format("{:.1f} s", std::max(seconds, 0.0));
  const auto whole = static_cast<std::uint64_t>(std::llround(seconds));
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  return fmt::format("{} h {:02} min", whole / 3600, whole / 60 % 60);
}

std::string format_time(std::int64_t seconds) {
  if (seconds == 0) return "-";
  const auto when = static_cast<std::time_t>(seconds);
  std::tm parts{};
  if (::localtime_r(&when, &parts) == nullptr) return std::to_string(seconds);
  std::array<char, 32> buffer{};
  if (std::strftime(buffer.data(), buffer.size(), "%Y-%m-%d %H:%M:%S", &parts) == 0) return std::to_string(seconds);
  return buffer.data();
}

std::string format_mode(std::uint32_t mode) {
  const auto type = [&] {
    switch (mode & S_IFMT) {
      case S_IFDIR:
        return 'd';
      case S_IFLNK:
        return 'l';
      case S_IFCHR:
        return 'c';
      case S_IFBLK:
        return 'b';
      case S_IFIFO:
        return 'p';
      case S_IFSOCK:
        return 's';
      default:
        return '-';
    }
  };
  std::string out{type()};
  for (int shift = 6; shift >= 0; shift -= 3) {
    const std::uint32_t bits = mode >> shift;
    out.push_back((bits & 4) != 0 ? 'r' : '-');
    out.push_back((bits & 2) != 0 ? 'w' : '-');
    out.push_back((bits & 1) != 0 ? 'x' : '-');
  }
  const auto mark = [&](std::uint32_t bit, std::size_t at, char with_x, char without_x) {
    if ((mode & bit) != 0) out[at] = out[at] == 'x' ? with_x : without_x;
  };
  mark(S_ISUID, 3, 's', 'S');
  mark(S_ISGID, 6, 's', 'S');
  mark(S_ISVTX, 9, 't', 'T');
  return out;
}

std::optional<std::uint64_t> parse_bytes(const std::string& text) {
  std::uint64_t value = 0;
  const char* const end = text.data() + text.size();
  const auto [behind, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{}) return std::nullopt;
  std::string_view unit{behind, static_cast<std::size_t>(end - behind)};
  if (unit.empty()) return value;
  constexpr std::string_view kUnits = "KMGT";
  const std::size_t power = kUnits.find(unit.front());
  if (power != std::string_view::npos) {
    unit.remove_prefix(1);
    if (unit != "" && unit != "B" && unit != "iB") return std::nullopt;
  } else if (unit != "B") {
    return std::nullopt;
  }
  const unsigned shift = power == std::string_view::npos ? 0 : 10 * (static_cast<unsigned>(power) + 1);
  if (shift != 0 && value > (~std::uint64_t{0} >> shift)) return std::nullopt;
  return value << shift;
}

}  // namespace stellarium::text
