#pragma once
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "fs/fuse/abi.h"
#include "fs/fuse/parked_replies.h"
#include "fs/fuse/reply.h"

// Requests as the kernel writes them, and a sink that keeps the answers.
namespace stellarium::test {

template <typename T>
std::string bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

/// A well-formed request; `arguments` is what follows the header.
inline std::string make_request(fs::fuse::abi::Opcode opcode, std::uint64_t node, std::uint64_t unique,
                                const std::string& arguments = {}) {
  fs::fuse::abi::InHeader header{};
  header.len = static_cast<std::uint32_t>(sizeof header + arguments.size());
  header.opcode = static_cast<std::uint32_t>(opcode);
  header.unique = unique;
  header.nodeid = node;
  return bytes_of(header) + arguments;
}

inline std::string make_name(const std::string& name) {
  return name + '\0';
}

struct Answer {
  std::uint64_t unique = 0;
  int error = 0;  ///< positive errno
  std::string payload;
  template <typename T>
  T as() const {
    T value{};
    std::memcpy(&value, payload.data(), std::min(sizeof value, payload.size()));
    return value;
  }
};

/// Keeps what was sent. `refuse_with` makes it behave like a kernel whose program has gone (ENOENT).
class RecordingSink final : public fs::fuse::ReplySink {
 public:
  int send(std::uint64_t unique, int error, ByteSpan payload) override {
    const std::lock_guard lock{mutex_};
    if (refuse_with != 0) return refuse_with;
    answers_.push_back({unique, error, std::string{as_text(payload)}});
    return 0;
  }
  void store(fs::fuse::NodeId node, ByteSpan content) override {
    const std::lock_guard lock{mutex_};
    stored_.push_back({node, std::string{as_text(content)}});
  }
  fs::fuse::ParkedReplies& parked() override { return parked_; }
  std::vector<Answer> take() {
    const std::lock_guard lock{mutex_};
    return std::exchange(answers_, {});
  }
  /// The only answer since the last call.
  Answer only() {
    auto answers = take();
    if (answers.size() != 1) return {0, -static_cast<int>(answers.size()) - 1, {}};
    return answers.front();
  }
  struct Stored {
    fs::fuse::NodeId node;
    std::string content;
    bool operator==(const Stored&) const = default;
  };
  /// What was put into the page cache.
  std::vector<Stored> take_stored() {
    const std::lock_guard lock{mutex_};
    return std::exchange(stored_, {});
  }
  int refuse_with = 0;

 private:
  fs::fuse::ParkedReplies parked_;
  std::mutex mutex_;
  std::vector<Answer> answers_;
  std::vector<Stored> stored_;
};

}  // namespace stellarium::test
