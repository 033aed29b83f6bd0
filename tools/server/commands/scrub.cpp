#include <fmt/format.h>

#include "tools/server/commands.h"
#include "tools/server/json.h"
#include "tools/text/units.h"

namespace stellarium::server {

int run(const cli::ScrubOptions&, CommandContext& context) {
  CommandIo& io = context.io;
  auto report = context.store.tier().scrub([&](std::uint64_t done, std::uint64_t total) {
    io.progress({.phase = "scrub", .done = done, .total = total});
    return !io.cancelled();
  });
  if (!report) return io.complain(report.error());
  if (context.global.json) {
    Json out{{"schema", 1}, {"files", report->files}, {"bytes", report->bytes}, {"damaged", Json::array()}};
    for (const std::string& line : report->damaged) out["damaged"].push_back(line);
    io.out(dump(out));
  } else {
    for (const std::string& line : report->damaged) io.out("damaged, dropped: " + text::escape(line) + "\n");
    io.out(fmt::format("{} hot files, {}: {}\n", report->files, text::format_bytes(report->bytes),
                       report->damaged.empty()
                           ? "all as they were filled"
                           : fmt::format("{} damaged, filled anew on use", report->damaged.size())));
  }
  return 0;
}

}  // namespace stellarium::server
