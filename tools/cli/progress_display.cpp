#include "tools/cli/progress_display.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/text/escape.h"
#include "tools/text/units.h"

namespace stellarium::cli {
namespace {

using namespace std::chrono_literals;

constexpr unsigned kBarWidth = 24;
constexpr double kSteady = 0.5;  // seconds before a rate means anything

double fraction_of(const protocol::Progress& progress) {
  if (progress.total == 0) return 0;
  return std::min(1.0, static_cast<double>(progress.done) / static_cast<double>(progress.total));
}

double rate_of(const protocol::Progress& progress, double seconds) {
  return seconds < kSteady ? 0 : static_cast<double>(progress.done) / seconds;
}

std::string amount(std::uint64_t value, bool bytes) {
  return bytes ? text::format_bytes(value) : fmt::format("{}", value);
}

}  // namespace

std::string progress_line(const protocol::Progress& progress, double seconds, unsigned columns) {
  std::string line = text::escape(progress.phase);
  const double fraction = fraction_of(progress);
  if (progress.total != 0) {
    const auto filled = static_cast<unsigned>(fraction * kBarWidth);
    line += fmt::format(" [{}{}] {:3.0f} %", std::string(filled, '#'), std::string(kBarWidth - filled, '.'),
                        std::floor(fraction * 100));
  }
  line += "  " + amount(progress.done, progress.bytes);
  if (progress.total != 0) line += " of " + amount(std::max(progress.total, progress.done), progress.bytes);
  if (progress.files != 0) line += fmt::format("  {} files", progress.files);
  if (const double rate = rate_of(progress, seconds); rate > 0) {
    line += "  " + amount(static_cast<std::uint64_t>(rate), progress.bytes) + "/s";
    if (progress.total > progress.done)
      line += "  " + text::format_duration(static_cast<double>(progress.total - progress.done) / rate) + " left";
  }
  if (line.size() > columns) line.resize(columns);
  return line;
}

std::string progress_json(const protocol::Progress& progress, double seconds) {
  nlohmann::ordered_json out{{"schema", 1}, {"phase", progress.phase}, {"done", progress.done}};
  if (progress.total != 0) {
    out["total"] = std::max(progress.total, progress.done);
    out["percent"] = std::floor(fraction_of(progress) * 1000) / 10;
  }
  if (progress.files != 0) out["files"] = progress.files;
  out["unit"] = progress.bytes ? "bytes" : "items";
  if (const double rate = rate_of(progress, seconds); rate > 0) {
    out["rate"] = std::floor(rate);
    if (progress.total > progress.done)
      out["eta"] = std::ceil(static_cast<double>(progress.total - progress.done) / rate);
  }
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

ProgressDisplay::ProgressDisplay(ProgressStyle style) : style_{wanted(style) ? style : ProgressStyle::none} {}

bool ProgressDisplay::wanted(ProgressStyle style) {
  return style == ProgressStyle::plain || style == ProgressStyle::json ||
         (style == ProgressStyle::automatic && ::isatty(STDERR_FILENO) == 1);
}

void ProgressDisplay::show(const protocol::Progress& progress) {
  if (style_ == ProgressStyle::none) return;
  const auto now = Clock::now();
  if (progress.phase != phase_) {
    clear();
    phase_ = progress.phase;
    phase_began_ = now;
    last_shown_ = {};
  }
  const auto pause = style_ == ProgressStyle::automatic ? 100ms : 1000ms;
  if (now - last_shown_ < pause) return;
  last_shown_ = now;
  const double seconds = std::chrono::duration<double>(now - phase_began_).count();
  if (style_ == ProgressStyle::json) {
    std::fprintf(stderr, "%s\n", progress_json(progress, seconds).c_str());
    return;
  }
  winsize window{};
  const bool known = ::ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 10;
  const std::string line = progress_line(progress, seconds, known ? window.ws_col - 1u : 119u);
  if (style_ == ProgressStyle::plain) {
    std::fprintf(stderr, "%s\n", line.c_str());
  } else {
    std::fprintf(stderr, "\r%s\x1b[K", line.c_str());
    drawn_ = true;
  }
  std::fflush(stderr);
}

void ProgressDisplay::clear() {
  if (!drawn_) return;
  std::fprintf(stderr, "\r\x1b[K");
  std::fflush(stderr);
  drawn_ = false;
}

}  // namespace stellarium::cli
