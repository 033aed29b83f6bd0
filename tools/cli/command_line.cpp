#include "tools/cli/command_line.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "tools/cli/definitions.h"
#include "tools/cli/man_page.h"
#include "tools/protocol/build_info.h"

namespace stellarium::cli {

struct CommandLine::Storage {
  Definitions definitions;
};

CommandLine::CommandLine(std::string_view only)
    : storage_{std::make_unique<Storage>()}, app_{std::make_unique<CLI::App>()} {
  storage_->definitions.define(*app_, only);
}

CommandLine::~CommandLine() = default;

std::variant<Invocation, Answer> CommandLine::parse(const std::vector<std::string>& words) {
  CommandLine line{words.empty() ? std::string_view{} : words.front()};
  return line.read(words);
}

std::variant<Invocation, Answer> CommandLine::read(const std::vector<std::string>& words) {
  const auto options_end = std::ranges::find(words, "--");
  if (std::find(words.begin(), options_end, "--version") != options_end) {
    return Answer{std::string{"stellarium "} + protocol::build_id() + "\n", 0};
  }
  if (std::find(words.begin(), options_end, "--man") != options_end) {
    for (const CLI::App* command : app_->get_subcommands([](const CLI::App*) { return true; })) {
      if (std::find(words.begin(), options_end, command->get_name()) != options_end)
        return Answer{man_page(*app_, command), 0};
    }
    return Answer{man_page(*app_, nullptr), 0};
  }
  try {
    std::vector<std::string> reversed{words.rbegin(), words.rend()};  // how CLI11 wants them
    app_->parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    return Answer{app_->help(), 0};  // of the subcommand, if one was named
  } catch (const CLI::ParseError& wrong) {
    const auto used = app_->get_subcommands();
    const std::string command = used.empty() ? "" : used.front()->get_name() + " ";
    std::string what = wrong.what();
    if (!what.empty() && what.back() == '\n') what.pop_back();
    // CLI11 would only say that a subcommand is missing.
    const std::vector<std::string> unknown = app_->remaining();
    if (used.empty() && !unknown.empty()) what = "there is no command '" + unknown.front() + "'";
    return Answer{"stellarium: " + what + ": see 'stellarium " + command + "--help'\n", 2};
  }
  const auto used = app_->get_subcommands();
  Invocation invocation{storage_->definitions.global, storage_->definitions.chosen(used.front()->get_name()),
                        used.front()->get_name(), words};
  return invocation;
}

}  // namespace stellarium::cli
