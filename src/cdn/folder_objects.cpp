#include "cdn/folder_objects.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/io.h"

namespace stellarium::cdn {
namespace {

namespace files = std::filesystem;

Error no_path(const std::string& path) {
  return Error{Errc::invalid_argument, "\"" + path.substr(0, 80) + "\" cannot be the path of an object", 0};
}

/// Unlike those of every other writer, dead ones included: process ids come again, in containers the same ones always.
Result<std::string> random_name() {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) return fail_errno("random numbers for a file's name");
  return "." + std::to_string(number) + ".part";
}

}  // namespace

Result<std::unique_ptr<FolderObjects>> FolderObjects::open(const files::path& folder) {
  UniqueFd fd{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (!fd) return fail_errno(folder.string());
  return std::unique_ptr<FolderObjects>{new FolderObjects{folder, std::move(fd)}};
}

Result<UniqueFd> FolderObjects::open_object(const std::string& path) const {
  if (!is_object_path(path)) return fail(no_path(path));
  // Without waiting: a FIFO in the folder is no object.
  UniqueFd file{::openat(fd_.get(), path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
  if (!file) return fail_errno(folder_ / path);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return fail_errno(folder_ / path);
  if (!S_ISREG(status.st_mode)) return fail(Errc::not_found, (folder_ / path).string() + " is no regular file");
  return file;
}

Result<std::string> FolderObjects::read_range(const ObjectRequest& request) {
  ++requests_;
  const auto file = open_object(request.path);
  if (!file) return fail(file.error());
  const auto status = system_io().status(file->get());
  if (!status) return fail(status.error());
  const auto size = static_cast<std::uint64_t>(status->st_size);
  const std::uint64_t there = size > request.offset ? size - request.offset : 0;
  const std::uint64_t wanted = request.size.value_or(there);
  if (!request.size && wanted > request.limit)
    return fail(Errc::invalid_argument,
                (folder_ / request.path).string() + " is larger than " + std::to_string(request.limit) + " bytes");
  if (wanted > there) return fail(Errc::unavailable, (folder_ / request.path).string() + " is cut short");
  std::string bytes(wanted, '\0');
  const auto read = system_io().read_at(file->get(), std::as_writable_bytes(std::span{bytes}), request.offset);
  if (!read) return fail(read.error());
  if (*read != wanted) return fail(Errc::unavailable, (folder_ / request.path).string() + " is cut short");
  bytes_ += wanted;
  return bytes;
}

void FolderObjects::fetch(ObjectRequest request, Done done) {
  workers_.submit([this, request = std::move(request), done = std::move(done)] { done(read_range(request)); });
}

ObjectReader::Counters FolderObjects::counters() const {
  Counters counters;
  counters.requests = requests_;
  counters.bytes = bytes_;
  return counters;
}

Result<std::optional<std::uint64_t>> FolderObjects::size_of(const std::string& path) {
  if (!is_object_path(path)) return fail(no_path(path));
  struct stat status {};
  if (::fstatat(fd_.get(), path.c_str(), &status, 0) == 0) return static_cast<std::uint64_t>(status.st_size);
  if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
  return fail_errno(folder_ / path);
}

Result<std::optional<std::string>> FolderObjects::read(const std::string& path, std::uint64_t limit) {
  auto bytes = read_range({.path = path, .limit = limit});
  if (!bytes && bytes.error().code == Errc::not_found) return std::nullopt;
  if (!bytes) return fail(std::move(bytes).error());
  return *std::move(bytes);
}

Result<void> FolderObjects::make_parents(const std::string& path) const {
  for (std::size_t at = path.find('/'); at != std::string::npos; at = path.find('/', at + 1))
    if (::mkdirat(fd_.get(), path.substr(0, at).c_str(), 0755) != 0 && errno != EEXIST)
      return fail_errno(folder_ / path.substr(0, at));
  return {};
}

Result<void> FolderObjects::write(const std::string& path, ByteSpan bytes, Existing existing) {
  if (!is_object_path(path)) return fail(no_path(path));
  if (auto made = make_parents(path); !made) return made;
  // Nobody takes it for an object: those do not begin with a dot.
  const auto name = random_name();
  if (!name) return fail(name.error());
  const std::size_t last = path.rfind('/');
  const std::string temporary = (last == std::string::npos ? "" : path.substr(0, last + 1)) + *name;
  const UniqueFd file{::openat(fd_.get(), temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644)};
  if (!file) return fail_errno(folder_ / temporary);
  Result<void> done = system_io().write_at(file.get(), bytes, 0);
  // Whatever it names must be on the disk before it is.
  if (done && existing == Existing::replace && ::syncfs(fd_.get()) != 0)
    done = fail_errno("syncing " + folder_.string());
  if (done && existing == Existing::replace) done = system_io().sync(file.get());
  if (done && ::renameat(fd_.get(), temporary.c_str(), fd_.get(), path.c_str()) != 0) done = fail_errno(folder_ / path);
  if (!done) ::unlinkat(fd_.get(), temporary.c_str(), 0);
  if (done && existing == Existing::replace && ::syncfs(fd_.get()) != 0)
    done = fail_errno("syncing " + folder_.string());
  return done;
}

Result<void> FolderObjects::list(const std::string& prefix, const std::function<Result<void>(const Listed&)>& found) {
  std::error_code failed;
  for (files::recursive_directory_iterator at{folder_, failed}, end; !failed && at != end; at.increment(failed)) {
    const std::string path = at->path().lexically_relative(folder_).string();
    struct stat status {};
    if (!is_object_path(path) || !path.starts_with(prefix) || ::fstatat(fd_.get(), path.c_str(), &status, 0) != 0 ||
        !S_ISREG(status.st_mode))
      continue;
    if (auto told = found({path, static_cast<std::uint64_t>(status.st_size), status.st_mtim.tv_sec}); !told)
      return told;
  }
  if (failed) return fail(Errc::io, folder_.string() + ": " + failed.message());
  return {};
}

Result<void> FolderObjects::remove(const std::string& path) {
  if (!is_object_path(path)) return fail(no_path(path));
  if (::unlinkat(fd_.get(), path.c_str(), 0) != 0 && errno != ENOENT && errno != ENOTDIR)
    return fail_errno(folder_ / path);
  return {};
}

}  // namespace stellarium::cdn
