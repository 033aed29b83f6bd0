#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <optional>
#include <thread>

#include "cdn/oci/image_source.h"
#include "fs/ext4_tree.h"
#include "fs/stat_cache.h"
#include "fs/tree_emitter.h"
#include "tools/cli/cached_tree.h"
#include "tools/cli/commands.h"
#include "tools/cli/connection.h"
#include "tools/cli/progress_display.h"
#include "tools/cli/registry_image.h"
#include "tools/cli/store_location.h"
#include "tools/cli/stream.h"
#include "tools/cli/tree_size.h"

// `stellarium import`: this process reads the user's tree, archive or disk image and writes one stream into a pipe; the
// server reads the other end. The server believes in the stream's end only if this process says so over the connection,
// so that a killed command never leaves half an image.
namespace stellarium::cli {
namespace {

struct Source {
  enum class Kind { archive, tree, disk, image };
  UniqueFd fd;
  std::string display;  ///< for messages and `history`
  Kind kind = Kind::archive;
  std::uint64_t size = 0;  ///< of an archive file; 0: unknown
  std::optional<cdn::oci::ImageSource> image;
};

/// Of a folder or an archive that holds OCI images the one that is meant; nothing if it holds something else.
Result<std::optional<cdn::oci::ImageSource>> find_image(const Source& source, const ImportOptions& options) {
  UniqueFd file{::fcntl(source.fd.get(), F_DUPFD_CLOEXEC, 3)};
  if (!file) return fail_errno(source.display);
  const auto files = cdn::oci::ImageFiles::open(std::move(file));
  if (!files) return fail(files.error(), source.display);
  if (!*files) return std::nullopt;
  cdn::oci::Selection selection{.ref = options.ref, .platform = {}};
  if (!options.platform.empty()) {
    const auto platform = cdn::oci::Platform::parse(options.platform);
    if (!platform) return fail(platform.error());
    selection.platform = *platform;
  }
  auto image = cdn::oci::ImageSource::find(**files, selection);
  if (!image) return fail(image.error(), source.display);
  return std::move(*image);
}

Result<Source> open_source(const ImportOptions& options) {
  const std::string& given = options.source;
  Source source;
  if (given == "-") {
    source.fd = UniqueFd{::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)};
    if (!source.fd) return fail_errno("standard input");
    source.display = "standard input";
  } else {
    std::error_code failed;
    source.display = std::filesystem::absolute(given, failed).lexically_normal().string();
    // O_NONBLOCK: opening a FIFO must not wait for a writer before anything was said about it
    source.fd = UniqueFd{::open(given.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (!source.fd) return fail_errno(given);
  }
  struct stat status {};
  if (::fstat(source.fd.get(), &status) != 0) return fail_errno(source.display);
  const bool folder = S_ISDIR(status.st_mode) && given != "-";
  if (options.as.empty() && (folder || S_ISREG(status.st_mode))) {
    auto image = find_image(source, options);
    if (!image) return fail(image.error());
    if (*image) {
      source.kind = Source::Kind::image;
      source.size = (*image)->size();
      source.image = std::move(*image);
      return source;
    }
  }
  if (!options.oci.empty() || !options.ref.empty() || !options.platform.empty())
    return fail(Errc::invalid_argument, source.display + " is no OCI image, which --oci, --ref and --platform are for");
  if (options.as == "tree") {
    if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode))
      return fail(Errc::invalid_argument, given + " is no disk image: '--as tree' is for a file or a block device");
    source.kind = Source::Kind::disk;
    return source;
  }
  if (S_ISDIR(status.st_mode)) {
    if (given == "-") return fail(Errc::invalid_argument, "standard input is a directory: name it instead of '-'");
    source.kind = Source::Kind::tree;
    return source;
  }
  if (!S_ISREG(status.st_mode) && given != "-") {
    return fail(Errc::invalid_argument,
                given + " is neither a directory nor a tar archive: pass a stream as '-' on standard input");
  }
  if (S_ISREG(status.st_mode)) source.size = static_cast<std::uint64_t>(status.st_size);
  if (fs::Ext4Image::is_one(source.fd.get())) {
    return fail(Errc::invalid_argument, given +
                                            " is a disk image: take its files with '--as tree', or the disk with "
                                            "'stellarium volume import FILE NAME'");
  }
  return source;
}

/// Writes the stream into the pipe.
using Feed = std::function<Result<void>(int pipe)>;

/// One pass of the stream: a thread writes it, this one shows what the server says.
class Transfer {
 public:
  Transfer(const Invocation& invocation, const Source& source, CachedTree* tree)
      : invocation_{invocation}, source_{source}, tree_{tree} {}

