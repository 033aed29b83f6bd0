#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "tools/protocol/channel.h"

// The private conversation of the keeper and the server it started, over a socket pair (docs/formats/protocol.md,
// "Keeper").
namespace stellarium::keeper {

enum class LinkType : std::uint16_t {
  listener = 64,  ///< keeper → server, first: the listening socket
  record = 65,    ///< keeper → server: one record that an earlier server left, with its descriptors
  start = 66,     ///< keeper → server: that was all; begin
  ready = 67,     ///< server → keeper: commands are answered
  failed = 68,    ///< server → keeper: cannot start, and why (text); the server exits
  put = 69,       ///< server → keeper: keep this record, with its descriptors; replaces one of the same name
  remove = 70,    ///< server → keeper: let the record of this name go (payload: the name)
  done = 71,  ///< keeper → server: the answer to put, remove and transport; text if it was refused; of transport its
              ///< socket
  stopping = 72,   ///< server → keeper: will exit now; one byte: Ending
  transport = 73,  ///< server → keeper: start a stellarium-transport for the remote of this name (payload)
};

/// The number in a frame's header.
inline std::uint16_t wire(LinkType type) {
  return static_cast<std::uint16_t>(type);
}

/// What the keeper does once the server has exited.
enum class Ending : std::uint8_t { stop = 0, restart = 1, upgrade = 2 };

inline constexpr std::size_t kMaxBlob = 4096;      ///< bytes beside a record's descriptors
inline constexpr std::size_t kMaxRecordName = 64;  ///< bytes

/// Something that must outlive the server: descriptors under a name, and a few bytes that say what they are.
struct Record {
  std::string name;
  std::string blob;
  std::vector<UniqueFd> descriptors;  ///< 1 … kMaxDescriptors

  std::string encode() const;  ///< name and blob
  static Result<Record> decode(protocol::Frame frame);
};

/// The server's end. Threads: all functions may be called concurrently.
class KeeperLink {
 public:
  explicit KeeperLink(protocol::Channel channel) : channel_{std::move(channel)} {}

  /// What the keeper hands over at the start of a server.
  struct Inheritance {
    UniqueFd listener;
    std::vector<Record> records;
  };
  [[nodiscard]] Result<Inheritance> receive_inheritance() EXCLUDES(mutex_);
  [[nodiscard]] Result<void> ready() EXCLUDES(mutex_);
  void failed(std::string_view why) EXCLUDES(mutex_);
  void stopping(Ending ending) EXCLUDES(mutex_);

  /// Returns when the keeper holds duplicates of the descriptors. Errors: unavailable if the keeper is gone.
  [[nodiscard]] Result<void> put(const Record& record) EXCLUDES(mutex_);
  [[nodiscard]] Result<void> remove(std::string_view name) EXCLUDES(mutex_);
  /// A socket to a new process that speaks to a remote: this one has no network. It ends when the socket is closed.
  [[nodiscard]] Result<UniqueFd> start_transport(std::string_view remote) EXCLUDES(mutex_);

 private:
  Result<std::vector<UniqueFd>> ask(LinkType type, std::string_view payload, const std::vector<UniqueFd>& descriptors)
      EXCLUDES(mutex_);
  Mutex mutex_;
  protocol::Channel channel_ GUARDED_BY(mutex_);
};

}  // namespace stellarium::keeper
