#pragma once
#include <atomic>
#include <filesystem>
#include <memory>

#include "base/unique_fd.h"
#include "cas/worker_pool.h"
#include "cdn/objects.h"

namespace stellarium::cdn {

/// A remote that is a folder: what a web server serves, a mounted disk, or the source of an rsync.
///
/// Crashes: an object gets its name when it is complete. Objects named by their content are not synced one by one; all
///          are before a name appears. One that a power cut left with another size is written again by
///          the next publish.
class FolderObjects final : public ObjectReader, public ObjectTarget {
 public:
  /// Errors: not_found, permission, io.
  static Result<std::unique_ptr<FolderObjects>> open(const std::filesystem::path& folder);

  void fetch(ObjectRequest request, Done done) override;
  Counters counters() const override;

  Result<std::optional<std::uint64_t>> size_of(const std::string& path) override;
  Result<std::optional<std::string>> read(const std::string& path, std::uint64_t limit) override;
  Result<void> write(const std::string& path, ByteSpan bytes, Existing existing) override;
  Result<void> list(const std::string& prefix, const std::function<Result<void>(const Listed&)>& found) override;
  Result<void> remove(const std::string& path) override;

 private:
  FolderObjects(std::filesystem::path folder, UniqueFd fd)
      : folder_{std::move(folder)}, fd_{std::move(fd)}, workers_{2} {}
  Result<std::string> read_range(const ObjectRequest& request);
  Result<UniqueFd> open_object(const std::string& path) const;
  Result<void> make_parents(const std::string& path) const;

  const std::filesystem::path folder_;
  const UniqueFd fd_;
  std::atomic<std::uint64_t> requests_{0}, bytes_{0};
  cas::WorkerPool workers_;  // last: its jobs use the members above
};

}  // namespace stellarium::cdn
