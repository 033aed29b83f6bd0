#pragma once
#include <fmt/core.h>

#include <string_view>
#include <utility>

/// The server's log: one line an event, to standard error until `start` says otherwise.
///
/// It stands before spdlog, whose headers cost five seconds a source file, and it is in base because every component
/// has something to say once ("no passthrough: …"). Libraries log what no caller can be told; everything else is an
/// Error. Threads: all functions may be called concurrently.
namespace stellarium::log {

enum class Level : unsigned char { info, warn, error, critical, off };

/// Stamps lines with the time and `program`, and flushes each. Called once, by main.
void start(const char* program);
/// Drops lines below `level` from now on.
void set_level(Level level);
void write(Level level, std::string_view line);

template <typename... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void warn(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::warn, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
void critical(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::critical, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace stellarium::log
