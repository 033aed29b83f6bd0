#include "fault/sample_images.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <future>
#include <random>

#include "fs/tar_import.h"
#include "support/image_store.h"
#include "support/tar_maker.h"
#include "tools/server/commands.h"
#include "tools/server/image.h"

namespace stellarium::test {
namespace {

std::string noise(std::uint64_t seed, std::size_t size) {
  std::mt19937_64 random{seed};
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

std::string words(std::uint64_t seed, std::size_t size) {
  std::mt19937_64 random{seed};
  std::string text;
  while (text.size() < size) text += "word" + std::to_string(random() % 500) + (random() % 9 == 0 ? "\n" : " ");
  text.resize(size);
  return text;
}

/// What a command sees when nobody is at the other end.
class CapturedIo final : public server::CommandIo {
 public:
  void out(std::string_view bytes) override { text += bytes; }
  void err(std::string_view bytes) override { text += bytes; }
  void progress(const protocol::Progress&) override {}
  bool cancelled() override { return false; }
  bool wait(std::chrono::milliseconds) override { return true; }
  Result<UniqueFd> take_stream() override { return fail(Errc::invalid_argument, "no stream"); }
  Result<UniqueFd> take_kept() override { return UniqueFd{}; }
  void give_to_keep(const UniqueFd&) override {}
  bool wait_for_stream(int, bool) override { return false; }
  bool stream_was_complete() override { return true; }
  void contents(const protocol::ContentList&) override {}
  void answer_questions(ContentLookup) override {}
  void proceed(bool /*writable*/) override {}
  Result<UniqueFd> receive_device(bool) override { return fail(Errc::invalid_argument, "no device"); }
  std::function<void(int)> outlive(std::shared_ptr<void>) override {
    return [](int) {};
  }

  std::string text;
};

class IdleControl final : public server::ServerControl {
 public:
  void end(keeper::Ending) override {}
  double uptime_seconds() const override { return 0; }
};

Result<std::string> read_through_tier(server::Store& store, const fs::Inode& inode) {
  std::string bytes(static_cast<std::size_t>(inode.size), '\0');
  auto size = server::read_body(store, inode, 0, std::as_writable_bytes(std::span{bytes}));
  if (!size) return fail(size.error());
  bytes.resize(*size);
  return bytes;
}

Result<std::string> read_hot_file(server::Store& store, const fs::Inode& inode) {
  std::promise<Result<tier::HotFilePtr>> filled;
  store.tier().make_hot({inode.content, inode.size},
                        [&](Result<tier::HotFilePtr> file) { filled.set_value(std::move(file)); });
  const auto file = filled.get_future().get();
  if (!file) return fail(file.error());
  std::string bytes(static_cast<std::size_t>(inode.size) + 1, '\0');
  const auto size = system_io().read_at((*file)->fd(), std::as_writable_bytes(std::span{bytes}), 0);
  if (!size) return fail(size.error());
  bytes.resize(*size);
  return bytes;
}

void compare_entry(server::Store& store, const fs::LayerReader& reader, const std::string& path,
                   const SampleImage::Entry& expected, Comparison& result) {
  const auto lose = [&](const Error& error) {
    result.lost.push_back(path);
    result.errors.push_back(to_string(error));
  };
  const auto found = reader.resolve(path, /*follow_last=*/false);
  if (!found && found.error().code == Errc::not_found) return result.wrong.push_back(path + " is said not to exist");
  if (!found) return lose(found.error());
  const fs::Inode& inode = found->inode;
  if (inode.mode != expected.mode) return result.wrong.push_back(path + " has another mode");
  if (S_ISDIR(inode.mode)) return;
  if (inode.size != expected.bytes.size()) return result.wrong.push_back(path + " has another size");
  const auto bytes = read_through_tier(store, inode);
  if (bytes && *bytes != expected.bytes) result.wrong.push_back(path + " has other bytes");
  if (!bytes) return lose(bytes.error());
  if (!inode.program || inode.body != fs::Body::content) return;
  const auto hot = read_hot_file(store, inode);
  if (hot && *hot != expected.bytes) result.wrong.push_back(path + " has other bytes in its hot file");
  if (!hot) lose(hot.error());
}

}  // namespace

std::string SampleImage::tar() const {
  TarMaker tar;
  for (const auto& [path, entry] : entries) {
    const std::string member = path.substr(1);
    switch (entry.mode & S_IFMT) {
      case S_IFDIR:
        tar.directory(member, entry.mode & 07777);
        break;
      case S_IFLNK:
        tar.symlink(member, entry.bytes);
        break;
      default:
        tar.file(member, entry.bytes, entry.mode & 07777);
    }
  }
  return tar.whole();
}

SampleImage SampleImage::make(const std::string& name, std::uint64_t seed) {
  SampleImage image{name, {}};
  for (const char* dir : {"/small", "/large", "/bin", "/many"}) image.entries[dir] = {S_IFDIR | 0755, {}};
  for (std::uint64_t i = 0; i < 24; ++i) {
    const std::uint64_t own = i % 3 == 0 ? i : seed * 1000 + i;  // a third is the same in every image
    const std::string number = std::to_string(i);
    image.entries["/small/" + number] = {S_IFREG | 0644, words(own, 20 + i * 600)};
    image.entries["/bin/" + number] = {S_IFREG | 0755, (i % 2 == 0 ? noise : words)(own + 100, 3000 + i * 1500)};
    if (i % 4 == 0)
      image.entries["/large/" + number] = {S_IFREG | 0644,
                                           (i % 8 == 0 ? noise : words)(own + 200, 60'000 + i * 20'000)};
    image.entries["/small/link" + number] = {S_IFLNK | 0777, "../bin/" + number};
  }
  for (std::uint64_t i = 0; i < 400; ++i) {  // names: for the database and the layer object
    image.entries["/many/" + words(seed + i, 20 + i % 30).substr(0, 12) + std::to_string(i)] = {
        S_IFREG | 0600, std::string(i % 60, 'x')};
  }
  std::map<std::string, Entry> clean;  // words contain separators that are none in names
  for (auto& [path, entry] : image.entries) {
    std::string good = path;
    for (char& c : good) c = c == ' ' || c == '\n' ? '_' : c;
    clean[good] = std::move(entry);
  }
  image.entries = std::move(clean);
  return image;
}

Result<std::unique_ptr<server::Store>> open_store(const std::filesystem::path& dir, Io& io) {
  return server::Store::open(dir, io, [] { return server::Ballast::Space{}; });
}

Result<void> import(server::Store& store, const SampleImage& image) {
  TextInput stream{image.tar()};
  fs::ImportObserver observer;
  const auto name = fs::ImageName::parse(image.name);
  if (!name) return fail(name.error());
  auto report = fs::import_tar(store.database(), store.contents(), store.catalog(), store.scratch(), stream, *name,
                               "sample", observer);
  if (!report) return fail(report.error());
  return {};
}

Comparison compare(server::Store& store, const SampleImage& image) {
  Comparison result;
  const auto open = server::open_image(store, image.name);
  if (!open) {
    if (open.error().code == Errc::not_found) {
      result.wrong.push_back(image.name + " is said not to exist");
    } else {
      result.lost.emplace_back();
      result.errors.push_back(to_string(open.error()));
    }
    return result;
  }
  for (const auto& [path, expected] : image.entries) compare_entry(store, open->reader, path, expected, result);
  const auto walked = server::walk(open->reader, "/", fs::kRootIno, [&](const server::Visited& visited) {
    if (visited.path != "/" && !image.entries.contains(visited.path))
      result.wrong.push_back(visited.path + " was never imported");
    return true;
  });
  if (!walked) result.errors.push_back(to_string(walked.error()));
  return result;
}

std::pair<int, std::string> fsck(server::Store& store) {
  int ends[2] = {-1, -1};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return {8, "no socket"};
  const UniqueFd peer{ends[1]};
  keeper::KeeperLink keeper{protocol::Channel{UniqueFd{ends[0]}}};
  server::Janitor janitor{store};
  const server::Outside outside{std::nullopt};
  const server::sandbox::Sandbox sandbox{protocol::SandboxLayers::none()};
  server::Mounts mounts{store, keeper, janitor, outside};
  server::Guests guests{mounts};
  IdleControl control;
  CapturedIo io;
  const cli::GlobalOptions global;
  cdn::Completion completion{store.lazy(), store.contents(), {}};
  server::CommandContext context{store, mounts, guests, janitor, completion, control, outside, sandbox, global, io};
  const int code = server::run(cli::FsckOptions{.deep = true}, context);
  return {code, io.text};
}

}  // namespace stellarium::test
