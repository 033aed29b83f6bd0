#pragma once
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "base/byte_parts.h"
#include "base/bytes.h"
#include "base/result.h"
#include "fs/fuse/abi.h"
#include "fs/fuse/host_processes.h"
#include "fs/fuse/node_id.h"

namespace stellarium::fs::fuse {

/// Whose kernel sends requests: a guest's names users and threads that this machine does not know.
enum class Peer : std::uint8_t { host, guest };

/// One request whose outer shape was checked: a whole header, a length that is the message's, extensions inside it.
/// Borrows the message; nothing in it may be believed beyond that, since a guest may have written it.
class Request {
 public:
  /// Errors: invalid_argument (what does not fit). `message` is one read of /dev/fuse or one copied descriptor chain;
  /// `features` is what INIT agreed on. `processes`: where to look up the host's threads; null: in /proc. `data`: what
  /// a WRITE brings, if it does not lie in the message; who sent it may change it until it is answered.
  static Result<Request> parse(ByteSpan message, std::uint64_t features = 0, Peer peer = Peer::host,
                               const HostProcesses* processes = nullptr, ByteParts data = {});
  /// The header, if there is that much: enough to answer a request that parse() refused.
  static bool read_header(ByteSpan message, abi::InHeader& header);

  const abi::InHeader& header() const { return header_; }
  abi::Opcode opcode() const { return static_cast<abi::Opcode>(header_.opcode); }
  NodeId node() const { return NodeId{header_.nodeid}; }
  /// The request's name without the resent bit: the same when it comes a second time.
  std::uint64_t id() const { return header_.unique & ~abi::kResentBit; }
  bool resent() const { return (header_.unique & abi::kResentBit) != 0; }
  ByteSpan arguments() const { return arguments_; }
  ByteParts data() const { return data_; }
  Peer peer() const { return peer_; }
  /// The thread that waits for the answer, as the host calls it; 0: it is not the host's, or unknown to it.
  std::uint32_t host_thread() const { return peer_ == Peer::host ? header_.pid : 0; }
  const HostProcesses& processes() const { return *processes_; }
  /// Whether INIT agreed on it (abi::feature): some arguments look different then.
  bool has(std::uint64_t feature) const { return (features_ & feature) != 0; }

 private:
  abi::InHeader header_{};
  ByteSpan arguments_;
  ByteParts data_;
  std::uint64_t features_ = 0;
  Peer peer_ = Peer::host;
  const HostProcesses* processes_ = nullptr;  // never null after parse()
};

/// Takes a request's arguments apart. After the first thing that does not fit, everything fails: ask error() at the
/// end. Structures are copied out once, so bytes that change meanwhile (shared guest memory) cannot pass a check twice.
class Arguments {
 public:
  explicit Arguments(ByteSpan bytes) : rest_{bytes} {}

  /// `sent`: how much of the structure this peer sends; the rest is 0.
  template <typename T>
  T fixed(std::size_t sent = sizeof(T)) {
    static_assert(std::is_trivially_copyable_v<T>);
    T value{};
    if (rest_.size() < sent) {
      refuse(EINVAL);
    } else {
      std::memcpy(&value, rest_.data(), sent);
      rest_ = rest_.subspan(sent);
    }
    return value;
  }
  /// A name of one path component: ends with NUL, 1 to 255 bytes, no '/'. Too long is ENAMETOOLONG, else EINVAL.
  std::string_view name();
  /// A name that an entry can be given: neither "." nor ".." (EINVAL).
  std::string_view entry_name();
  /// Any text that ends with NUL, 1 to `max` bytes without it (`too_long` above): names of extended attributes.
  std::string_view text(std::size_t max, int too_long = ERANGE);
  /// Everything that is left, which must be `size` bytes (EINVAL). Borrows them.
  ByteSpan rest(std::size_t size);

  int error() const { return error_; }  ///< 0 or a positive errno

 private:
  void refuse(int sys_errno) {
    if (error_ == 0) error_ = sys_errno;
    rest_ = {};
  }
  ByteSpan rest_;
  int error_ = 0;
};

}  // namespace stellarium::fs::fuse