  Result<int> run(const Connection& connection, const Feed& feed) {
    auto pipe = make_pipe();
    if (!pipe) return fail(pipe.error());
    const auto& options = std::get<ImportOptions>(invocation_.command);
    const auto words = words_for(invocation_, words_of(options));
    const int reader = pipe->read_end.get();
    const bool progress = !invocation_.global.quiet && ProgressDisplay::wanted(invocation_.global.progress);
    if (auto sent = connection.request(words, progress, {&reader, 1}); !sent) return fail(sent.error());
    pipe->read_end.reset();  // so that writing fails once the server has closed its own

    if (tree_ != nullptr) tree_->ask_over(connection);
    std::thread writer{[this, &connection, &feed, out = std::move(pipe->write_end)]() mutable {
      auto written = feed(out.get());
      // The word first, then the end of the pipe: the server asks for the word when it meets the end.
      if (written) connection.end_stream();
      if (!written && written.error().code != Errc::cancelled) {
        failure_ = written.error();
        failed_ = true;
        connection.cancel();
      }
      out.reset();
      if (written && tree_ != nullptr) tree_->save_when_remembered();
    }};
    std::optional<TreeSize> size;
    if (progress && source_.kind == Source::Kind::tree)
      size.emplace("/proc/self/fd/" + std::to_string(source_.fd.get()) + "/.");
    Handlers handlers;
    handlers.progress = [&](protocol::Progress& shown) {
      shown.total = source_.size;
      if (size) tree_->describe(shown, size->bytes());
    };
    handlers.hide_complaints = [this] { return failed_.load(); };
    if (tree_ != nullptr) {
      handlers.contents = [this](const protocol::ContentList& list) { tree_->remember(list); };
      handlers.answer = [this](protocol::ContentAnswer answer) { tree_->take(std::move(answer)); };
    }
    const int code = follow(connection, invocation_.global, handlers);
    if (tree_ != nullptr) tree_->stop();
    writer.join();
    if (failed_) return fail(failure_);
    return code;
  }

 private:
  std::vector<std::string> words_of(const ImportOptions& options) const {
    std::vector<std::string> words;
    if (source_.image) {
      words = {"--as=oci", "--oci=" + (options.oci.empty() ? "exact" : options.oci)};
      if (const auto& digest = source_.image->manifest_digest()) words.push_back("--manifest=" + digest->text());
    }
    // The server gets the source's name for the history only: it never opens it.
    for (const std::string& word : {std::string{"--"}, source_.display, options.name}) words.push_back(word);
    return words;
  }

  const Invocation& invocation_;
  const Source& source_;
  CachedTree* tree_;
  Error failure_;  ///< written by the writer before `failed_`
  std::atomic<bool> failed_ = false;
};

/// Excludes the store itself where it lies inside the tree: it would grow while it is read.
void exclude_store(fs::EmitOptions& emit, const std::string& tree, const std::filesystem::path& store) {
  std::error_code failed;
  const auto root = std::filesystem::canonical(tree, failed);
  const auto inside = failed ? std::filesystem::path{} : store.lexically_relative(root);
  if (inside.empty() || inside == "." || *inside.begin() == "..") return;
  std::string pattern;
  for (const char c : inside.string()) {
    if (c == '*' || c == '?' || c == '[' || c == '\\') pattern.push_back('\\');
    pattern.push_back(c);
  }
  emit.exclude.push_back(pattern);
}

/// What is to be told of a disk's files.
class DiskNotes final : public fs::EmitObserver {
 public:
  explicit DiskNotes(bool quiet) : quiet_{quiet} {}
  void note(const std::string& line) override {
    if (!quiet_) print_note(line);
  }

