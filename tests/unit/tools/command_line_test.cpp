#include "tools/cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <CLI/CLI.hpp>

#include "tools/cli/man_page.h"

namespace stellarium::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

template <typename Options>
Options options_of(const std::vector<std::string>& words, GlobalOptions* global = nullptr) {
  const auto parsed = CommandLine::parse(words);
  if (const auto* answer = std::get_if<Answer>(&parsed)) {
    ADD_FAILURE() << answer->text;
    return {};
  }
  const auto& invocation = std::get<Invocation>(parsed);
  if (global != nullptr) *global = invocation.global;
  return std::get<Options>(invocation.command);
}

Answer answer_to(const std::vector<std::string>& words) {
  const auto parsed = CommandLine::parse(words);
  if (const auto* answer = std::get_if<Answer>(&parsed)) return *answer;
  ADD_FAILURE() << "was taken for a command";
  return {};
}

TEST(CommandLine, ReadsACommandWithItsArguments) {
  const auto import =
      options_of<ImportOptions>({"import", "/srv/root", "web:1", "--exclude", "*.o", "--exclude", "tmp", "--rehash"});
  EXPECT_EQ(import.source, "/srv/root");
  EXPECT_EQ(import.name, "web:1");
  EXPECT_TRUE(import.rehash);
  EXPECT_THAT(import.excludes, ElementsAre("*.o", "tmp"));
}

TEST(CommandLine, TakesGlobalOptionsBeforeAndBehindTheCommand) {
  for (const auto& words :
       {std::vector<std::string>{"--json", "--store", "/s", "images"}, {"images", "--json", "--store", "/s"}}) {
    GlobalOptions global;
    options_of<ImagesOptions>(words, &global);
    EXPECT_TRUE(global.json);
    EXPECT_EQ(global.store, "/s");
  }
}

TEST(CommandLine, TakesASingleDashAsStandardInput) {
  EXPECT_EQ(options_of<ImportOptions>({"import", "-", "name"}).source, "-");
}

TEST(CommandLine, TakesWordsBehindTwoDashesAsTheyAre) {
  const auto cat = options_of<CatOptions>({"cat", "--", "web", "--version"});
  EXPECT_EQ(cat.path, "--version");
}

TEST(CommandLine, TakesACommandForAContainerBehindTwoDashes) {
  const auto nspawn = options_of<NspawnOptions>({"nspawn", "--keep", "web", "--", "sh", "-c", "exit 3"});
  EXPECT_EQ(nspawn.ref, "web");
  EXPECT_TRUE(nspawn.keep);
  EXPECT_THAT(nspawn.command, ElementsAre("sh", "-c", "exit 3"));
  EXPECT_TRUE(options_of<NspawnOptions>({"nspawn", "web"}).command.empty());
}

TEST(CommandLine, TakesOptionsForQemuBehindTwoDashes) {
  const auto vm = options_of<VmOptions>(
      {"vm", "web", "--keep", "--memory=2G", "--append", "init=/bin/sh quiet", "--", "-no-reboot", "--keep"});
  EXPECT_EQ(vm.ref, "web");
  EXPECT_TRUE(vm.keep);
  EXPECT_EQ(vm.memory, "2G");
  EXPECT_EQ(vm.append, "init=/bin/sh quiet");
  EXPECT_THAT(vm.qemu_words, ElementsAre("-no-reboot", "--keep"));
  EXPECT_EQ(answer_to({"vm", "web", "--cpus", "0"}).exit_code, 2);
}

TEST(CommandLine, TakesOptionsOfOtherVirtiofsdsAndHidesThem) {
  const auto device =
      options_of<VirtiofsdOptions>({"virtiofsd", "--fd=3", "-o", "source=web", "--cache", "auto", "--xattr",
                                    "--thread-pool-size=1", "-o", "xattr,no_flock", "--readonly"});
  EXPECT_EQ(device.fd, 3);
  EXPECT_TRUE(device.readonly);
  EXPECT_THAT(device.foreign, testing::UnorderedElementsAre("o=source=web", "cache=auto", "xattr", "thread-pool-size=1",
                                                            "o=xattr,no_flock"));
  EXPECT_EQ(answer_to({"virtiofsd", "web", "--fd=-1"}).exit_code, 2);
  const std::string help = answer_to({"virtiofsd", "--help"}).text;
  EXPECT_THAT(help, HasSubstr("--socket-group"));
  EXPECT_THAT(help, testing::Not(HasSubstr("--thread-pool-size")));
  const std::string page = answer_to({"virtiofsd", "--man"}).text;
  EXPECT_THAT(page, HasSubstr("socket\\-group"));
  EXPECT_THAT(page, testing::Not(HasSubstr("thread\\-pool")));
}

TEST(CommandLine, TakesMountsWithAndWithoutAnImage) {
  EXPECT_THAT(options_of<MountOptions>({"mount", "web", "/mnt"}).words, ElementsAre("web", "/mnt"));
  EXPECT_THAT(options_of<MountOptions>({"mount", "/mnt", "-o", "nodev,ro"}).words, ElementsAre("/mnt"));
}

