#include "tools/cli/remote_source.h"

#include <filesystem>

#include "cdn/objects.h"
#include "fs/image_name.h"

namespace stellarium::cli {
namespace {

bool is_address(const std::string& text) {
  return text.find("://") != std::string::npos || text.starts_with('/') || text.starts_with("./") ||
         text.starts_with("../");
}

/// One of the user's, or one that is just an address.
Result<Remote> remote_at(const std::string& base, const transport::RemoteAccess& access, const Remotes& remotes) {
  if (!is_address(base)) {
    auto found = remotes.find(base);
    if (!found) return fail(std::move(found).error());
    if (!*found)
      return fail(Errc::not_found,
                  "there is no remote " + base + ": 'stellarium remote add' makes one; a folder begins with / or ./");
    if (access != transport::RemoteAccess{})
      return fail(Errc::invalid_argument, "the options of access are those that remote " + base + " was made with");
    return **std::move(found);
  }
  const auto kind = transport::kind_of_base(base);
  if (!kind) return fail(kind.error());
  Remote remote{.name = {}, .access = access, .repository = {}, .keys = {}};
  std::error_code failed;
  remote.access.bases = {*kind == transport::BaseKind::folder
                             ? std::filesystem::absolute(base, failed).lexically_normal().string()
                             : base};
  return remote;
}

}  // namespace

Result<RemoteSource> parse_source(const std::string& text, const transport::RemoteAccess& access,
                                  const Remotes& remotes) {
  constexpr std::size_t kDigits = 64;
  std::string base;
  RemoteSource source;
  if (text.size() > kDigits && text[text.size() - kDigits - 1] == '@') {
    source.manifest = cas::Hash::from_hex(std::string_view{text}.substr(text.size() - kDigits));
    base = text.substr(0, text.size() - kDigits - 1);
    if (base.size() > 1 && base.back() == '/') base.pop_back();
  }
  if (!source.manifest) {
    const std::size_t slash = text.rfind('/');
    if (slash == std::string::npos || slash == 0 || text.substr(0, slash).ends_with(":/"))
      return fail(Errc::invalid_argument, text + ": expected BASE/NAME[:TAG] or BASE@MANIFEST");
    base = text.substr(0, slash);
    auto name = full_name(text.substr(slash + 1));
    if (!name) return fail(std::move(name).error());
    source.name = *std::move(name);
  }
  auto remote = remote_at(base, access, remotes);
  if (!remote) return fail(std::move(remote).error());
  source.remote = *std::move(remote);
  return source;
}

Result<Remote> parse_target(const std::string& text, const transport::RemoteAccess& access, const Remotes& remotes) {
  auto remote = remote_at(text, access, remotes);
  if (!remote) return remote;
  const auto kind = transport::kind_of_base(remote->access.bases.front());
  if (!kind) return fail(kind.error());
  if (*kind == transport::BaseKind::http)
    return fail(Errc::not_supported, remote->access.bases.front() +
                                         ": a web server only hands out what is published in its folder or its bucket");
  return remote;
}

Result<std::string> full_name(const std::string& name) {
  const auto parsed = fs::ImageName::parse(name);
  if (!parsed) return fail(parsed.error());
  return parsed->text();
}

Result<std::string> record_path(const std::string& name) {
  const auto parsed = fs::ImageName::parse(name);
  if (!parsed) return fail(parsed.error());
  std::string path = "names/" + parsed->name + "/" + parsed->tag;
  // A name may begin with '_', which a path may, too; nothing that a name can have is special in an address.
  if (!cdn::is_object_path(path)) return fail(Errc::invalid_argument, name + " cannot be published");
  return path;
}

}  // namespace stellarium::cli
