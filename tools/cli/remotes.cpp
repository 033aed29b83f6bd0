#include "tools/cli/remotes.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/io.h"
#include "cas/hash.h"
#include "cdn/strict_json.h"

namespace stellarium::cli {
namespace {

namespace files = std::filesystem;
using nlohmann::json;

constexpr std::uint64_t kSchema = 1;
constexpr std::size_t kMaxFile = 1u << 20;

Result<std::optional<json>> read_json(const files::path& file) {
  const UniqueFd fd{::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
  if (!fd && errno == ENOENT) return std::nullopt;
  if (!fd) return fail_errno(file);
  std::string text(kMaxFile, '\0');
  const auto read = system_io().read_at(fd.get(), std::as_writable_bytes(std::span{text}), 0);
  if (!read) return fail(read.error());
  text.resize(*read);
  auto parsed = cdn::parse_strict_json(text);
  if (!parsed) return fail(Errc::corrupt, file.string() + ": " + parsed.error().context);
  return *std::move(parsed);
}

/// As a whole or not at all.
Result<void> write_json(const files::path& file, const json& value) {
  std::error_code failed;
  files::create_directories(file.parent_path(), failed);
  if (failed) return fail_errno("making " + file.parent_path().string(), failed.value());
  const files::path temporary =
      file.parent_path() / ("." + file.filename().string() + "." + std::to_string(::getpid()));
  const UniqueFd fd{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)};
  if (!fd) return fail_errno(temporary);
  Result<void> done = system_io().write_at(fd.get(), as_bytes(value.dump(2) + "\n"), 0);
  if (done) done = system_io().sync(fd.get());
  if (done && ::rename(temporary.c_str(), file.c_str()) != 0) done = fail_errno(file);
  if (!done) ::unlink(temporary.c_str());
  return done;
}

Result<Remote> remote_from(const json& value, const std::string& name, const files::path& file) {
  cdn::JsonObject object{value, file.string()};
  Remote remote{.name = name, .access = {}, .repository = object.text("repository"), .keys = {}};
  if (const std::uint64_t schema = object.number("schema"); object.error() && schema != kSchema)
    return fail(Errc::version, file.string() + ": schema " + std::to_string(schema));
  bool good = true;
  for (const json& base : object.list("addresses")) {
    good = good && base.is_string();
    if (good) remote.access.bases.push_back(base.get<std::string>());
  }
  for (const json& key : object.list("keys")) {
    const auto parsed = key.is_string() ? cdn::PublicKey::from_text(key.get<std::string>()) : std::nullopt;
    good = good && parsed;
    if (parsed) remote.keys.push_back(*parsed);
  }
  for (const transport::RemoteAccess::Field& field : transport::RemoteAccess::fields())
    if (object.has(field.name)) remote.access.*field.member = object.text(field.name);
  if (auto read = object.error(); !read) return fail(read.error());
  if (!good || remote.access.bases.empty()) return fail(Errc::corrupt, file.string() + ": wrong addresses or keys");
  return remote;
}

}  // namespace

Remotes Remotes::of_user() {
  if (const char* const given = std::getenv("STELLARIUM_CONFIG"); given != nullptr && *given != '\0')
    return Remotes{given};
  if (::geteuid() == 0) return Remotes{"/etc/stellarium"};
  if (const char* const config = std::getenv("XDG_CONFIG_HOME"); config != nullptr && *config == '/')
    return Remotes{files::path{config} / "stellarium"};
  const char* const home = std::getenv("HOME");
  return Remotes{files::path{home != nullptr ? home : "/"} / ".config" / "stellarium"};
}

Result<std::optional<Remote>> Remotes::find(const std::string& name) const {
  if (!is_remote_name(name)) return fail(Errc::invalid_argument, "\"" + name + "\" cannot be the name of a remote");
  const files::path file = folder_ / "remotes.d" / (name + ".json");
  const auto read = read_json(file);
  if (!read) return fail(read.error());
  if (!*read) return std::nullopt;
  auto remote = remote_from(**read, name, file);
  if (!remote) return fail(std::move(remote).error());
  return *std::move(remote);
}

Result<std::vector<Remote>> Remotes::list() const {
  std::vector<Remote> all;
  std::error_code none;
  for (const auto& entry : files::directory_iterator{folder_ / "remotes.d", none}) {
    const std::string name = entry.path().stem().string();
    if (entry.path().extension() != ".json" || !is_remote_name(name)) continue;
    auto remote = find(name);
    if (!remote) return fail(std::move(remote).error());
    if (*remote) all.push_back(**std::move(remote));
  }
  std::ranges::sort(all, {}, &Remote::name);
  return all;
}

Result<void> Remotes::save(const Remote& remote) const {
  if (!is_remote_name(remote.name))
    return fail(Errc::invalid_argument, "\"" + remote.name + "\" cannot be the name of a remote");
  json keys = json::array();
  for (const cdn::PublicKey& key : remote.keys) keys.push_back(key.text());
  json value{{"schema", kSchema},
             {"addresses", remote.access.bases},
             {"repository", remote.repository},
             {"keys", std::move(keys)}};
  for (const transport::RemoteAccess::Field& field : transport::RemoteAccess::fields())
    if (const std::string& text = remote.access.*field.member; !text.empty()) value[field.name] = text;
  return write_json(folder_ / "remotes.d" / (remote.name + ".json"), value);
}

Result<void> Remotes::remove(const std::string& name) const {
  const auto found = find(name);
  if (!found) return fail(found.error());
  if (!*found) return fail(Errc::not_found, "there is no remote " + name);
  if (::unlink((folder_ / "remotes.d" / (name + ".json")).c_str()) != 0) return fail_errno("removing remote " + name);
  return {};
}

namespace {

files::path seen_file(const files::path& folder, const std::string& base) {
  return folder / "seen" / (cas::hash_of(as_bytes(base)).hex().substr(0, 32) + ".json");
}

}  // namespace

Result<cdn::SeenName> Remotes::seen(const std::string& base, const std::string& name) const {
  const files::path file = seen_file(folder_, base);
  const auto read = read_json(file);
  if (!read) return fail(read.error());
  if (!*read) return cdn::SeenName{};
  cdn::JsonObject object{**read, file.string()};
  cdn::JsonObject names = object.object("names");
  if (!names.has(name.c_str())) {
    if (auto good = names.error(); !good) return fail(good.error());
    return cdn::SeenName{};
  }
  cdn::JsonObject entry = names.object(name.c_str());
  cdn::SeenName seen;
  seen.revision = entry.number("revision");
  const auto manifest = cas::Hash::from_hex(entry.text("manifest"));
  if (auto good = entry.error(); !good) return fail(good.error());
  if (!manifest) return fail(Errc::corrupt, file.string() + ": a manifest that is no id");
  seen.manifest = *manifest;
  return seen;
}

Result<void> Remotes::remember(const std::string& base, const std::string& name, const cdn::SeenName& now) const {
  const files::path file = seen_file(folder_, base);
  std::error_code failed;
  files::create_directories(file.parent_path(), failed);
  if (failed) return fail_errno("making " + file.parent_path().string(), failed.value());
  // Two pulls at a time: none of them may make the other one's name, or a later revision of its own, be forgotten.
  const UniqueFd lock{::open((file.parent_path() / "lock").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644)};
  if (!lock || ::flock(lock.get(), LOCK_EX) != 0) return fail_errno("locking " + file.parent_path().string());
  const auto before = seen(base, name);
  if (!before) return fail(before.error());
  if (before->revision >= now.revision) return {};
  auto read = read_json(file);
  if (!read) return fail(std::move(read).error());
  json value = *read ? **std::move(read) : json{{"schema", kSchema}, {"base", base}, {"names", json::object()}};
  value["names"][name] = {{"revision", now.revision}, {"manifest", now.manifest.hex()}};
  return write_json(file, value);
}

Result<cdn::SigningKey> Remotes::key(const std::string& file) const {
  if (!file.empty()) return cdn::SigningKey::load(file);
  auto there = cdn::SigningKey::load(default_key());
  if (there || there.error().code != Errc::not_found) return there;
  std::error_code ignored;
  files::create_directories(folder_, ignored);
  auto made = cdn::SigningKey::create(default_key());
  if (!made && made.error().code == Errc::exists) return cdn::SigningKey::load(default_key());
  return made;
}

}  // namespace stellarium::cli
