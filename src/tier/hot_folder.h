#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "base/io.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "cas/hash.h"

namespace stellarium::tier {

/// The hot folder on disk (docs/tiers.md): `files/` holds trusted hot files, `unverified/` those that must be hashed
/// again, `trust` says which boot wrote them. A file is named by its content id in hexadecimal; it appears complete or
/// not at all (O_TMPFILE, linkat) and is never written again.
///
/// Trust:   file data is not synced while it is filled, so after a crash of the machine a file of the right size may
/// hold zeros.
///          Files are trusted if this boot wrote them, or if a clean stop synced them and said so. Else `open` renames
///          `files/` to `unverified/`, one rename whatever the number of files.
/// Threads: all functions may be called concurrently, but not two of them for the same id.
/// Errors:  io, out_of_space, permission; with the name of the file.
class HotFolder {
 public:
  static Result<HotFolder> open(Io& io, const std::filesystem::path& folder, bool private_mount);

  struct Listed {
    cas::ContentId id;
    std::uint64_t size = 0, allocated = 0;  ///< bytes; `allocated` leaves holes out
    bool verified = false;
  };
  /// What is there; removes leftovers that are not hot files. Cost: one stat per file.
  Result<std::vector<Listed>> list() const;

  Result<UniqueFd> create() const;  ///< unnamed, read-write
  Result<void> publish(int fd, const cas::ContentId& id) const;
  /// Read-only, through the private mount where there is one.
  Result<UniqueFd> open_file(const cas::ContentId& id, bool verified) const;
  Result<void> mark_verified(const cas::ContentId& id) const;  ///< moves it from `unverified/` to `files/`
  Result<void> remove(const cas::ContentId& id, bool verified) const;

  /// Turns fs-verity on for a published file that nobody writes any more. Errors: not_supported.
  Result<void> protect(const cas::ContentId& id) const;

  /// Syncs the named files and then says durably that everything in `files/` can be trusted, until the next `open`.
  Result<void> mark_synced(const std::vector<cas::ContentId>& files) const;

  bool was_synced() const { return was_synced_; }  ///< what is in `files/` since before `open` is on disk already
  bool has_private_mount() const { return static_cast<bool>(mount_); }
  int descriptor() const { return files_.get(); }
  /// Replaces the small file `name` of the hot folder: readers see the old or the new text, also after a crash.
  Result<void> replace(const std::string& name, const std::string& text) const;
  Result<std::string> load(const std::string& name) const;  ///< not_found if it does not exist

 private:
  HotFolder(Io& io, UniqueFd root) : io_{&io}, root_{std::move(root)} {}
  Result<void> decide_trust();
  Result<void> distrust_all() const;
  Result<UniqueFd> open_folder(const std::string& name) const;
  Result<void> list_folder(int folder, bool verified, std::vector<Listed>& out) const;
  Result<void> sync_names() const;

  Io* io_;
  UniqueFd root_, files_, unverified_, mount_;
  bool was_synced_ = false;
};

}  // namespace stellarium::tier
