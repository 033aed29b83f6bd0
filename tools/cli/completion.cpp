#include <CLI/CLI.hpp>
#include <sstream>

#include "tools/cli/man_page.h"

// Completion scripts. Each is generated whole from the definitions; nothing in them calls the program, because
// completing a word must never start a daemon.
namespace stellarium::cli {
namespace {

std::vector<const CLI::App*> commands_of(const CLI::App& program) {
  return program.get_subcommands([](const CLI::App*) { return true; });
}

std::string flags_of(const CLI::App& app) {
  std::string out;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;  // hidden
    for (const std::string& name : option->get_snames()) out += (out.empty() ? "-" : " -") + name;
    for (const std::string& name : option->get_lnames()) out += (out.empty() ? "--" : " --") + name;
  }
  return out;
}

/// The fixed words that the command's first argument can be: "start|stop|…" of `daemon`; empty if it is a name or a
/// path.
std::string choices_of(const CLI::App& command) {
  for (const CLI::Option* option : command.get_options()) {
    std::string choices = option->get_name() == "SHELL"    ? "bash|zsh|fish"
                          : option->get_name() == "ACTION" ? option->get_type_name()
                                                           : "";
    for (char& c : choices) c = c == '|' ? ' ' : c;
    if (!choices.empty()) return choices;
  }
  return {};
}

std::string single_quoted(std::string text) {
  for (std::size_t at = 0; (at = text.find('\'', at)) != std::string::npos; at += 4) text.replace(at, 1, "'\\''");
  return "'" + text + "'";
}

std::string bash(const CLI::App& program) {
  std::ostringstream out;
  out << "_stellarium() {\n  local word=${COMP_WORDS[COMP_CWORD]} command= i\n"
         "  for ((i = 1; i < COMP_CWORD; i++)); do\n    case ${COMP_WORDS[i]} in\n      --store|--progress) ((i++)) "
         ";;\n      -*) ;;\n"
         "      *) command=${COMP_WORDS[i]}; break ;;\n    esac\n  done\n  local flags="
      << single_quoted(flags_of(program)) << " words=\n  case $command in\n    '') words='";
  for (const CLI::App* command : commands_of(program)) out << command->get_name() << " ";
  out << "' ;;\n";
  for (const CLI::App* command : commands_of(program)) {
    out << "    " << command->get_name() << ") flags+=" << single_quoted(" " + flags_of(*command));
    if (const std::string choices = choices_of(*command); !choices.empty()) out << "; words=" << single_quoted(choices);
    out << " ;;\n";
  }
  out << "  esac\n  if [[ $word == -* ]]; then\n    COMPREPLY=($(compgen -W \"$flags\" -- \"$word\"))\n  else\n"
         "    COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n  fi\n}\ncomplete -o bashdefault -o default -F "
         "_stellarium stellarium\n";
  return out.str();
}

std::string zsh(const CLI::App& program) {
  std::ostringstream out;
  out << "#compdef stellarium\n_stellarium() {\n  local -a commands flags choices\n  local name= i\n  commands=(\n";
  for (const CLI::App* command : commands_of(program)) {
    out << "    " << single_quoted(command->get_name() + ":" + command->get_description()) << "\n";
  }
  out << "  )\n  flags=(" << flags_of(program)
      << ")\n  for ((i = 2; i < CURRENT; i++)); do\n    case $words[i] in\n      --store|--progress) ((i++)) ;;\n      "
         "-*) ;;\n"
         "      *) name=$words[i]; break ;;\n    esac\n  done\n  case $name in\n";
  for (const CLI::App* command : commands_of(program)) {
    out << "    " << command->get_name() << ") flags+=(" << flags_of(*command) << "); choices=(" << choices_of(*command)
        << ") ;;\n";
  }
  out << "  esac\n  if [[ $PREFIX == -* ]]; then\n    compadd -- $flags\n  elif [[ -z $name ]]; then\n    _describe "
         "command commands\n"
         "  elif (( $#choices )); then\n    compadd -- $choices\n  else\n    _files\n  fi\n}\n_stellarium \"$@\"\n";
  return out.str();
}

std::string fish(const CLI::App& program) {
  std::ostringstream out;
  const auto options = [&out](const CLI::App& app, const std::string& condition) {
    for (const CLI::Option* option : app.get_options()) {
      if (option->get_group().empty() || (option->get_lnames().empty() && option->get_snames().empty())) continue;
      out << "complete -c stellarium" << condition;
      for (const std::string& name : option->get_snames()) out << " -s " << name;
      for (const std::string& name : option->get_lnames()) out << " -l " << name;
      if (option->get_items_expected_max() > 0) out << " -r";
      out << " -d " << single_quoted(option->get_description()) << "\n";
    }
  };
  options(program, "");
  for (const CLI::App* command : commands_of(program)) {
    out << "complete -c stellarium -n __fish_use_subcommand -f -a " << command->get_name() << " -d "
        << single_quoted(command->get_description()) << "\n";
    const std::string condition = " -n '__fish_seen_subcommand_from " + command->get_name() + "'";
    options(*command, condition);
    if (const std::string choices = choices_of(*command); !choices.empty()) {
      out << "complete -c stellarium" << condition << " -f -a " << single_quoted(choices) << "\n";
    }
  }
  return out.str();
}

}  // namespace

std::string completion_script(const CLI::App& program, const std::string& shell) {
  if (shell == "bash") return bash(program);
  if (shell == "zsh") return zsh(program);
  return fish(program);
}

}  // namespace stellarium::cli
