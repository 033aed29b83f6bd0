#include "tools/cli/man_page.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "tools/protocol/build_info.h"

namespace stellarium::cli {
namespace {

/// Text for roff: backslashes and leading dots or quotes would be read as requests, and a plain '-' may come out as a
/// hyphen.
std::string roff(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      if (out.empty() && (c == '.' || c == '\'')) out += "\\&";
      out.push_back(c);
    }
  }
  return out;
}

std::string upper(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return text;
}

bool is_word(const CLI::Option* option) {
  return option->get_positional() && option->get_lnames().empty() && option->get_snames().empty();
}

/// "-l, --long" or "--store DIR".
std::string synopsis_of(const CLI::Option* option) {
  std::string out;
  for (const std::string& name : option->get_snames())
    out += (out.empty() ? "" : ", ") + ("\\fB" + roff("-" + name) + "\\fR");
  for (const std::string& name : option->get_lnames())
    out += (out.empty() ? "" : ", ") + ("\\fB" + roff("--" + name) + "\\fR");
  if (option->get_items_expected_max() > 0) out += " \\fI" + roff(option->get_type_name()) + "\\fR";
  return out;
}

std::string word_of(const CLI::Option* option) {
  const std::string name =
      "\\fI" + roff(option->get_name() == "WORDS" ? option->get_type_name() : option->get_name()) + "\\fR";
  const std::string many = option->get_items_expected_max() > 2 ? "..." : "";
  return option->get_required() ? name + many : "[" + name + "]" + many;
}

void add_options(std::string& out, const CLI::App& app, bool words) {
  for (const CLI::Option* option : app.get_options()) {
    if (is_word(option) != words || option->get_group().empty()) continue;  // without a group: hidden
    out += ".TP\n" + (words ? word_of(option) : synopsis_of(option)) + "\n" + roff(option->get_description()) + "\n";
  }
}

std::string header(const std::string& title) {
  return ".TH " + upper(title) + " 1 \"\" \"stellarium " + std::string{protocol::version()} + "\" \"User Commands\"\n";
}

}  // namespace

std::string man_page(const CLI::App& program, const CLI::App* command) {
  const std::string& name = program.get_name();
  if (command == nullptr) {
    std::string out =
        header(name) + ".SH NAME\n" + name + " \\- content\\-addressed filesystem for containers and microVMs\n";
    out += ".SH SYNOPSIS\n\\fB" + name + "\\fR [\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIARGUMENT\\fR]...\n";
    out += ".SH DESCRIPTION\n" + roff(program.get_description()) + "\n.SH COMMANDS\n";
    for (const CLI::App* each : program.get_subcommands([](const CLI::App*) { return true; })) {
      out += ".TP\n\\fB" + roff(each->get_name()) + "\\fR\n" + roff(each->get_description()) + ". See \\fB" + name +
             "\\-" + roff(each->get_name()) + "\\fR(1).\n";
    }
    out += ".SH OPTIONS\nThey may stand before or behind the command's name.\n";
    add_options(out, program, false);
    out +=
        ".SH EXIT STATUS\n0: done. 1: failed, with one line on standard error that says what, where and what to do. 2: "
        "wrong usage.\n";
    out +=
        ".SH ENVIRONMENT\n.TP\n\\fBSTELLARIUM_STORE\\fR\nthe store's folder where \\fB\\-\\-store\\fR is not given\n"
        ".TP\n\\fBSTELLARIUM_SANDBOX\\fR\nof the command that starts the daemon: \"none\", or the only layers of the "
        "server's sandbox that are wanted\n";
    return out;
  }
  const std::string title = name + "-" + command->get_name();
  std::string out = header(title) + ".SH NAME\n" + roff(title) + " \\- " + roff(command->get_description()) + "\n";
  out += ".SH SYNOPSIS\n\\fB" + name + " " + roff(command->get_name()) + "\\fR [\\fIOPTION\\fR]...";
  for (const CLI::Option* option : command->get_options()) {
    if (is_word(option)) out += " " + word_of(option);
  }
  out += "\n.SH OPTIONS\n";
  add_options(out, *command, true);
  add_options(out, *command, false);
  if (!command->get_footer().empty()) out += ".SH NOTES\n" + roff(command->get_footer()) + "\n";
  out += "\n.SH SEE ALSO\n\\fB" + name + "\\fR(1), which lists the options of all commands\n";
  return out;
}

}  // namespace stellarium::cli
