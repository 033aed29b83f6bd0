#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/io.h"
#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/disk_relay.h"
#include "tools/cli/progress_display.h"
#include "tools/cli/received_file.h"
#include "tools/cli/stream.h"

// `stellarium volume import`, `export` and `manifest`: this process reads and writes the user's files; between it and
// the server go the disk's bytes without its zeros, or a manifest as it is. Other formats of disks than raw are turned
// into it by qemu-img, as a child of this process.
namespace stellarium::cli {
namespace {

constexpr const char* kManifest = "tinyvol";

struct Image {
  UniqueFd fd;
  std::uint64_t size = 0;
};

Result<Image> open_image(const std::string& name, const std::string& format) {
  Image image;
  if (name == "-") {
    if (format != kManifest)
      return fail(Errc::invalid_argument,
                  "standard input can be imported as a manifest only, with --format tinyvol: a disk must be a file");
    image.fd = UniqueFd{::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)};
    return image.fd ? std::move(image) : Result<Image>{fail_errno("standard input")};
  }
  image.fd = UniqueFd{::open(name.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (!image.fd) return fail_errno(name);
  struct stat status {};
  if (::fstat(image.fd.get(), &status) != 0) return fail_errno(name);
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
    return fail(Errc::invalid_argument, name + " is neither a file nor a block device");
  const off_t end = ::lseek(image.fd.get(), 0, SEEK_END);
  if (end < 0 || ::lseek(image.fd.get(), 0, SEEK_SET) < 0) return fail_errno(name);
  image.size = static_cast<std::uint64_t>(end);
  if (image.size == 0) return fail(Errc::invalid_argument, name + " is empty");
  return image;
}

/// "raw", "qcow2" or "tinyvol", by the first bytes. What would make qemu-img read other files than this one is refused:
/// an image from somebody else could name any file of this user's.
Result<std::string> format_of(const Image& image, const std::string& name) {
  std::array<std::byte, 104> head{};
  const auto read = system_io().read_at(image.fd.get(), head, 0);
  if (!read) return fail(read.error(), name);
  const std::string_view text = as_text(ByteSpan{head}.first(*read));
  if (text.starts_with("KDMV") || text.starts_with("vhdxfile") || text.starts_with("conectix"))
    return fail(Errc::not_supported,
                name + " is neither raw nor qcow2: convert it with 'qemu-img convert' first, or pass --format raw");
  if (text.starts_with(std::string_view{"TINYVOL\0", 8})) return std::string{kManifest};
  if (!text.starts_with("QFI\xfb")) return std::string{"raw"};
  constexpr std::size_t kVersion = 4, kBacking = 8, kFeatures = 72;
  constexpr std::uint64_t kExternalData = 1u << 2;
  const auto version = load_be<std::uint32_t>(head.data() + kVersion);
  if (load_be<std::uint64_t>(head.data() + kBacking) != 0)
    return fail(Errc::not_supported, name + " has a backing file: make it whole with 'qemu-img convert' first");
  if (version >= 3 && (load_be<std::uint64_t>(head.data() + kFeatures) & kExternalData) != 0)
    return fail(Errc::not_supported,
                name + " keeps its data in another file: make it whole with 'qemu-img convert' first");
  return std::string{"qcow2"};
}

/// A folder for one file, which goes with it.
class ScratchFolder {
 public:
  static Result<ScratchFolder> make() {
    const char* place = std::getenv("TMPDIR");
    std::string name = std::string{place != nullptr && *place != '\0' ? place : "/var/tmp"} + "/stellarium-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) return fail_errno("making a folder in " + name.substr(0, name.rfind('/')));
    return ScratchFolder{name};
  }
  ScratchFolder(ScratchFolder&& other) noexcept : name_{std::exchange(other.name_, {})} {}
  ScratchFolder& operator=(ScratchFolder&&) = delete;
  ~ScratchFolder() {
    if (name_.empty()) return;
    ::unlink(file().c_str());
    ::rmdir(name_.c_str());
  }
  std::string file() const { return name_ + "/disk.raw"; }

 private:
  explicit ScratchFolder(std::string name) : name_{std::move(name)} {}
  std::string name_;
};

Result<void> run_qemu_img(const std::string& format, const std::string& from, const std::string& to) {
  // As a path, whatever it looks like: qemu would take "x:y" for a protocol and "json:" for more.
  const std::string source = from.starts_with('/') ? from : "./" + from;
  const pid_t child = ::fork();
  if (child < 0) return fail_errno("starting qemu-img");
  if (child == 0) {
    ::execlp("qemu-img", "qemu-img", "convert", "-f", format.c_str(), "-O", "raw", "--", source.c_str(), to.c_str(),
             static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return fail_errno("waiting for qemu-img");
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
    return fail(Errc::not_supported,
                "qemu-img is not installed (package qemu-utils), which reads images of format " + format);
  return fail(Errc::io, "qemu-img could not read " + from);
}

/// The format to read the image in: what the user says, if the file does not look otherwise.
Result<std::string> chosen_format(const Image& image, const std::string& name, const std::string& wanted) {
  if (wanted == "raw" || name == "-") return wanted;
  auto found = format_of(image, name);
  if (!found || wanted.empty() || wanted == *found) return found;
  return fail(Errc::invalid_argument, name + " is not of format " + wanted);
}

int import_image(const Invocation& invocation, const VolumeOptions& options, const std::filesystem::path& store) {
  const std::string& name = options.words[0];
  auto image = open_image(name, options.format);
  if (!image) return complain(image.error());
  const auto format = chosen_format(*image, name, options.format);
  if (!format) return complain(format.error());
  auto connection = Connection::open(store, Start::create_store);
  if (!connection) return complain(connection.error());
  std::optional<ScratchFolder> scratch;
  if (*format == "qcow2") {
    auto folder = ScratchFolder::make();
    if (!folder) return complain(folder.error());
    scratch.emplace(std::move(*folder));
    if (auto converted = run_qemu_img(*format, name, scratch->file()); !converted) return complain(converted.error());
    image = open_image(scratch->file(), "raw");
    if (!image) return complain(image.error());
  }
  auto pipe = make_pipe();
  if (!pipe) return complain(pipe.error());
  const int reader = pipe->read_end.get();
  const bool progress = !invocation.global.quiet && ProgressDisplay::wanted(invocation.global.progress);
  std::error_code ignored;
  const std::string shown =
      name == "-" ? "standard input" : std::filesystem::absolute(name, ignored).lexically_normal().string();
  const bool manifest = *format == kManifest;
  if (auto sent = connection->request(
          words_for(invocation, {"--format", manifest ? kManifest : "raw", "--", "import", shown, options.words[1]}),
          progress, {&reader, 1});
      !sent)
    return complain(sent.error());
  pipe->read_end.reset();
  Error failure;
  std::atomic<bool> failed = false;
  std::thread writer{[&, out = std::move(pipe->write_end)]() mutable {
    const auto written =
        manifest ? relay(image->fd.get(), out.get(), shown) : send_disk(image->fd.get(), image->size, out.get(), name);
    if (written) connection->end_stream();
    if (!written && written.error().code != Errc::cancelled) {
      failure = written.error();
      failed = true;
      connection->cancel();
    }
    out.reset();
  }};
  Handlers handlers;
  handlers.hide_complaints = [&] { return failed.load(); };
  const int code = follow(*connection, invocation.global, handlers);
  writer.join();
  return failed ? complain(failure) : code;
}

int receive_file(const Invocation& invocation, const VolumeOptions& options, const std::filesystem::path& store) {
  const bool manifest = options.action == VolumeOptions::Action::manifest;
  const std::string name = options.words.size() > 1 ? options.words[1] : "-";
  auto connection = Connection::open(store, Start::if_store);
  if (!connection) return complain(connection.error());
  auto target = ReceivedFile::open(name, manifest ? "a manifest" : "the image of a disk");
  if (!target) return complain(target.error());
  const int code =
      receive(*connection, invocation, {"--", manifest ? "manifest" : "export", options.words[0], "-"}, [&](int from) {
        return manifest ? relay(from, target->fd(), name) : receive_disk(from, target->fd(), target->is_plain(), name);
      });
  if (code != 0) return code;
  if (auto finished = target->finish(); !finished) return complain(finished.error());
  return 0;
}

}  // namespace

int run_volume(const Invocation& invocation, const std::filesystem::path& store) {
  const auto& options = std::get<VolumeOptions>(invocation.command);
  if (const std::string wrong = why_wrong(options); !wrong.empty()) {
    complain(Error{Errc::invalid_argument, wrong, 0});
    return 2;
  }
  using Action = VolumeOptions::Action;
  if (options.action == Action::import) return import_image(invocation, options, store);
  if (options.action == Action::export_ || options.action == Action::manifest)
    return receive_file(invocation, options, store);
  return run_remotely(invocation, store, options.action == Action::create);
}

}  // namespace stellarium::cli
