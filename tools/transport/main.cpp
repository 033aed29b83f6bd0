// stellarium-transport: the process that speaks to a remote, for a command or for a store's server. It gets objects and
// puts them, and knows nothing of images; whoever asks for bytes checks them. So what parses other hosts' answers has
// neither the store nor its database in its memory.
//
//   stellarium-transport SOCKETS OPTIONS…          SOCKETS: descriptors, "3,4": each is an ObjectClient's other end
//   stellarium-transport SOCKETS --remote=NAME
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>

#include <charconv>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/log.h"
#include "cdn/folder_objects.h"
#include "cdn/http/http_reader.h"
#include "cdn/s3/s3_target.h"
#include "tools/cli/remotes.h"
#include "tools/text/escape.h"
#include "tools/transport/object_server.h"
#include "tools/transport/remote_access.h"

namespace {

using namespace stellarium;

/// What objects are read from and written to.
struct Remote {
  std::unique_ptr<cdn::FolderObjects> folder;
  std::unique_ptr<cdn::http::HttpReader> web;
  std::unique_ptr<cdn::s3::S3Target> bucket;
  cdn::ObjectReader* reader = nullptr;
  cdn::ObjectTarget* target = nullptr;
};

Result<std::unique_ptr<cdn::http::HttpReader>> open_web(const transport::RemoteAccess& access) {
  cdn::http::Options options;
  options.origins = access.bases;
  options.ca_file = access.ca_file;
  options.certificate_file = access.certificate_file;
  options.key_file = access.key_file;
  options.netrc_file = access.netrc_file;
  options.token_file = access.token_file;
  options.proxy = access.proxy;
  return cdn::http::HttpReader::create(std::move(options));
}

Result<std::unique_ptr<cdn::s3::S3Target>> open_bucket(const transport::RemoteAccess& access) {
  const std::string address = access.bases.front().substr(std::string_view{"s3://"}.size());
  const std::size_t slash = address.find('/');
  cdn::s3::Options options;
  options.bucket = address.substr(0, slash);
  options.prefix = slash == std::string::npos ? "" : address.substr(slash + 1);
  if (options.prefix.ends_with('/')) options.prefix.pop_back();
  if (!access.region.empty()) options.region = access.region;
  options.endpoint = access.endpoint.empty() ? "https://s3." + options.region + ".amazonaws.com" : access.endpoint;
  options.ca_file = access.ca_file;
  auto credentials = cdn::s3::find_credentials({.file = access.credentials_file, .profile = access.profile});
  if (!credentials) return fail(std::move(credentials).error());
  auto target = cdn::s3::S3Target::create(options, *std::move(credentials));
  if (!target) return target;
  // What cannot be published to safely is refused before anything is sent.
  if (auto capable = (*target)->probe(); !capable) return fail(std::move(capable).error());
  return target;
}

Result<Remote> open_remote(const transport::RemoteAccess& access) {
  Remote remote;
  const auto kind = transport::kind_of_base(access.bases.front());
  if (!kind) return fail(kind.error());
  if (*kind == transport::BaseKind::folder) {
    auto folder = cdn::FolderObjects::open(access.bases.front());
    if (!folder) return fail(std::move(folder).error());
    remote.folder = *std::move(folder);
    remote.reader = remote.folder.get();
    remote.target = remote.folder.get();
    return remote;
  }
  if (*kind == transport::BaseKind::http) {
    auto web = open_web(access);
    if (!web) return fail(std::move(web).error());
    remote.web = *std::move(web);
    remote.reader = remote.web.get();
    return remote;
  }
  auto bucket = open_bucket(access);
  if (!bucket) return fail(std::move(bucket).error());
  remote.bucket = *std::move(bucket);
  remote.target = remote.bucket.get();
  return remote;
}

constexpr std::string_view kRemote = "--remote=";

bool is_for_server(const std::vector<std::string>& words) {
  return words.size() == 1 && words.front().starts_with(kRemote);
}

/// As the command says, or, for a server, as the user's files say of the remote that it names.
Result<transport::RemoteAccess> access_by(const std::vector<std::string>& words) {
  if (!is_for_server(words)) return transport::access_of(words);
  const std::string name = words.front().substr(kRemote.size());
  auto remote = cli::Remotes::of_user().find(name);
  if (!remote) return fail(std::move(remote).error());
  if (!*remote) return fail(Errc::not_found, "there is no remote " + name + " any more");
  return std::move((*remote)->access);
}

std::vector<protocol::Channel> take_sockets(const std::string& list) {
  std::vector<protocol::Channel> channels;
  for (const char* at = list.data(); at < list.data() + list.size(); ++at) {
    int number = -1;
    const auto [end, error] = std::from_chars(at, list.data() + list.size(), number);
    if (error != std::errc{} || number < 3 || ::fcntl(number, F_SETFD, FD_CLOEXEC) != 0) return {};
    channels.emplace_back(UniqueFd{number});
    at = end;
  }
  return channels;
}

int complain(const Error& error) {
  std::fprintf(stderr, "stellarium: %s\n", text::escape(to_string(error)).c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  ::prctl(PR_SET_DUMPABLE, 0);  // credentials may be in memory
  ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  auto channels = take_sockets(argc > 1 ? argv[1] : "");
  if (channels.empty()) {
    std::fputs("stellarium-transport is started by the stellarium command\n", stderr);
    return 2;
  }
  const std::vector<std::string> words{argv + 2, argv + argc};
  if (is_for_server(words)) {
    log::start("transport");  // into run/server.log
  } else {
    log::set_level(log::Level::off);  // a command says in one line what went wrong in the end
  }
  const auto access = access_by(words);
  if (!access) return complain(access.error());
  auto remote = open_remote(*access);
  if (!remote) return complain(remote.error());

  std::vector<std::thread> serving;
  for (protocol::Channel& channel : channels) {
    serving.emplace_back([&remote, channel = std::move(channel)]() mutable {
      transport::ObjectServer server{std::move(channel), remote->reader, remote->target};
      if (auto served = server.run(); !served) complain(served.error());
    });
  }
  for (std::thread& thread : serving) thread.join();
  return 0;
}
