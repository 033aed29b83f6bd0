#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/remote_source.h"

// `stellarium remote`: files of this user's; the server has no part in it.
namespace stellarium::cli {
namespace {

using nlohmann::json;

Result<void> add(const RemoteOptions& options, const Remotes& remotes) {
  Remote remote{.name = options.words.front(), .access = options.access, .repository = options.repository, .keys = {}};
  remote.access.bases.assign(options.words.begin() + 1, options.words.end());
  if (!remote.repository.empty() && !cdn::is_repository(remote.repository))
    return fail(Errc::invalid_argument, "\"" + remote.repository + "\" cannot be the name of a repository");
  if (const auto good = transport::access_of(transport::words_of(remote.access)); !good) return fail(good.error());
  const auto before = remotes.find(remote.name);
  if (!before) return fail(before.error());
  if (*before) return fail(Errc::exists, "there is a remote " + remote.name + " already");
  return remotes.save(remote);
}

Result<void> trust(const RemoteOptions& options, const Remotes& remotes) {
  auto remote = remotes.find(options.words.front());
  if (!remote) return fail(std::move(remote).error());
  if (!*remote) return fail(Errc::not_found, "there is no remote " + options.words.front());
  (*remote)->keys.clear();
  for (std::size_t at = 1; at < options.words.size(); ++at) {
    const auto key = cdn::PublicKey::from_text(options.words[at]);
    if (!key)
      return fail(Errc::invalid_argument, options.words[at] + ": a public key is ed25519: and 64 hexadecimal digits");
    (*remote)->keys.push_back(*key);
  }
  return remotes.save(**remote);
}

Result<void> list(const Remotes& remotes, bool as_json) {
  const auto all = remotes.list();
  if (!all) return fail(all.error());
  json out = json::array();
  for (const Remote& remote : *all) {
    json keys = json::array();
    for (const cdn::PublicKey& key : remote.keys) keys.push_back(key.text());
    if (!as_json) {
      std::printf("%s", remote.name.c_str());
      for (const std::string& base : remote.access.bases) std::printf("  %s", base.c_str());
      std::printf("%s\n", remote.keys.empty() ? "  (nobody is trusted there)" : "");
    }
    out.push_back({{"name", remote.name},
                   {"addresses", remote.access.bases},
                   {"repository", remote.repository},
                   {"keys", std::move(keys)}});
  }
  if (as_json) std::printf("%s\n", json{{"schema", 1}, {"remotes", std::move(out)}}.dump(2).c_str());
  return {};
}

Result<void> show_key(const RemoteOptions& options, const Remotes& remotes, bool as_json) {
  const std::string file = options.words.empty() ? "" : options.words.front();
  // One that is not there is made: the default one by Remotes::key.
  std::error_code ignored;
  const bool make = !file.empty() && !std::filesystem::exists(file, ignored);
  auto key = make ? cdn::SigningKey::create(file) : remotes.key(file);
  if (!key) return fail(std::move(key).error());
  const std::string text = key->public_key().text();
  std::printf("%s\n", as_json ? json{{"schema", 1}, {"key", text}}.dump(2).c_str() : text.c_str());
  return {};
}

Result<void> act(const Invocation& invocation) {
  const auto& options = std::get<RemoteOptions>(invocation.command);
  const Remotes remotes = Remotes::of_user();
  switch (options.action) {
    case RemoteOptions::Action::list:
      return list(remotes, invocation.global.json);
    case RemoteOptions::Action::add:
      return add(options, remotes);
    case RemoteOptions::Action::rm:
      return remotes.remove(options.words.front());
    case RemoteOptions::Action::trust:
      return trust(options, remotes);
    case RemoteOptions::Action::key:
      return show_key(options, remotes, invocation.global.json);
  }
  return {};
}

}  // namespace

int run_remote(const Invocation& invocation) {
  if (const std::string wrong = why_wrong(std::get<RemoteOptions>(invocation.command)); !wrong.empty()) {
    std::fprintf(stderr, "stellarium: %s\n", wrong.c_str());
    return 2;
  }
  const auto done = act(invocation);
  return done ? 0 : complain(done.error());
}

}  // namespace stellarium::cli
