#include "fs/staging.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <bitset>
#include <cerrno>
#include <charconv>
#include <optional>

#include "base/log.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kOpenedAtOnce = 128;  // by sync_noted: below what stays open without users anyway

std::string hex(std::uint64_t value, std::size_t digits) {
  std::string text(digits, '0');
  for (std::size_t i = digits; i-- > 0; value >>= 4) text[i] = "0123456789abcdef"[value & 15];
  return text;
}

// The low byte: the high one has only seven random bits.
std::size_t folder_index(StagedId id) {
  return id & 0xff;
}
std::string folder_name(std::size_t index) {
  return hex(index, 2);
}
std::string file_name(StagedId id) {
  return hex(id, 16);
}

bool is_valid(StagedId id) {
  return id != 0 && id >> 63 == 0;
}

std::optional<StagedId> parse_name(const std::string& folder, const std::string& name) {
  StagedId id = 0;
  std::from_chars(name.data(), name.data() + name.size(), id, 16);
  if (!is_valid(id) || name != file_name(id) || folder != folder_name(folder_index(id))) return std::nullopt;
  return id;
}

Result<StagedId> random_id() {
  for (;;) {
    StagedId id = 0;
    if (::getrandom(&id, sizeof id, 0) != static_cast<ssize_t>(sizeof id)) return fail_errno("getrandom");
    id >>= 1;
    if (id != 0) return id;
  }
}

tl::unexpected<Error> fail_gone(StagedId id) {
  return fail(Errc::not_found, "staged file " + file_name(id) + " does not exist");
}
bool is_gone(const Error& error) {
  return error.code == Errc::not_found;
}

struct CloseDir {
  void operator()(DIR* dir) const { ::closedir(dir); }
};

// All names in a folder but "." and "..", with what they are: S_IFREG, … or 0.
Result<std::vector<std::pair<std::string, mode_t>>> names_in(Io& io, int folder) {
  Result<UniqueFd> own = io.open(folder, ".", O_RDONLY | O_DIRECTORY, 0);
  if (!own) return fail(own.error());
  const std::unique_ptr<DIR, CloseDir> dir{::fdopendir(own->get())};
  if (!dir) return fail_errno("listing staged files");
  (void)own->release();  // the stream owns it now
  std::vector<std::pair<std::string, mode_t>> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(dir.get());
    if (entry == nullptr) break;
    const std::string name = entry->d_name;
    if (name == "." || name == "..") continue;
    struct stat st {};
    if (entry->d_type != DT_UNKNOWN) {
      st.st_mode = static_cast<mode_t>(DTTOIF(entry->d_type));
    } else if (::fstatat(folder, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
      st.st_mode = 0;
    }
    names.emplace_back(name, st.st_mode & S_IFMT);
  }
  if (errno != 0) return fail_errno("listing staged files");
  return names;
}

}  // namespace

Staging::Staging(Io& io, UniqueFd root) : io_{io} {
  folders_[kRoot].fd = std::move(root);
}

Result<std::unique_ptr<Staging>> Staging::open(Io& io, const std::filesystem::path& dir) {
  if (auto made = io.make_dir(AT_FDCWD, dir.string(), 0700); !made) return fail(made.error());
  Result<UniqueFd> root = io.open(AT_FDCWD, dir.string(), O_RDONLY | O_DIRECTORY, 0);
  if (!root) return fail(root.error());
  const Result<UniqueFd> parent = io.open(root->get(), "..", O_RDONLY | O_DIRECTORY, 0);
  if (!parent) return fail(parent.error());
  if (auto synced = io.sync(parent->get()); !synced) return fail(synced.error(), "folder of " + dir.string());
  return std::unique_ptr<Staging>{new Staging{io, std::move(*root)}};
}

