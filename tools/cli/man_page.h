#pragma once
#include <string>

namespace CLI {
class App;
}

namespace stellarium::cli {

/// A section 1 manual page in man(7)'s language: of the whole program, or, if `command` is given, of one subcommand of
/// it.
std::string man_page(const CLI::App& program, const CLI::App* command);

/// A completion script for "bash", "zsh" or "fish".
std::string completion_script(const CLI::App& program, const std::string& shell);

}  // namespace stellarium::cli
