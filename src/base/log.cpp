#include "base/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace stellarium::log {
namespace {

spdlog::level::level_enum level_of(Level level) {
  switch (level) {
    case Level::info:
      return spdlog::level::info;
    case Level::warn:
      return spdlog::level::warn;
    case Level::error:
      return spdlog::level::err;
    case Level::critical:
      return spdlog::level::critical;
    case Level::off:
      return spdlog::level::off;
  }
  return spdlog::level::critical;
}

/// spdlog makes its loggers at the first use, whichever thread that is. The guard is ours so that ThreadSanitizer sees
/// what makes others wait for it: Debian's spdlog is not instrumented.
spdlog::logger& logger() {
  [[maybe_unused]] static const bool made = spdlog::default_logger_raw() != nullptr;
  return *spdlog::default_logger_raw();
}

}  // namespace

void start(const char* program) {
  spdlog::set_default_logger(spdlog::stderr_logger_mt(program));
  spdlog::set_pattern("[%Y-%m-%d %H:%M:%S] [%n] %l: %v");
  spdlog::flush_on(spdlog::level::info);
}

void set_level(Level level) {
  spdlog::set_level(level_of(level));
}

void write(Level level, std::string_view line) {
  logger().log(level_of(level), spdlog::string_view_t{line.data(), line.size()});
}

}  // namespace stellarium::log
