#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/doctor_checks.h"
#include "tools/text/escape.h"

// `stellarium doctor`: looks, and changes nothing. It opens no path that could lie on a mount of ours, because such a
// mount may hang, and that may be why it was called.
namespace stellarium::cli {
namespace {

const char* name_of(Finding::State state) {
  switch (state) {
    case Finding::State::good:
      return "ok";
    case Finding::State::limited:
      return "limited";
    case Finding::State::bad:
      return "bad";
  }
  return "";
}

}  // namespace

int run_doctor(const Invocation& invocation, const std::filesystem::path& store) {
  std::vector<Finding> findings = check_kernel();
  for (auto more : {check_permissions(), check_store(store), check_daemon(store)}) {
    findings.insert(findings.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
  }
  bool sound = true;
  nlohmann::ordered_json checks = nlohmann::json::array();
  for (const Finding& finding : findings) {
    sound = sound && finding.state != Finding::State::bad;
    checks.push_back({{"what", finding.what},
                      {"state", name_of(finding.state)},
                      {"detail", finding.detail},
                      {"advice", finding.advice}});
    if (invocation.global.json || (invocation.global.quiet && finding.state == Finding::State::good)) continue;
    std::printf("%-8s %-14s %s\n", name_of(finding.state), finding.what.c_str(), text::escape(finding.detail).c_str());
    if (!finding.advice.empty()) std::printf("%-8s %-14s -> %s\n", "", "", text::escape(finding.advice).c_str());
  }
  if (invocation.global.json) {
    const nlohmann::ordered_json out{{"schema", 1}, {"sound", sound}, {"checks", checks}};
    std::printf("%s\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  }
  return sound ? 0 : 1;
}

}  // namespace stellarium::cli
