#include <CLI/CLI.hpp>
#include <map>

#include "tools/cli/definitions.h"

namespace stellarium::cli {
namespace {

constexpr const char* kAccess = "Access to the remote";

void define_access(CLI::App& app, transport::RemoteAccess& access) {
  for (const transport::RemoteAccess::Field& field : transport::RemoteAccess::fields())
    app.add_option(std::string{"--"} + field.name, access.*field.member, field.meaning)
        ->type_name(field.type)
        ->group(kAccess);
}

}  // namespace

void Definitions::define_distribution(CLI::App& app) {
  constexpr const char* kGroup = "Distribution";
  CLI::App& p =
      command(app, kGroup, "publish", "Put an image where others can pull it: static files and a signed name");
  p.add_option("REF", publish.ref, "image, as NAME[:TAG] (TAG is 'latest' if left out)")->required();
  p.add_option("TARGET", publish.target, "folder, s3://BUCKET[/PREFIX], or a remote that 'remote add' has made")
      ->required();
  p.add_option("--as", publish.as, "the name that it gets there, if not the image's own")->type_name("NAME[:TAG]");
  p.add_option("--key", publish.key,
               "secret key that signs the name; else the user's default key, made if there is none")
      ->type_name("FILE");
  p.add_option(
       "--repository", publish.repository,
       "what the names of the target count for, if not 'default': a name of one repository says nothing in another")
      ->type_name("NAME");
  p.add_option("--days", publish.days, "let the name expire after so many days; else it never does")->type_name("N");
  p.add_option("--level", publish.level, "zstd level")->type_name("1-22")->check(CLI::Range(1, 22).description(""));
  define_access(p, publish.access);
  p.footer(
      "Only what the target lacks is sent, the name last; a publish that was stopped goes on where it was when it is "
      "run again. What is printed ends with the public key that others must trust: 'stellarium remote trust'.");

  CLI::App& l = command(app, kGroup, "pull", "Take a published image into the store");
  l.add_option("SOURCE", pull.source,
               "BASE/NAME[:TAG], where BASE is an http(s) address, a folder, or a remote's name; or BASE@MANIFEST (64 "
               "hexadecimal digits), which needs no signature")
      ->required();
  l.add_option("NAME", pull.name, "name of the image here, as NAME[:TAG]; else the one it has there");
  l.add_option("--trust", pull.keys, "public key that may have signed the name, besides those of the remote")
      ->type_name("KEY")
      ->allow_extra_args(false);
  define_access(l, pull.access);
  CLI::Option* const full =
      l.add_flag("--full", pull.full, "return when everything is here; else when the image can be used");
  l.add_flag("--lazy-only", pull.lazy_only, "fetch only what is read, and nothing in the background")->excludes(full);
  l.add_option("--manifest", pull.manifest)->group("");  // the command's own words to the server
  l.add_option("--remote", pull.remote)->group("");
  l.footer(
      "Without --full an image can be used as soon as its names and attributes are here. What somebody reads is "
      "fetched "
      "then, and the rest in the background. Contents that the store has already are not fetched, whatever image they "
      "came with.");

  const std::map<std::string, RemoteOptions::Action> actions{{"list", RemoteOptions::Action::list},
                                                             {"add", RemoteOptions::Action::add},
                                                             {"rm", RemoteOptions::Action::rm},
                                                             {"trust", RemoteOptions::Action::trust},
                                                             {"key", RemoteOptions::Action::key}};
  CLI::App& r = command(app, kGroup, "remote", "Say where images come from, and whose names to trust there");
  r.add_option("ACTION", remote.action,
               "list; add NAME ADDRESS… (several have the same objects, the preferred one first); rm NAME; trust NAME "
               "KEY… (only these from now on); key [FILE] (show this user's public key, made if there is none)")
      ->required()
      ->type_name("list|add|rm|trust|key")
      ->transform(CLI::CheckedTransformer(actions).description(""));
  r.add_option("WORDS", remote.words, "as the action wants them")->expected(0, 64);
  r.add_option("--repository", remote.repository, "of 'add': which repository its names must be of; else any")
      ->type_name("NAME");
  define_access(r, remote.access);
  r.footer(
      "Remotes are files in /etc/stellarium/remotes.d, or below $XDG_CONFIG_HOME for others than root. They name the "
      "files that hold passwords, and hold none.");
}

std::string why_wrong(const RemoteOptions& options) {
  using Action = RemoteOptions::Action;
  const std::size_t count = options.words.size();
  const bool only_add =
      options.action != Action::add && (!options.repository.empty() || options.access != transport::RemoteAccess{});
  if (only_add) return "--repository and the options of access are for 'remote add' only";
  switch (options.action) {
    case Action::list:
      return count == 0 ? "" : "expected 'remote list'";
    case Action::add:
      return count >= 2 ? "" : "expected 'remote add NAME ADDRESS…'";
    case Action::rm:
      return count == 1 ? "" : "expected 'remote rm NAME'";
    case Action::trust:
      return count >= 2 ? "" : "expected 'remote trust NAME KEY…'";
    case Action::key:
      return count <= 1 ? "" : "expected 'remote key [FILE]'";
  }
  return "no such action";
}

}  // namespace stellarium::cli
