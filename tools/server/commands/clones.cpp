#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <thread>

#include "fs/tar_export.h"
#include "fs/tar_import.h"
#include "tools/server/clone_quotas.h"
#include "tools/server/commands.h"
#include "tools/server/image.h"

// clone, snapshot, rollback: one record each, whatever the size of the tree. commit: one import of what was written.
namespace stellarium::server {
namespace {

template <typename T>
int done(const Result<T>& made, CommandContext& context) {
  return made ? 0 : context.io.complain(made.error());
}

Result<SnapshotRef> snapshot_ref(const std::string& ref) {
  auto parsed = parse_snapshot(ref);
  if (!parsed) return fail(Errc::invalid_argument, ref + " names no snapshot: write CLONE@SNAPSHOT");
  return std::move(*parsed);
}

class PipeWriter final : public fs::ByteOutput {
 public:
  explicit PipeWriter(UniqueFd fd) : fd_{std::move(fd)} {}
  Result<void> write(ByteSpan data) override {
    while (!data.empty()) {
      const ssize_t written = ::write(fd_.get(), data.data(), data.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return fail_errno("writing a tree");
      data = data.subspan(static_cast<std::size_t>(written));
    }
    return {};
  }

 private:
  UniqueFd fd_;
};

class PipeReader final : public fs::ByteInput {
 public:
  explicit PipeReader(UniqueFd fd) : fd_{std::move(fd)} {}
  Result<std::size_t> read(MutableByteSpan out) override {
    for (;;) {
      const ssize_t got = ::read(fd_.get(), out.data(), out.size());
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno != EINTR) return fail_errno("reading a tree");
    }
  }

 private:
  UniqueFd fd_;
};

/// The tree as a stream into an import: contents that the store has are only named, so what costs is what was written.
Result<fs::ImportReport> commit(const OpenTree& tree, const fs::ImageName& name, const std::string& source,
                                CommandContext& context) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail_errno("pipe");
  UniqueFd read_end{ends[0]}, write_end{ends[1]};
  Result<void> written;
  std::thread writer{[&, out = PipeWriter{std::move(write_end)}]() mutable {
    const fs::ExportSources sources{context.store.tier(), &context.store.staging(), /*by_reference=*/true};
    written = fs::export_tar(tree.reader, sources, out, [&](std::uint64_t) { return !context.io.cancelled(); });
  }};
  fs::ImportObserver observer;
  Store& store = context.store;
  Result<fs::ImportReport> report = [&] {
    PipeReader input{std::move(read_end)};  // closed at the end, so that a writer that goes on fails
    return fs::import_tar(store.database(), store.contents(), store.catalog(), store.scratch(), input, name, source,
                          observer);
  }();
  writer.join();
  if (!report && !written) return fail(written.error(), "committing " + source);
  return report;
}

}  // namespace

int run(const cli::CloneOptions& options, CommandContext& context) {
  const auto tree = open_tree(context.store, options.ref);
  if (!tree) return context.io.complain(tree.error());
  const auto clone = fs::is_clone(context.store.database(), options.ref);
  if (!clone) return context.io.complain(clone.error());
  if (*clone) {
    return context.io.complain(Error{Errc::invalid_argument,
                                     options.ref +
                                         " is a clone, which goes on changing: make a snapshot of it "
                                         "('stellarium snapshot " +
                                         options.ref + "@NAME') and clone that",
                                     0});
  }
  std::vector<fs::QuotaRecord> quotas;
  if (!options.quota.empty()) {
    const auto limit = parse_limit(options.quota);
    if (!limit) return context.io.complain(limit.error());
    auto made = new_quotas(context.store, *limit, options.names.size());
    if (!made) return context.io.complain(made.error());
    quotas = std::move(*made);
  }
  return done(context.store.clones().create_all(options.names, tree->reader.layers(), options.ref, quotas), context);
}

int run(const cli::RollbackOptions& options, CommandContext& context) {
  const auto ref = snapshot_ref(options.ref);
  if (!ref) return context.io.complain(ref.error());
  if (auto free = context.mounts.check_unmounted(ref->clone); !free) return context.io.complain(free.error());
  const int code = done(context.store.clones().rollback(ref->clone, ref->snapshot), context);
  context.janitor.wake();  // what was written since has lost its name
  return code;
}

int run(const cli::CommitOptions& options, CommandContext& context) {
  const auto name = fs::ImageName::parse(options.name);
  if (!name) return context.io.complain(name.error());
  const auto tree = open_tree(context.store, options.clone);
  if (!tree) return context.io.complain(tree.error());
  if (auto free = context.mounts.check_unmounted(options.clone); !free) return context.io.complain(free.error());
  auto committed = commit(*tree, *name, options.clone, context);
  if (!committed) return context.io.complain(committed.error());
  context.janitor.wake();
  if (!context.global.quiet) context.io.out(committed->image.manifest.hex() + "\n");
  return 0;
}

}  // namespace stellarium::server