 private:
  const bool quiet_;
};

Result<void> write_disk(fs::Ext4Image& image, int pipe, bool quiet) {
  PipeOutput output{pipe};
  DiskNotes notes{quiet};
  return fs::emit_ext4_tree(image, output, notes);
}

int import_once(const Invocation& invocation, const Source& source, const Connection& connection, const Feed& feed) {
  const auto code = Transfer{invocation, source, nullptr}.run(connection, feed);
  if (code && *code == protocol::kExitCacheOutdated) {
    return complain(
        Error{Errc::not_found,
              "import of " + source.display + ": it names a content by its id, which this store does not hold", 0});
  }
  return code ? *code : complain(code.error());
}

int import_tree(const Invocation& invocation, const Source& source, Connection connection,
                const std::filesystem::path& store) {
  const auto& options = std::get<ImportOptions>(invocation.command);
  fs::EmitOptions emit{.exclude = options.excludes};
  exclude_store(emit, options.source, store);
  fs::StatCache cache{stat_cache_file(connection.server().store_uuid)};
  const auto transfer = [&](CachedTree& tree) {
    return Transfer{invocation, source, &tree}.run(connection, [&](int pipe) {
      PipeOutput output{pipe};
      return fs::emit_tree(source.fd.get(), output, emit, tree);
    });
  };
  CachedTree tree{cache, invocation.global.quiet};
  if (options.rehash) tree.ignore_cache();
  auto code = transfer(tree);
  if (code && *code == protocol::kExitCacheOutdated) {
    auto again = Connection::open(store, Start::create_store);
    if (!again) return complain(again.error());
    connection = std::move(*again);
    CachedTree whole{cache, true};  // its notes were said the first time
    whole.ignore_cache();
    code = transfer(whole);
  }
  if (!code) return complain(code.error());
  if (*code != 0) return *code;
  if (auto saved = cache.save(); !saved && invocation.global.verbose)
    print_note("the next import will read every file again: " + to_string(saved.error()));
  return 0;
}

/// `display`: what people call the source, if not by its path.
int import_source(const Invocation& invocation, const std::filesystem::path& store, const std::string& display) {
  const auto& options = std::get<ImportOptions>(invocation.command);
  auto source = open_source(options);
  if (!source) return complain(source.error());
  if (!display.empty()) source->display = display;
  if (source->kind != Source::Kind::tree && !options.excludes.empty())
    return complain(Error{Errc::invalid_argument, "--exclude is for directories: " + source->display + " is none", 0});
  std::optional<fs::Ext4Image> disk;
  if (source->kind == Source::Kind::disk) {
    auto opened = fs::Ext4Image::open(source->fd.get());
    if (!opened)
      return complain(
          Error{opened.error().code, source->display + ": " + opened.error().context, opened.error().sys_errno});
    disk.emplace(std::move(*opened));
  }
  auto connection = Connection::open(store, Start::create_store);
  if (!connection) return complain(connection.error());
  switch (source->kind) {
    case Source::Kind::archive:
      return import_once(invocation, *source, *connection,
                         [&](int pipe) { return relay(source->fd.get(), pipe, source->display); });
    case Source::Kind::disk:
      return import_once(invocation, *source, *connection,
                         [&](int pipe) { return write_disk(*disk, pipe, invocation.global.quiet); });
    case Source::Kind::image:
      return import_once(invocation, *source, *connection, [&](int pipe) {
        PipeOutput output{pipe};
        return source->image->send(output);
      });
    case Source::Kind::tree:
      return import_tree(invocation, *source, std::move(*connection), store);
  }
  return 0;
}

int import_from_registry(const Invocation& invocation, const std::filesystem::path& store) {
  const auto& options = std::get<ImportOptions>(invocation.command);
  const Interrupts interrupts;  // there is a folder to be removed
  const auto image = RegistryImage::fetch(options.source, options.platform, interrupts);
  if (!image) return image.error().code == Errc::cancelled ? 1 : complain(image.error());
  Invocation local = invocation;
  auto& named = std::get<ImportOptions>(local.command);
  named.source = image->layout();
  named.platform.clear();  // it was chosen
  return import_source(local, store, options.source);
}

}  // namespace

int run_import(const Invocation& invocation, const std::filesystem::path& store) {
  const bool registry = RegistryImage::is_one(std::get<ImportOptions>(invocation.command).source);
  return registry ? import_from_registry(invocation, store) : import_source(invocation, store, {});
}

}  // namespace stellarium::cli
