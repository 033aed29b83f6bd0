#include <time.h>

#include <algorithm>

#include "cdn/fetch_now.h"
#include "cdn/name_record.h"
#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/progress_display.h"
#include "tools/cli/remote_source.h"
#include "tools/cli/transport_process.h"

// `stellarium pull`: this process asks the remote what the name stands for, and whether somebody whom the user trusts
// says so; the server fetches the rest by its ids, through stellarium-transport.
namespace stellarium::cli {
namespace {

/// What the name stands for, by somebody who may say so.
Result<cdn::NameRecord> resolve(const RemoteSource& source, const std::vector<std::string>& more_keys,
                                const Remotes& remotes, cdn::ObjectReader& reader) {
  const auto path = record_path(source.name);
  if (!path) return fail(path.error());
  std::vector<cdn::PublicKey> keys = source.remote.keys;
  for (const std::string& text : more_keys) {
    const auto key = cdn::PublicKey::from_text(text);
    if (!key) return fail(Errc::invalid_argument, text + ": a public key is ed25519: and 64 hexadecimal digits");
    keys.push_back(*key);
  }
  const std::string& base = source.remote.access.bases.front();
  const auto text = cdn::fetch_now(reader, {.path = *path, .limit = cdn::kMaxNameRecord});
  if (!text && text.error().code == Errc::not_found)
    return fail(Errc::not_found, base + " has no image " + source.name);
  if (!text) return fail(text.error());
  const auto record = cdn::parse_name(*text);
  if (!record) return fail(record.error(), base + "/" + *path);
  if (std::ranges::find(keys, record->key) == keys.end()) {
    const std::string how = source.remote.name.empty()
                                ? "--trust " + record->key.text()
                                : "'stellarium remote trust " + source.remote.name + " " + record->key.text() + "'";
    return fail(Errc::permission, source.name + " is signed by " + record->key.text() +
                                      ", which is not trusted here: if you know that it is the right one, " + how);
  }
  const auto seen = remotes.seen(base, source.name);
  if (!seen) return fail(seen.error());
  if (auto good = cdn::check_name(*record, source.remote.repository, source.name, *seen, ::time(nullptr)); !good)
    return fail(good.error());
  return record;
}

/// The name by which the transport finds the remote when something is read: one that was only an address gets a file,
/// too, because the server is not believed what it says of addresses and files.
Result<std::string> name_for_later(const Remote& remote, const Remotes& remotes) {
  if (!remote.name.empty()) return remote.name;
  Remote kept = remote;
  std::string words;
  for (const std::string& word : transport::words_of(remote.access)) words += word + "\n";
  kept.name = "auto-" + cas::hash_of(as_bytes(words)).hex().substr(0, 32);
  if (auto saved = remotes.save(kept); !saved) return fail(std::move(saved).error());
  return kept.name;
}

}  // namespace

int run_pull(const Invocation& invocation, const std::filesystem::path& store) {
  const auto& options = std::get<PullOptions>(invocation.command);
  const Remotes remotes = Remotes::of_user();
  const auto source = parse_source(options.source, options.access, remotes);
  if (!source) return complain(source.error());
  const std::string name = options.name.empty() ? source->name : options.name;
  if (name.empty())
    return complain(Error{Errc::invalid_argument, "a manifest has no name: 'stellarium pull BASE@MANIFEST NAME'", 0});
  if (const auto checked = full_name(name); !checked) return complain(checked.error());

  const Interrupts interrupts;
  auto process = TransportProcess::start(source->remote.access, interrupts);
  if (!process) return complain(process.error());
  std::optional<cdn::NameRecord> record;
  if (!source->manifest) {
    auto resolved = resolve(*source, options.keys, remotes, process->objects());
    if (!resolved && resolved.error().code == Errc::unavailable && process->has_failed()) return 1;
    if (!resolved) return complain(resolved.error());
    record = *std::move(resolved);
  }
  auto connection = Connection::open(store, Start::create_store);
  if (!connection) return complain(connection.error());
  const bool progress = !invocation.global.quiet && ProgressDisplay::wanted(invocation.global.progress);
  const int descriptor = process->for_server();
  const cas::Hash manifest = record ? record->manifest : *source->manifest;
  const std::string origin = source->remote.access.bases.front() + (record ? "/" + source->name : "@" + manifest.hex());
  const auto later = options.full ? Result<std::string>{std::string{}} : name_for_later(source->remote, remotes);
  if (!later) return complain(later.error());
  std::vector<std::string> arguments{"--manifest=" + manifest.hex()};
  if (options.full) arguments.emplace_back("--full");
  if (options.lazy_only) arguments.emplace_back("--lazy-only");
  if (!later->empty()) arguments.push_back("--remote=" + *later);
  arguments.insert(arguments.end(), {"--", origin, name});
  const auto words = words_for(invocation, arguments);
  if (auto sent = connection->request(words, progress, {&descriptor, 1}); !sent) return complain(sent.error());
  Handlers handlers;
  handlers.hide_complaints = [&] { return process->has_failed(); };
  const int code = follow(*connection, invocation.global, handlers);
  if (code != 0 || !record) return code;
  if (auto kept =
          remotes.remember(source->remote.access.bases.front(), source->name, {record->revision, record->manifest});
      !kept)
    return complain(kept.error());
  return 0;
}

}  // namespace stellarium::cli
