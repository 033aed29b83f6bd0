#pragma once
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "fs/fuse/node_id.h"
#include "fs/types.h"
#include "tier/tier.h"

namespace stellarium::fs::fuse {

/// How the kernel reads an open file; all concurrent opens of one node share it.
enum class OpenMode : std::uint8_t {
  cached = 1,       ///< READ requests, kept by the page cache
  passthrough = 2,  ///< from the backing file, without us
};

/// What a backing id stands for: the hot file of a content, or a staged file.
struct BackingFile {
  tier::ContentRef content;
  StagedId staged = 0;  ///< not 0: this one, and `content` says nothing
  bool operator==(const BackingFile&) const = default;
};

/// What the kernel knows as `fh`: slot and generation, so that a handle that was closed cannot be mistaken for a new
/// one. 0 is no handle: files that need no record.
using FileHandle = std::uint64_t;

/// The part of a mount's state that must outlive the server: open handles, backing ids, what INIT agreed on
/// (docs/formats/handle-table.md). It lies in a memfd that the keeper holds; a killed server leaves it as it is.
///
/// Crashes: a record is written first and becomes valid by one atomic store of eight bytes, so a kill at any
///          instruction leaves it absent or whole. A checksum guards against stray writes.
/// Threads: the caller serializes everything but `confirm`.
/// Cost:    `begin` and `end` are a few dozen nanoseconds; nothing enters the kernel except growth (every 1,000
/// records).
class HandleTable {
 public:
  struct Handle {
    std::uint64_t unique = 0;  ///< of the OPEN request, without the resent bit
    NodeId node;
    OpenMode mode = OpenMode::cached;
    std::uint32_t backing_id = 0;  ///< mode passthrough
    bool operator==(const Handle&) const = default;
  };
  struct Backing {
    BackingFile file;
    std::uint32_t id = 0;
    bool operator==(const Backing&) const = default;
  };

  /// A part of a guest's window into which something is, or may be, mapped (DaxMappings).
  struct Mapping {
    std::uint64_t place = 0, length = 0;
    bool operator==(const Mapping&) const = default;
  };

  static Result<UniqueFd> make();  ///< an empty table
  /// The mount that a table belongs to; 0: none yet. Errors: corrupt (not a table of ours).
  static Result<std::uint64_t> mount_of(int fd);
  /// Errors: corrupt or version (not a table of ours, or of another mount), io.
  static Result<HandleTable> open(UniqueFd fd, std::uint64_t mount);
  HandleTable(HandleTable&& other) noexcept;
  HandleTable& operator=(HandleTable&&) = delete;
  ~HandleTable();

  /// What INIT agreed on; nothing before it was answered.
  std::optional<std::uint64_t> features() const;
  void set_features(std::uint64_t features);

  /// Records that an OPEN is about to be answered. If an earlier server had recorded the same request, that record is
  /// returned. Errors: out_of_space (the table cannot grow).
  struct Begun {
    FileHandle handle;
    Handle record;
    bool repeated;
  };
  [[nodiscard]] Result<Begun> begin(const Handle& handle);
  /// The answer was accepted by the kernel. Until then the record is PENDING: it counts as open all the same.
  void confirm(FileHandle handle);
  /// Forgets a handle; nothing happens (and nothing is returned) if it is not there or not of this node.
  std::optional<Handle> end(FileHandle handle, NodeId node);
  /// The record of a request that an earlier server had begun to answer and that is still open.
  std::optional<Begun> find_request(std::uint64_t unique) const;

  /// Records a backing id before it is used for the first time; returns the slot by which it is forgotten once closed.
  [[nodiscard]] Result<std::uint32_t> add_backing(const Backing& backing);
  void remove_backing(std::uint32_t slot) { free_slot(slot); }
  /// Highest backing id ever recorded.
  std::uint32_t highest_backing_id() const;

  /// Records a mapping before it is made; returns the slot by which it is forgotten once nothing is there any more.
  [[nodiscard]] Result<std::uint32_t> add_mapping(const Mapping& mapping);
  void remove_mapping(std::uint32_t slot) { free_slot(slot); }
  std::vector<std::pair<std::uint32_t, Mapping>> mappings() const;  ///< with their slots

  std::vector<Handle> handles() const;
  std::vector<std::pair<std::uint32_t, Backing>> backings() const;  ///< with their slots
  std::size_t handle_count() const { return handle_count_; }
  /// Forgets everything but the mount: the conversation begins anew.
  void clear();

 private:
  struct Header;
  struct Record;
  HandleTable(UniqueFd fd, std::byte* base, std::uint64_t mount) : fd_{std::move(fd)}, base_{base}, mount_{mount} {}
  Header& header() const;
  Record& record(std::uint32_t slot) const;
  Result<std::uint32_t> take_slot();
  Result<void> reserve(std::uint32_t slots);
  void load();
  void write(std::uint32_t slot, std::uint32_t backing_id, std::uint64_t number, ByteSpan subject);
  bool intact(const Record& record) const;
  void free_slot(std::uint32_t slot);

  UniqueFd fd_;
  std::byte* base_;  ///< the whole reserved range; only [0, capacity_) lies inside the file
  std::uint64_t mount_;
  std::uint32_t capacity_ = 0;  ///< slots that the file holds
  std::vector<std::uint32_t> free_;
  std::unordered_map<std::uint64_t, std::uint32_t>
      inherited_;  ///< unique → slot of what an earlier server left PENDING
  std::size_t handle_count_ = 0;
};

}  // namespace stellarium::fs::fuse
