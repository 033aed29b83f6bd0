#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "fs/fuse/abi.h"
#include "fs/fuse/filesystem.h"
#include "fs/fuse/operations.h"

namespace stellarium::fs::fuse {

/// Largest payload of a reply: 256 pages, what the kernel allows for one request.
inline constexpr std::size_t kMaxPayload = std::size_t{256} << 12;
/// Longest WRITE that a view may ask for: as many pages.
inline constexpr std::uint32_t kMaxWrite = kMaxPayload;
/// Largest request that is received: that and its headers. Reading with less room than was agreed on fails.
inline constexpr std::size_t kMaxRequest = std::size_t{kMaxWrite} + 4096;

/// One conversation with a kernel: checks each request, counts it and hands it to the file system.
///
/// Knows nothing of its transport: messages come in by `handle`, answers leave through the given sink. A second INIT
/// begins anew (a guest that mounts again); requests before the first one are refused.
/// Threads: `handle` may be called concurrently.
class Session {
 public:
  /// `processes`: where to look up the host's threads, borrowed; null: in /proc. `read_only`: whatever would change
  /// something is answered with EROFS.
  explicit Session(std::unique_ptr<Filesystem> filesystem, Peer peer = Peer::host,
                   const HostProcesses* processes = nullptr, bool read_only = false)
      : filesystem_{std::move(filesystem)}, peer_{peer}, processes_{processes}, read_only_{read_only} {}

  /// Continues where an earlier server stopped, which had agreed on `features`.
  void resume(std::uint64_t features);
  bool ready() const { return ready_.load(std::memory_order_acquire); }

  /// Answers one request through `sink`, now or later. `scratch` is resident memory for the payload, used until return,
  /// as `data` is (Request::parse).
  void handle(ByteSpan message, const std::shared_ptr<ReplySink>& sink, MutableByteSpan scratch, ByteParts data = {});

  std::uint64_t requests() const;
  std::vector<std::pair<std::string, std::uint64_t>> requests_by_opcode() const;  ///< names that occurred, by opcode
  /// Of all answers, without their headers. What is passed through or mapped into a window is not among them.
  std::uint64_t answered_bytes() const { return answered_bytes_.load(std::memory_order_relaxed); }
  Filesystem& filesystem() { return *filesystem_; }

 private:
  void run(const Request& request, Reply reply);
  void init(const Request& request, Reply reply);
  static void interrupt(const Request& request, Reply reply);

  std::unique_ptr<Filesystem> filesystem_;
  const Peer peer_;
  const HostProcesses* const processes_;
  const bool read_only_;
  std::atomic<bool> ready_ = false;
  std::atomic<std::uint64_t> features_ = 0;  ///< what INIT agreed on
  std::atomic<std::uint64_t> answered_bytes_ = 0;
  std::array<std::atomic<std::uint64_t>, kOpcodes> counts_{};  ///< row 0: everything unknown or malformed
};

/// The answer to INIT: our limits and, of the features that the kernel offers, those in `wanted`. `max_write` is cut to
/// kMaxWrite.
/// Errors: not_supported if the kernel is older than 5.4.
Result<abi::InitOut> negotiate(const abi::InitIn& in, std::uint64_t wanted, std::uint32_t max_write);
/// The features in an answer to INIT.
std::uint64_t features_of(const abi::InitOut& out);

}  // namespace stellarium::fs::fuse
