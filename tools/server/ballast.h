#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

#include "base/io.h"
#include "base/mutex.h"
#include "base/result.h"

namespace stellarium::server {

/// Room that is kept back for the work that frees room: on a full disk `rm`, gc and the database need some themselves.
///
/// STORE/ballast is allocated and never written. It is given up in steps of a quarter, and taken back when there is
/// room again. Where the file system cannot allocate ahead, there is none. Errors:  none stops the store; they are
/// logged, and less is held. Threads: all functions may be called concurrently.
class Ballast {
 public:
  struct Space {
    std::uint64_t total = 0, free = 0;  ///< bytes of the file system
  };
  using AskSpace = std::function<Space()>;

  /// 1 % of the file system, between 64 MiB and 1 GiB, but never more than a sixteenth of it. In whole steps.
  static std::uint64_t size_for(std::uint64_t file_system_bytes);
  /// Finds what an earlier server held; takes nothing yet. `ask` is statvfs(3) unless a test says otherwise.
  static std::unique_ptr<Ballast> open(Io& io, const std::filesystem::path& store, AskSpace ask = {});

  bool is_short();  ///< whether less than one step is free
  bool give_up();   ///< one step; false if nothing is left
  void restore();   ///< as many steps as leave one more free
  struct Stats {
    std::uint64_t size = 0, held = 0;  ///< bytes: what it should be, what it is
  };
  Stats stats() EXCLUDES(mutex_);

 private:
  Ballast(Io& io, AskSpace ask) : io_{io}, ask_{std::move(ask)} {}
  Result<void> find(const std::filesystem::path& store) EXCLUDES(mutex_);

  Io& io_;
  const AskSpace ask_;
  Mutex mutex_;
  UniqueFd file_ GUARDED_BY(mutex_);  ///< none: nothing can be held here
  std::uint64_t size_ GUARDED_BY(mutex_) = 0, held_ GUARDED_BY(mutex_) = 0;
};

}  // namespace stellarium::server
