#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace stellarium::text {

/// Binary units with three significant digits: "0 B", "999 B", "1.50 KiB", "12.3 MiB", "350 MiB".
std::string format_bytes(std::uint64_t bytes);

/// Bytes as a person writes them: digits, and K, M, G or T (powers of 1,024), with or without "iB" or "B" behind it.
/// Nothing if it is not that, or does not fit.
std::optional<std::uint64_t> parse_bytes(const std::string& text);

/// "0.4 s", "59.9 s", "3 min 05 s", "2 h 07 min".
std::string format_duration(double seconds);

/// "2026-11-20 13:05:59", local time; "-" for 0.
std::string format_time(std::int64_t seconds);

/// As ls -l shows it: "drwxr-xr-x".
std::string format_mode(std::uint32_t mode);

}  // namespace stellarium::text