Result<int> Staging::folder_of(StagedId id, bool make) {
  if (!is_valid(id)) return fail_gone(id);
  const std::size_t index = folder_index(id);
  int root = -1;
  {
    const MutexLock lock{mutex_};
    if (folders_[index].fd) return folders_[index].fd.get();
    root = folders_[kRoot].fd.get();
  }
  const std::string name = folder_name(index);
  if (make) {
    if (auto made = io_.make_dir(root, name, 0700); !made) return fail(made.error());
  }
  Result<UniqueFd> opened = io_.open(root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
  if (!opened) return fail(opened.error());
  const MutexLock lock{mutex_};
  // Counted by everybody who opens it, before anybody can use it: who made it may not have come to this line yet.
  ++folders_[kRoot].changes;
  Folder& folder = folders_[index];
  if (!folder.fd) folder.fd = std::move(*opened);
  return folder.fd.get();
}

Result<std::shared_ptr<Staging::File>> Staging::create() {
  for (;;) {
    const Result<StagedId> id = random_id();
    if (!id) return fail(id.error());
    const Result<int> folder = folder_of(*id, true);
    if (!folder) return fail(folder.error(), "making a staged file");
    {
      const MutexLock lock{mutex_};
      if (!earlier_taken_) made_.insert(*id);  // first: once it is there, a listing shows it
    }
    Result<UniqueFd> fd = io_.open(*folder, file_name(*id), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
    if (!fd && fd.error().code == Errc::exists) continue;
    if (!fd) return fail(fd.error(), "making a staged file");
    {
      const MutexLock lock{mutex_};
      ++folders_[folder_index(*id)].changes;
    }
    return cache_->add(std::make_shared<File>(*id, std::move(*fd)));
  }
}

Result<std::shared_ptr<Staging::File>> Staging::find(StagedId id) {
  if (auto open = cache_->find(id)) return open;
  const Result<int> folder = folder_of(id, false);
  if (!folder) return fail(folder.error(), "staged file " + file_name(id));
  // No O_NONBLOCK: is_being_written() may hold a lease just now.
  Result<UniqueFd> fd = io_.open(*folder, file_name(id), O_RDWR | O_NOFOLLOW, 0);
  if (!fd) return fail(fd.error(), "staged file");
  std::shared_ptr<File> file = cache_->add(std::make_shared<File>(id, std::move(*fd)));
  // `remove` unlinks and then makes the cache forget. If it forgot before the line above, this sees the unlinking.
  const Result<struct stat> st = io_.status(file->fd());
  if (st && st->st_nlink > 0 && S_ISREG(st->st_mode)) return file;
  cache_->forget(id);
  if (!st) return fail(st.error(), "staged file " + file_name(id));
  if (st->st_nlink == 0) return fail_gone(id);
  return fail(Errc::corrupt, "staged file " + file_name(id) + " is no regular file");
}

Result<UniqueFd> Staging::open_to_read(StagedId id) {
  const Result<int> folder = folder_of(id, false);
  if (!folder) return fail(folder.error(), "staged file " + file_name(id));
  return io_.open(*folder, file_name(id), O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
}

bool Staging::has_failed(StagedId id) {
  const MutexLock lock{mutex_};
  return failed_.contains(id);
}

Result<struct stat> Staging::status(StagedId id) {
  if (const auto open = cache_->find(id)) return io_.status(open->fd());
  const Result<int> folder = folder_of(id, false);
  if (!folder) return fail(folder.error(), "staged file " + file_name(id));
  struct stat st {};
  if (::fstatat(*folder, file_name(id).c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) {
    return fail_errno("staged file " + file_name(id));
  }
  return st;
}

// A lease for reading is granted while nobody has the file open for writing: what a mapping keeps open counts.
Result<bool> Staging::is_being_written(StagedId id) {
  if (!cache_->close_idle(id)) return true;
  const Result<int> folder = folder_of(id, false);
  if (!folder) return fail(folder.error(), "staged file " + file_name(id));
  const Result<UniqueFd> fd = io_.open(*folder, file_name(id), O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
  if (!fd) return fail(fd.error(), "staged file");
  // Of somebody who waits for the lease the kernel tells by SIGIO, which ends a process; SIGURG is ignored by all.
  if (::fcntl(fd->get(), F_SETSIG, SIGURG) != 0) return fail_errno("asking for a lease of a staged file");
  if (::fcntl(fd->get(), F_SETLEASE, F_RDLCK) == 0) return false;  // given back when it is closed
  if (errno == EAGAIN) return true;
  return fail_errno("asking for a lease of a staged file");
}

Result<void> Staging::remove(StagedId id) {
  const Result<int> folder = folder_of(id, false);
  const Result<void> unlinked = folder ? io_.unlink(*folder, file_name(id)) : fail(folder.error());
  if (!unlinked && !is_gone(unlinked.error())) return fail(unlinked.error(), "staged file " + file_name(id));
  cache_->forget(id);
  const MutexLock lock{mutex_};
  failed_.erase(id);
  noted_.erase(id);
  return {};
}

Result<void> Staging::note_written(const File& file) {
  timespec times[2] = {{0, UTIME_OMIT}, {}};
  ::clock_gettime(CLOCK_REALTIME, &times[1]);
  if (::futimens(file.fd(), times) != 0) return fail_errno("a staged file's time");
  return {};
}

// Only one at a time: the kernel reports a failure to one of two callers, and the other must not believe that all is
// well before the failure is remembered.
Result<void> Staging::sync_bytes(File& file) {
  const MutexLock one_at_a_time{file.syncing_};
  {
    const MutexLock lock{mutex_};
    if (const auto failed = failed_.find(file.id()); failed != failed_.end()) return fail(failed->second);
  }
  const Result<void> synced = io_.sync_data(file.fd());
  if (synced) return {};
  const auto failure = fail(synced.error(), "staged file " + file_name(file.id()));
  {
    const MutexLock lock{mutex_};
    failed_.emplace(file.id(), failure.value());
  }
  ++failures_;
  log::error("{}; what was written to it may be lost, and syncs of it fail until it is removed",
             to_string(failure.value()));
  // As in `find`: if `remove` forgot failures before this one was there, its unlinking is seen here.
  const Result<struct stat> st = io_.status(file.fd());
  if (!st || st->st_nlink > 0) return failure;
  const MutexLock lock{mutex_};
  failed_.erase(file.id());
  return fail_gone(file.id());
}

// A failure is tried again: unlike a file's bytes, a name that did not reach the disk never looks clean, since a host
// file system whose journal fails stops.
Result<void> Staging::sync_names(std::size_t folder) {
  for (const std::size_t index : {folder, kRoot}) {
    int fd = -1;
    std::uint64_t changes = 0;
    {
      const MutexLock lock{mutex_};
      if (folders_[index].synced == folders_[index].changes) continue;
      fd = folders_[index].fd.get();
      changes = folders_[index].changes;
    }
    if (auto synced = io_.sync(fd); !synced) return fail(synced.error(), "folder of staged files");
    const MutexLock lock{mutex_};
    folders_[index].synced = std::max(folders_[index].synced, changes);
  }
  return {};
}

Result<void> Staging::make_durable(StagedId id) {
  const Noted noted{id, mark_of(id)};  // before the sync: what is noted during it stays
  const Result<std::shared_ptr<File>> file = find(id);
  if (!file) return fail(file.error());
  if (auto synced = sync_bytes(**file); !synced) return synced;
  if (auto synced = sync_names(folder_index(id)); !synced) return synced;
  clear_noted({noted});
  return {};
}

void Staging::note_unsynced(StagedId id) {
  const MutexLock lock{mutex_};
  noted_[id] = ++last_mark_;
}

void Staging::begin_writing(StagedId id) {
  if (const auto file = find(id)) io_.begin_writing((*file)->fd(), 0, 0);
}

std::uint64_t Staging::mark_of(StagedId id) {
  const MutexLock lock{mutex_};
  const auto noted = noted_.find(id);
  return noted == noted_.end() ? 0 : noted->second;
}

void Staging::clear_noted(const std::vector<Noted>& synced) {
  const MutexLock lock{mutex_};
  for (const Noted& file : synced) {
    if (const auto noted = noted_.find(file.id); noted != noted_.end() && noted->second == file.mark) {
      noted_.erase(noted);
    }
  }
}

Result<std::size_t> Staging::sync_noted() {
  std::vector<Noted> noted;
  {
    MutexLock lock{mutex_};
    // Another thread's round may hold what this call is about, and a third one needs no round of its own after this.
    while (syncing_noted_) lock.wait(noted_synced_);
    if (noted_.empty()) return 0;
    noted.reserve(noted_.size());
    for (const auto& [id, mark] : noted_) noted.push_back({id, mark});
    syncing_noted_ = true;
  }
  std::sort(noted.begin(), noted.end(), [](const Noted& a, const Noted& b) { return a.mark < b.mark; });
  const Result<void> done = sync_all(noted);
  const MutexLock lock{mutex_};
  syncing_noted_ = false;
  noted_synced_.notify_all();
  if (!done) return fail(done.error());
  return noted.size();
}

Result<void> Staging::sync_all(const std::vector<Noted>& noted) {
  Result<void> first;
  std::vector<Noted> synced;
  for (std::size_t at = 0; at < noted.size(); at += kOpenedAtOnce) {
    const auto group = std::span{noted}.subspan(at, std::min(kOpenedAtOnce, noted.size() - at));
    if (auto done = sync_group(group, synced); !done && first) first = std::move(done);
  }
  std::bitset<kFolders> changed, failed;
  for (const Noted& file : synced) changed.set(folder_index(file.id));
  for (std::size_t index = 0; index < kFolders; ++index) {
    if (!changed[index]) continue;
    auto done = sync_names(index);
    if (done) continue;
    failed.set(index);
    if (first) first = std::move(done);
  }
  std::erase_if(synced, [&](const Noted& file) { return failed[folder_index(file.id)]; });
  clear_noted(synced);
  return first;
}

Result<void> Staging::sync_group(std::span<const Noted> group, std::vector<Noted>& synced) {
  Result<void> first;
  std::vector<std::pair<std::shared_ptr<File>, Noted>> files;
  for (const Noted& noted : group) {
    Result<std::shared_ptr<File>> file = find(noted.id);
    if (file) {
      // First start writing everywhere, then wait: the first wait's journal commit serves all files.
      io_.begin_writing((*file)->fd(), 0, 0);
      files.emplace_back(std::move(*file), noted);
    } else if (is_gone(file.error())) {
      clear_noted({noted});
    } else if (first) {
      first = fail(file.error());
    }
  }
  for (const auto& [file, noted] : files) {
    auto done = sync_bytes(*file);
    if (done) {
      synced.push_back(noted);
    } else {
      clear_noted({noted});
    }
  }
  return first;
}

Result<std::vector<StagedId>> Staging::list() {
  int root = -1;
  {
    const MutexLock lock{mutex_};
    root = folders_[kRoot].fd.get();
  }
  const auto folders = names_in(io_, root);
  if (!folders) return fail(folders.error());
  std::vector<StagedId> ids;
  for (const auto& [folder, type] : *folders) {
    unsigned index = kFolders;
    std::from_chars(folder.data(), folder.data() + folder.size(), index, 16);
    if (index >= kFolders || folder != folder_name(index) || type != S_IFDIR) {
      log::warn("staged files: ignoring {}, which is no folder of theirs", folder);
      continue;
    }
    const Result<UniqueFd> opened = io_.open(root, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (!opened) return fail(opened.error());
    if (auto listed = list_folder(opened->get(), folder, ids); !listed) return fail(listed.error());
  }
  return ids;
}

Result<Staging::Usage> Staging::usage() {
  const auto ids = list();
  if (!ids) return fail(ids.error());
  Usage usage;
  for (const StagedId id : *ids) {
    const Result<struct stat> st = status(id);
    if (!st && is_gone(st.error())) continue;
    if (!st) return fail(st.error());
    ++usage.files;
    usage.bytes += static_cast<std::uint64_t>(st->st_blocks) * 512;
  }
  return usage;
}

Result<void> Staging::sync_earlier() {
  // All of the host's file system would be written for nothing, and whoever starts just now would wait for the disk.
  const auto there = list();
  if (!there) return fail(there.error());
  if (there->empty()) return {};
  int root = -1;
  {
    const MutexLock lock{mutex_};
    root = folders_[kRoot].fd.get();
  }
  if (::syncfs(root) != 0) return fail_errno("syncing the host file system of staged files");
  return {};
}

Result<std::vector<StagedId>> Staging::take_earlier() {
  {
    const MutexLock lock{mutex_};
    if (earlier_taken_) return std::vector<StagedId>{};
  }
  auto ids = list();
  std::unordered_set<StagedId> made;
  {
    const MutexLock lock{mutex_};
    earlier_taken_ = true;
    made.swap(made_);
  }
  if (ids) std::erase_if(*ids, [&](StagedId id) { return made.contains(id); });
  return ids;
}

Result<void> Staging::list_folder(int folder, const std::string& folder_name, std::vector<StagedId>& out) {
  const auto names = names_in(io_, folder);
  if (!names) return fail(names.error(), "folder " + folder_name);
  for (const auto& [name, type] : *names) {
    const std::optional<StagedId> id = parse_name(folder_name, name);
    if (id && type == S_IFREG) {
      out.push_back(*id);
    } else {
      log::warn("staged files: ignoring {}/{}, which is none", folder_name, name);
    }
  }
  return {};
}

}  // namespace stellarium::fs
