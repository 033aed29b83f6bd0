// Writes the manual pages and completion scripts into a folder: run by the build, from the same definitions that parse
// the command line.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tools/cli/command_line.h"
#include "tools/cli/man_page.h"

namespace {

bool write(const std::filesystem::path& file, const std::string& text) {
  std::filesystem::create_directories(file.parent_path());
  std::ofstream out{file, std::ios::trunc};
  out << text;
  out.close();
  if (!out) std::fprintf(stderr, "cannot write %s\n", file.c_str());
  return static_cast<bool>(out);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fputs("usage: write_pages FOLDER\n", stderr);
    return 2;
  }
  const std::filesystem::path folder = argv[1];
  const stellarium::cli::CommandLine command_line;
  const CLI::App& program = command_line.app();
  bool written = write(folder / "man" / "stellarium.1", stellarium::cli::man_page(program, nullptr));
  for (const CLI::App* command : program.get_subcommands([](const CLI::App*) { return true; })) {
    written = write(folder / "man" / ("stellarium-" + command->get_name() + ".1"),
                    stellarium::cli::man_page(program, command)) &&
              written;
  }
  for (const auto& [shell, name] :
       {std::pair{"bash", "stellarium"}, {"zsh", "_stellarium"}, {"fish", "stellarium.fish"}}) {
    written =
        write(folder / "completion" / shell / name, stellarium::cli::completion_script(program, shell)) && written;
  }
  return written ? 0 : 1;
}
