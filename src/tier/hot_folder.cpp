#include "tier/hot_folder.h"

#include <dirent.h>
#include <fcntl.h>

#include <cerrno>
#include <memory>

#include "base/boot_id.h"
#include "base/log.h"
#include "tier/hot_mount.h"
#include "tier/verity.h"

namespace stellarium::tier {
namespace {

constexpr const char* kFiles = "files";
constexpr const char* kUnverified = "unverified";
constexpr const char* kTrust = "trust";
constexpr std::size_t kSmallFile = 16u << 20;  // more than the pins of a million files take is not ours

std::string trust_text(const std::string& boot, bool synced) {
  return "stellarium hot folder 1\nboot " + boot + "\nstate " + (synced ? "synced" : "open") + "\n";
}

struct CloseDir {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

}  // namespace

Result<HotFolder> HotFolder::open(Io& io, const std::filesystem::path& folder, bool private_mount) {
  if (auto made = io.make_dir(AT_FDCWD, folder.string(), 0700); !made) return fail(made.error());
  Result<UniqueFd> root = io.open(AT_FDCWD, folder.string(), O_RDONLY | O_DIRECTORY, 0);
  if (!root) return fail(root.error());
  HotFolder hot{io, std::move(*root)};
  if (auto decided = hot.decide_trust(); !decided) return fail(decided.error(), "hot folder " + folder.string());
  if (private_mount) {
    // Of the whole folder: that is what the server's Landlock rules name, since `files/` may be another one each time.
    Result<UniqueFd> mount = make_private_mount(hot.root_.get());
    if (mount) {
      hot.mount_ = std::move(*mount);
    } else {
      log::warn("hot files are opened without a private read-only mount: {}", to_string(mount.error()));
    }
  }
  return hot;
}

Result<void> HotFolder::decide_trust() {
  const std::string boot = boot_id(*io_);
  const std::string now_open = trust_text(boot, false);
  const Result<std::string> before = load(kTrust);
  if (!before && before.error().code != Errc::not_found) return fail(before.error());
  const bool same_boot = before && !boot.empty() && *before == now_open;
  // Which boot wrote the synced marker does not matter.
  was_synced_ = before && before->starts_with("stellarium hot folder 1\n") && before->ends_with("\nstate synced\n");
  if (!same_boot && !was_synced_) {
    if (auto distrusted = distrust_all(); !distrusted) return distrusted;
  }
  for (const auto& [name, fd] : {std::pair{kFiles, &files_}, std::pair{kUnverified, &unverified_}}) {
    if (auto made = io_->make_dir(root_.get(), name, 0700); !made) return made;
    Result<UniqueFd> opened = open_folder(name);
    if (!opened) return fail(opened.error());
    *fd = std::move(*opened);
  }
  // From here on files are filled without a sync, so the marker must say so, durably, before the first of them.
  return same_boot ? Result<void>{} : replace(kTrust, now_open);
}

Result<void> HotFolder::distrust_all() const {
  Result<UniqueFd> files = open_folder(kFiles);
  if (!files) return files.error().code == Errc::not_found ? Result<void>{} : fail(files.error());
  Result<UniqueFd> older = open_folder(kUnverified);
  if (older) {  // not everything was hashed since the crash before this one
    std::vector<Listed> listed;
    if (auto done = list_folder(files->get(), true, listed); !done) return done;
    for (const auto& file : listed) {
      const std::string name = file.id.hex();
      if (auto moved =
              io_->rename(root_.get(), std::string{kFiles} + "/" + name, std::string{kUnverified} + "/" + name);
          !moved) {
        return moved;
      }
    }
  } else if (older.error().code != Errc::not_found) {
    return fail(older.error());
  } else if (auto moved = io_->rename(root_.get(), kFiles, kUnverified); !moved) {
    return moved;
  }
  return sync_names();
}

Result<void> HotFolder::sync_names() const {
  return io_->sync(root_.get());
}

Result<UniqueFd> HotFolder::open_folder(const std::string& name) const {
  return io_->open(root_.get(), name, O_RDONLY | O_DIRECTORY, 0);
}

Result<std::vector<HotFolder::Listed>> HotFolder::list() const {
  std::vector<Listed> listed;
  if (auto done = list_folder(unverified_.get(), false, listed); !done) return fail(done.error());
  if (auto done = list_folder(files_.get(), true, listed); !done) return fail(done.error());
  return listed;
}

Result<void> HotFolder::list_folder(int folder, bool verified, std::vector<Listed>& out) const {
  Result<UniqueFd> own = io_->open(folder, ".", O_RDONLY | O_DIRECTORY, 0);
  if (!own) return fail(own.error());
  const std::unique_ptr<DIR, CloseDir> dir{::fdopendir(own->get())};
  if (!dir) return fail_errno("listing the hot folder");
  (void)own->release();  // the stream owns it now
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(dir.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    const auto id = cas::Hash::from_hex(name);
    struct stat st {};
    if (!id || ::fstatat(folder, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode)) {
      log::warn("hot folder: ignoring {}, which is not a hot file", name);
      continue;
    }
    out.push_back(
        {*id, static_cast<std::uint64_t>(st.st_size), static_cast<std::uint64_t>(st.st_blocks) * 512, verified});
  }
  return errno == 0 ? Result<void>{} : fail_errno("listing the hot folder");
}

Result<UniqueFd> HotFolder::create() const {
  Result<UniqueFd> fd = io_->open(files_.get(), ".", O_TMPFILE | O_RDWR, 0400);
  if (!fd) return fail(fd.error(), "making a hot file");
  return fd;
}

Result<void> HotFolder::publish(int fd, const cas::ContentId& id) const {
  const std::string name = id.hex();
  Result<void> linked = io_->link(fd, files_.get(), name);
  if (!linked && linked.error().code == Errc::exists) {  // one that could not be removed when it was dropped
    if (auto removed = io_->unlink(files_.get(), name); !removed) return removed;
    linked = io_->link(fd, files_.get(), name);
  }
  return linked;
}

Result<UniqueFd> HotFolder::open_file(const cas::ContentId& id, bool verified) const {
  if (verified && mount_)
    return io_->open(mount_.get(), std::string{kFiles} + "/" + id.hex(), O_RDONLY | O_NOFOLLOW, 0);
  return io_->open(verified ? files_.get() : unverified_.get(), id.hex(), O_RDONLY | O_NOFOLLOW, 0);
}

Result<void> HotFolder::mark_verified(const cas::ContentId& id) const {
  const std::string name = id.hex();
  return io_->rename(root_.get(), std::string{kUnverified} + "/" + name, std::string{kFiles} + "/" + name);
}

Result<void> HotFolder::remove(const cas::ContentId& id, bool verified) const {
  return io_->unlink(verified ? files_.get() : unverified_.get(), id.hex());
}

Result<void> HotFolder::protect(const cas::ContentId& id) const {
  const Result<UniqueFd> fd =
      io_->open(files_.get(), id.hex(), O_RDONLY | O_NOFOLLOW, 0);  // the private mount forbids it
  if (!fd) return fail(fd.error());
  return enable_verity(fd->get());
}

Result<void> HotFolder::mark_synced(const std::vector<cas::ContentId>& files) const {
  // First start writing everywhere, then wait: the first wait's journal commit serves all files.
  for (const bool wait : {false, true}) {
    for (const auto& id : files) {
      const Result<UniqueFd> fd = io_->open(files_.get(), id.hex(), O_RDONLY, 0);
      if (!fd) return fail(fd.error());
      if (!wait) {
        ::sync_file_range(fd->get(), 0, 0, SYNC_FILE_RANGE_WRITE);  // only a hint; the sync below reports
      } else if (auto synced = io_->sync_data(fd->get()); !synced) {
        return fail(synced.error(), "hot file " + id.hex());
      }
    }
  }
  if (auto synced = io_->sync(files_.get()); !synced) return synced;
  return replace(kTrust, trust_text(boot_id(*io_), true));
}

Result<void> HotFolder::replace(const std::string& name, const std::string& text) const {
  const std::string fresh = name + ".new";
  const Result<UniqueFd> fd = io_->open(root_.get(), fresh, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (!fd) return fail(fd.error());
  if (auto written = io_->write_at(fd->get(), as_bytes(text), 0); !written) return written;
  if (auto synced = io_->sync_data(fd->get()); !synced) return synced;
  if (auto renamed = io_->rename(root_.get(), fresh, name); !renamed) return renamed;
  return sync_names();
}

Result<std::string> HotFolder::load(const std::string& name) const {
  const Result<UniqueFd> fd = io_->open(root_.get(), name, O_RDONLY | O_NOFOLLOW, 0);
  if (!fd) return fail(fd.error());
  const Result<struct stat> st = io_->status(fd->get());
  if (!st) return fail(st.error());
  if (static_cast<std::uint64_t>(st->st_size) > kSmallFile)
    return fail(Errc::corrupt, name + ": larger than anything written there");
  std::string text(static_cast<std::size_t>(st->st_size), '\0');
  const Result<std::size_t> size = io_->read_at(fd->get(), std::as_writable_bytes(std::span{text}), 0);
  if (!size) return fail(size.error(), name);
  text.resize(*size);
  return text;
}

}  // namespace stellarium::tier