TEST(CommandLine, RecompressesAtALevelOnlyIfAskedTo) {
  EXPECT_EQ(options_of<GcOptions>({"gc"}).level, 0);
  EXPECT_EQ(options_of<GcOptions>({"gc", "--recompress"}).level, 19);
  EXPECT_EQ(options_of<GcOptions>({"gc", "--recompress=7"}).level, 7);
}

/// Where the first word is a command's name, only its group is defined.
TEST(CommandLine, ReadsEveryCommandAsIfItWereTheOnlyOne) {
  const CommandLine every;
  for (const CLI::App* command : every.app().get_subcommands([](const CLI::App*) { return true; })) {
    const std::string& name = command->get_name();
    EXPECT_EQ(answer_to({name, "--help"}).text, answer_to({"--progress", "none", name, "--help"}).text) << name;
    EXPECT_EQ(answer_to({name, "--man"}).text, man_page(every.app(), command)) << name;
  }
}

TEST(CommandLine, NamesTheCommandThatItDoesNotKnow) {
  EXPECT_EQ(answer_to({"frobnicate"}).text, "stellarium: there is no command 'frobnicate': see 'stellarium --help'\n");
}

TEST(CommandLine, AnswersWrongUsageWithOneLineAndCode2) {
  for (const auto& words : std::vector<std::vector<std::string>>{{},
                                                                 {"nonsense"},
                                                                 {"--no-such-flag"},
                                                                 {"import"},
                                                                 {"import", "a"},
                                                                 {"mount"},
                                                                 {"export", "x"},
                                                                 {"daemon", "dance"},
                                                                 {"ls", "a", "b", "c"},
                                                                 {"completion", "csh"},
                                                                 {"images", "--progress", "loud"}}) {
    const Answer answer = answer_to(words);
    EXPECT_EQ(answer.exit_code, 2);
    EXPECT_THAT(answer.text, testing::StartsWith("stellarium: "));
    EXPECT_EQ(std::count(answer.text.begin(), answer.text.end(), '\n'), 1) << answer.text;
  }
}

TEST(CommandLine, AnswersVersionAndHelpWithCode0) {
  EXPECT_THAT(answer_to({"--version"}).text, HasSubstr("stellarium "));
  EXPECT_THAT(answer_to({"--help"}).text, HasSubstr("import"));
  EXPECT_THAT(answer_to({"import", "--help"}).text, HasSubstr("--rehash"));
}

/// Those that help and pages show.
std::vector<const CLI::Option*> options_shown(const CLI::App& command) {
  std::vector<const CLI::Option*> shown = command.get_options();
  std::erase_if(shown, [](const CLI::Option* option) { return option->get_group().empty(); });
  return shown;
}

std::vector<const CLI::App*> commands_of(const CommandLine& line) {
  return line.app().get_subcommands([](const CLI::App*) { return true; });
}

TEST(Definitions, EveryCommandAndOptionHasAMeaning) {
  const CommandLine line;
  for (const CLI::App* command : commands_of(line)) {
    EXPECT_FALSE(command->get_description().empty()) << command->get_name();
    for (const CLI::Option* option : options_shown(*command)) {
      EXPECT_FALSE(option->get_description().empty()) << command->get_name() << " " << option->get_name();
    }
  }
}

TEST(ManPage, NamesEveryCommandAndEveryOption) {
  const CommandLine line;
  const std::string whole = man_page(line.app(), nullptr);
  for (const CLI::App* command : commands_of(line)) {
    EXPECT_THAT(whole, HasSubstr("\\fB" + command->get_name() + "\\fR\n"));
    const std::string page = man_page(line.app(), command);
    for (const CLI::Option* option : options_shown(*command)) {
      for (std::string name : option->get_lnames()) {
        for (std::size_t at = 0; (at = name.find('-', at)) != std::string::npos; at += 2) name.insert(at, "\\");
        EXPECT_THAT(page, HasSubstr("\\-\\-" + name));
      }
    }
  }
}

TEST(ManPage, HasNoLineThatRoffWouldTakeForARequest) {
  const CommandLine line;
  const std::string page = man_page(line.app(), nullptr);
  std::istringstream lines{page};
  for (std::string text; std::getline(lines, text);) {
    const bool request = text.starts_with('.');
    EXPECT_TRUE(!request || text.starts_with(".TH ") || text.starts_with(".SH ") || text == ".TP") << text;
    EXPECT_FALSE(text.starts_with('\'')) << text;
  }
}

TEST(Completion, KnowsEveryCommandInEveryShell) {
  const CommandLine line;
  for (const char* shell : {"bash", "zsh", "fish"}) {
    const std::string script = completion_script(line.app(), shell);
    for (const CLI::App* command : commands_of(line)) EXPECT_THAT(script, HasSubstr(command->get_name())) << shell;
    EXPECT_THAT(script, HasSubstr("upgrade")) << shell;
  }
}

}  // namespace
}  // namespace stellarium::cli
