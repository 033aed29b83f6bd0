#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cas/hash.h"

// What the command process and the server say to each other, frame by frame (docs/formats/protocol.md). Every `decode`
// takes bytes that nobody vouches for and refuses (invalid_argument) whatever `encode` would not have written.
namespace stellarium::protocol {

/// Raised whenever a frame changes its meaning. Other versions are refused, naming both.
inline constexpr std::uint16_t kProtocolVersion = 1;

enum class MessageType : std::uint16_t {
  hello = 1,       ///< command → server, first: Hello
  welcome = 2,     ///< server → command: Welcome
  refused = 3,     ///< server → command, last: why, as text
  request = 4,     ///< command → server: Request, with the descriptors of its streams
  cancel = 5,      ///< command → server: stop as soon as possible
  stream_end = 6,  ///< command → server: the stream was written completely; without it the end of a pipe is a loss
  device = 7,      ///< command → server: the /dev/fuse descriptor of a mount that was just made
  question = 8,    ///< command → server, during an import: ContentQuestion
  output = 16,     ///< server → command: bytes for stdout
  complaint = 17,  ///< server → command: bytes for stderr
  progress = 18,   ///< server → command: Progress
  contents = 19,   ///< server → command: ContentList with paths, for the stat cache
  proceed = 20,    ///< server → command: all is checked, send the device, or use what is served; "w": writable
  keep = 23,    ///< server → command: a descriptor, to be sent with the request if it is made again to another server
  answer = 22,  ///< server → command: ContentAnswer; questions are answered in their order
  exit = 21,    ///< server → command, last: exit code in one byte
};

/// The number in a frame's header.
inline std::uint16_t wire(MessageType type) {
  return static_cast<std::uint16_t>(type);
}

/// Exit codes are the user's (0 done, 1 failed, 2 usage; fsck as fsck(8)), except this one, which means: a content that
/// the stat cache vouched for is no longer in the store, so send the tree again without the cache.
inline constexpr std::uint8_t kExitCacheOutdated = 75;

struct Hello {
  std::uint16_t version = kProtocolVersion;
  std::string build;  ///< version and commit of the program
  std::string encode() const;
  static Result<Hello> decode(std::string_view payload);
};

struct Welcome {
  std::uint16_t version = kProtocolVersion;
  std::string build;
  std::string store_uuid;
  std::uint32_t server_pid = 0;
  std::string encode() const;
  static Result<Welcome> decode(std::string_view payload);
};

/// A command as it was typed, without the program's name, and what the server must know of the caller's terminal.
struct Request {
  std::vector<std::string> words;
  bool wants_progress = false;
  std::string encode() const;
  static Result<Request> decode(std::string_view payload);
};

/// How far a command is. The command process turns it into a bar, a line of JSON, or nothing.
struct Progress {
  std::string phase;  ///< "import", "checking segments"; the display starts anew when it changes
  std::uint64_t done = 0;
  std::uint64_t total = 0;  ///< 0: not known
  std::uint64_t files = 0;  ///< 0: not counted
  bool bytes = true;        ///< `done` and `total` count bytes (else: things)
  std::string encode() const;
  static Result<Progress> decode(std::string_view payload);
};

/// An import's answer to files whose data was sent: their contents, in stream order.
struct ContentList {
  struct Entry {
    cas::ContentId id;
    std::uint64_t size = 0;
    std::string path;
  };
  std::vector<Entry> entries;
  /// Whether another entry with such a path still fits into one frame.
  bool has_room_for(std::size_t path_bytes) const;
  void add(Entry entry);
  std::string encode() const;
  static Result<ContentList> decode(std::string_view payload);

 private:
  std::size_t encoded_bytes_ = 0;  ///< an upper bound
};

/// Which of these contents does the store have?
struct ContentQuestion {
  static constexpr std::size_t kMaxContents = 1024;
  struct Entry {
    cas::ContentId id;
    std::uint64_t size = 0;
    bool operator==(const Entry&) const = default;
  };
  std::vector<Entry> contents;  ///< at most kMaxContents
  std::string encode() const;
  static Result<ContentQuestion> decode(std::string_view payload);
};

struct ContentAnswer {
  std::vector<bool> present;  ///< one for each content of the question
  std::string encode() const;
  static Result<ContentAnswer> decode(std::string_view payload);
};

}  // namespace stellarium::protocol
