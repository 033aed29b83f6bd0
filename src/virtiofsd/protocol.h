#pragma once
#include <cstddef>
#include <cstdint>

// The vhost-user protocol as a back-end of a virtio-fs device sees it ("Vhost-user Protocol" in QEMU's documentation),
// and what the device shows of itself (Virtual I/O Device specification 1.2, section 5.11). Fields are the machine's
// byte order on the socket and little-endian in guest memory; both are the same on the machines we build for.
namespace stellarium::virtiofsd::protocol {

enum class Request : std::uint32_t {
  get_features = 1,
  set_features = 2,
  set_owner = 3,
  reset_owner = 4,
  set_mem_table = 5,
  set_vring_num = 8,
  set_vring_addr = 9,
  set_vring_base = 10,
  get_vring_base = 11,
  set_vring_kick = 12,
  set_vring_call = 13,
  set_vring_err = 14,
  get_protocol_features = 15,
  set_protocol_features = 16,
  get_queue_num = 17,
  set_vring_enable = 18,
  set_backend_req_fd = 21,
  get_config = 24,
  set_config = 25,
  get_inflight_fd = 31,
  set_inflight_fd = 32,
  reset_device = 34,
  get_max_mem_slots = 36,
  add_mem_reg = 37,
  rem_mem_reg = 38,
  get_shmem_config = 44,
};
/// What we ask of the front-end, on a channel of its own.
enum class BackendRequest : std::uint32_t { shmem_map = 9, shmem_unmap = 10 };

namespace header {
inline constexpr std::uint32_t kVersionMask = 3, kVersion = 1, kReply = 1u << 2, kNeedReply = 1u << 3;
}
struct Header {
  std::uint32_t request, flags, size;
};

/// Bits of GET_FEATURES.
namespace feature {
inline constexpr std::uint64_t kIndirect = 1ull << 28, kEventIdx = 1ull << 29, kProtocolFeatures = 1ull << 30,
                               kVersion1 = 1ull << 32;
inline constexpr std::uint64_t kOffered = kIndirect | kEventIdx | kProtocolFeatures | kVersion1;
}  // namespace feature

/// Bits of GET_PROTOCOL_FEATURES: each is offered only if it is implemented, because a request without its answer
/// freezes a virtual machine.
namespace protocol_feature {
inline constexpr std::uint64_t kSeveralQueues = 1ull << 0, kReplyAck = 1ull << 3, kBackendRequests = 1ull << 5,
                               kConfig = 1ull << 9, kBackendSendFd = 1ull << 10, kInflight = 1ull << 12,
                               kResetDevice = 1ull << 13, kMemorySlots = 1ull << 15;
inline constexpr std::uint64_t kOffered =
    kSeveralQueues | kReplyAck | kConfig | kInflight | kResetDevice | kMemorySlots;
/// Those of a device with a DAX window, but for the one that says so: its number was another one in drafts.
inline constexpr std::uint64_t kOfWindow = kBackendRequests | kBackendSendFd;
inline constexpr unsigned kSharedMemoryBit = 22;
}  // namespace protocol_feature

/// Of SET_MEM_TABLE, ADD_MEM_REG and REM_MEM_REG.
struct MemoryRegion {
  std::uint64_t guest_address, size, user_address, file_offset;
};
struct MemoryTableHead {
  std::uint32_t regions, padding;
};
struct OneMemoryRegion {
  std::uint64_t padding;
  MemoryRegion region;
};
inline constexpr std::size_t kMaxTableRegions = 8;  ///< that one message can hold

struct VringState {
  std::uint32_t index, value;
};
/// Addresses are those of the front-end's own process.
struct VringAddresses {
  std::uint32_t index, flags;
  std::uint64_t descriptors, used, available, log;
};
/// The payload of SET_VRING_KICK, CALL and ERR.
namespace vring_fd {
inline constexpr std::uint64_t kIndexMask = 0xff, kNoDescriptor = 1u << 8;
}

/// Of GET_INFLIGHT_FD and SET_INFLIGHT_FD.
struct Inflight {
  std::uint64_t size, offset;
  std::uint16_t queues, queue_size;
};

struct ConfigHead {
  std::uint32_t offset, size, flags;
};
inline constexpr std::size_t kMaxConfig = 256;

/// The answer to GET_SHMEM_CONFIG; sizes by region.
struct SharedMemoryConfig {
  std::uint32_t regions, padding;
  std::uint64_t sizes[256];
};
inline constexpr std::uint8_t kWindowRegion = 0;  ///< what the driver of virtio-fs takes for its DAX window
/// Of SHMEM_MAP and SHMEM_UNMAP.
struct SharedMemoryMap {
  std::uint8_t region, padding[7];
  std::uint64_t file_offset, window_offset, length, flags;  ///< flags 0: to be read only
};

inline constexpr std::size_t kMaxTag = 36;
/// What GET_CONFIG reads (`virtio_fs_config`).
struct Config {
  char tag[kMaxTag];
  std::uint32_t request_queues;
};
static_assert(sizeof(Config) == 40);

}  // namespace stellarium::virtiofsd::protocol
