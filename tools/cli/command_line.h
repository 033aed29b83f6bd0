#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tools/cli/options.h"

namespace CLI {
class App;
}

namespace stellarium::cli {

/// What a user asked for.
struct Invocation {
  GlobalOptions global;
  CommandOptions command;
  std::string name;                ///< of the subcommand
  std::vector<std::string> words;  ///< everything behind the program's name, as typed: what the server parses again
};

/// Instead of an Invocation: a text to print (help, version, what was wrong) and how to exit.
struct Answer {
  std::string text;
  int exit_code = 0;  ///< 0: `text` goes to stdout; 2: to stderr
};

/// The one definition of the command line: parsing, help, man pages and completion all come from it, and the command
/// process and the server read the same words with it.
///
/// Threads: one at a time.
class CommandLine {
 public:
  /// Defines every command.
  CommandLine() : CommandLine{{}} {}
  ~CommandLine();
  CommandLine(const CommandLine&) = delete;
  CommandLine& operator=(const CommandLine&) = delete;

  /// Defines no more than these words need, where they begin with a command's name.
  static std::variant<Invocation, Answer> parse(const std::vector<std::string>& words);
  /// For man_page.cpp and completion.cpp.
  const CLI::App& app() const { return *app_; }

 private:
  struct Storage;
  explicit CommandLine(std::string_view only);
  std::variant<Invocation, Answer> read(const std::vector<std::string>& words);

  std::unique_ptr<Storage> storage_;
  std::unique_ptr<CLI::App> app_;
};

}  // namespace stellarium::cli
