#include <fmt/format.h>
#include <sys/stat.h>
#include <time.h>

#include <cstdio>
#include <filesystem>

#include <nlohmann/json.hpp>
#include "cdn/name_record.h"
#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/progress_display.h"
#include "tools/cli/remote_source.h"
#include "tools/cli/transport_process.h"
#include "tools/text/escape.h"
#include "tools/text/units.h"

// `stellarium publish`: the server makes the objects, stellarium-transport carries them, and this process, which has
// the user's key, signs the name when everything is there.
namespace stellarium::cli {
namespace {

using nlohmann::json;

constexpr std::int64_t kDay = 86'400;  // seconds

/// What the target says of the name now; nothing if it has none.
Result<std::optional<cdn::NameRecord>> present_record(cdn::ObjectTarget& target, const std::string& path) {
  const auto text = target.read(path, cdn::kMaxNameRecord);
  if (!text) return fail(text.error());
  if (!*text) return std::nullopt;
  auto record = cdn::parse_name(**text);
  if (!record) return fail(std::move(record).error(), path + " at the target");
  return *std::move(record);
}

Result<cdn::NameRecord> sign(const PublishOptions& options, const Remote& remote, const std::string& name,
                             const cas::Hash& manifest, const cdn::SigningKey& key, cdn::ObjectTarget& target) {
  const auto path = record_path(name);
  if (!path) return fail(path.error());
  const auto before = present_record(target, *path);
  if (!before) return fail(before.error());
  cdn::NameRecord record;
  // An earlier record says where the name counts only if we have signed it: who can write to the target could otherwise
  // have us sign for another repository.
  const bool ours = *before && (*before)->key == key.public_key();
  record.repository = !options.repository.empty()  ? options.repository
                      : !remote.repository.empty() ? remote.repository
                      : ours                       ? (*before)->repository
                                                   : "default";
  record.name = name;
  record.manifest = manifest;
  if (*before && (*before)->revision == cdn::kMaxRevision)
    return fail(Errc::corrupt, *path + " at the target has the last revision that there is: remove it");
  record.revision = *before ? (*before)->revision + 1 : 1;
  const std::int64_t now = ::time(nullptr);
  record.not_before = now - kDay;  // clocks differ
  record.expires = options.days == 0 ? 0 : now + std::int64_t{options.days} * kDay;
  record.key = key.public_key();
  const std::string text = cdn::sign_name(record, key);
  if (auto written = target.write(*path, as_bytes(text), cdn::ObjectTarget::Existing::replace); !written)
    return fail(written.error(), "the name " + name);
  return record;
}

/// What was sent, and the name that it has now.
std::string summary(const std::string& ref, const json& report, const cdn::NameRecord& record) {
  const auto number = [&](const char* field) { return report.value(field, std::uint64_t{0}); };
  return fmt::format(
      "{}: {} of content, {} to be pulled; {} of {} objects sent, {}, {}\n"
      "{}, revision {}, signed by {}\n",
      ref, text::format_bytes(number("content_bytes")),
      text::format_bytes(number("bundle_bytes") + number("metadata_bytes")), number("objects_sent"), number("objects"),
      text::format_bytes(number("bytes_sent")), text::format_duration(report.value("seconds", 0.0)), record.name,
      record.revision, record.key.text());
}

/// Only now: a publish that ends before its name counts says nothing but why.
void print(const Invocation& invocation, const std::string& ref, json report, const cdn::NameRecord& record) {
  report["name"] = record.name;
  report["repository"] = record.repository;
  report["revision"] = record.revision;
  report["key"] = record.key.text();
  if (invocation.global.json) {
    std::printf("%s\n", report.dump(2).c_str());
    return;
  }
  std::printf("%s\n", record.manifest.hex().c_str());
  if (!invocation.global.quiet) std::fputs(summary(ref, report, record).c_str(), stderr);
}

}  // namespace

int run_publish(const Invocation& invocation, const std::filesystem::path& store) {
  const auto& options = std::get<PublishOptions>(invocation.command);
  const Remotes remotes = Remotes::of_user();
  const auto remote = parse_target(options.target, options.access, remotes);
  if (!remote) return complain(remote.error());
  const auto name = full_name(options.as.empty() ? options.ref : options.as);
  if (!name) return complain(name.error());
  if (!options.repository.empty() && !cdn::is_repository(options.repository))
    return complain(
        Error{Errc::invalid_argument, "\"" + options.repository + "\" cannot be the name of a repository", 0});
  const auto key = remotes.key(options.key);
  if (!key) return complain(key.error());
  auto connection = Connection::open(store, Start::if_store);
  if (!connection) return complain(connection.error());

  const std::string& base = remote->access.bases.front();
  const auto kind = transport::kind_of_base(base);
  std::error_code failed;
  if (kind && *kind == transport::BaseKind::folder) std::filesystem::create_directories(base, failed);
  if (failed) return complain(Error{errc_from_errno(failed.value()), base, failed.value()});
  const Interrupts interrupts;
  auto process = TransportProcess::start(remote->access, interrupts);
  if (!process) return complain(process.error());
  const bool progress = !invocation.global.quiet && ProgressDisplay::wanted(invocation.global.progress);
  const int descriptor = process->for_server();
  const auto words = words_for(invocation, {"--level=" + std::to_string(options.level), "--", options.ref, base});
  if (auto sent = connection->request(words, progress, {&descriptor, 1}); !sent) return complain(sent.error());
  std::string answer;
  Handlers handlers;
  handlers.capture_output = &answer;
  handlers.hide_complaints = [&] { return process->has_failed(); };
  if (const int code = follow(*connection, invocation.global, handlers); code != 0) return code;
  json report = json::parse(answer, nullptr, false);
  const auto manifest = report.is_object() ? cas::Hash::from_hex(report.value("manifest", "")) : std::nullopt;
  if (!manifest) return complain(Error{Errc::invalid_argument, "the server did not say what it published", 0});
  const auto record = sign(options, *remote, *name, *manifest, *key, process->objects());
  if (!record) return complain(record.error());
  print(invocation, options.ref, std::move(report), *record);
  return 0;
}

}  // namespace stellarium::cli
