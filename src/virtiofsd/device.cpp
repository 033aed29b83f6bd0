#include "virtiofsd/device.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "base/log.h"
#include "virtiofsd/guest_request.h"

namespace stellarium::virtiofsd {
namespace {

using protocol::Request;

constexpr int kBeforeGivingWay = 256;  // requests of one queue before a worker looks at the others
constexpr unsigned kComplaints = 100;  // of one machine: a log is not for a guest to fill

std::string name_of(const FrontendMessage& message) {
  return "message " + std::to_string(message.header.request);
}

/// The message's payload as what it must be.
template <typename T>
Result<T> read(const FrontendMessage& message) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  if (message.payload.size() != sizeof value)
    return fail(Errc::invalid_argument,
                name_of(message) + " with " + std::to_string(message.payload.size()) + " bytes");
  std::memcpy(&value, message.payload.data(), sizeof value);
  return value;
}

template <typename T>
std::vector<std::byte> bytes_of(const T& value) {
  const ByteSpan bytes = std::as_bytes(std::span{&value, 1});
  return {bytes.begin(), bytes.end()};
}

/// Of messages that say nothing back but whether they were obeyed.
template <typename Answer>
Result<Answer> obeyed(const Result<void>& done) {
  if (!done) return fail(done.error());
  return Answer{};
}

bool is_eventfd(int fd) {
  char target[32];
  const ssize_t size = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), target, sizeof target);
  return size > 0 && std::string_view{target, static_cast<std::size_t>(size)} == "anon_inode:[eventfd]";
}

}  // namespace

std::shared_ptr<Device> Device::create(UniqueFd frontend, std::shared_ptr<fs::fuse::Session> session,
                                       const Options& options, std::shared_ptr<EventWorkers> workers,
                                       std::shared_ptr<WindowChannel> window) {
  return std::shared_ptr<Device>{
      new Device{std::move(frontend), std::move(session), options, std::move(workers), std::move(window)}};
}

Device::Device(UniqueFd frontend, std::shared_ptr<fs::fuse::Session> session, const Options& options,
               std::shared_ptr<EventWorkers> workers, std::shared_ptr<WindowChannel> window)
    : frontend_{std::move(frontend)},
      session_{std::move(session)},
      options_{options},
      workers_{std::move(workers)},
      window_{std::move(window)} {
  for (unsigned i = 0; i <= options_.request_queues; ++i) queues_.push_back(std::make_unique<Queue>());
}

Device::~Device() = default;

bool Device::serve_frontend() {
  while (true) {
    FrontendMessage message;
    switch (frontend_.receive(message)) {
      case FrontendSocket::Received::nothing:
        return true;
      case FrontendSocket::Received::gone:
        log::info("virtio-fs {}: {}", options_.tag, frontend_.why());
        return false;
      case FrontendSocket::Received::message:
        break;
    }
    const MutexLock lock{mutex_};
    if (ended_ || !answer(message)) return false;
  }
}

bool Device::answer(FrontendMessage& message) {
  const Result<Answer> answer = obey(message);
  if (!answer) complain(to_string(answer.error()));
  Result<void> sent{};
  if (answer && *answer) {
    sent = frontend_.reply(message, (*answer)->bytes, (*answer)->descriptor.get());
  } else if (message.needs_reply() && (protocol_features_ & protocol::protocol_feature::kReplyAck) != 0) {
    sent = frontend_.reply(message, bytes_of(std::uint64_t{answer ? 0u : 1u}));
  } else if (!answer) {
    return false;  // whoever waits for an answer that does not come would wait for ever
  }
  if (!sent) log::warn("virtio-fs {}: {}", options_.tag, to_string(sent.error()));
  return sent.has_value();
}

void Device::end() {
  const MutexLock lock{mutex_};
  ended_ = true;
  stop_all();  // first: a request that is served just now may still have to map something, or the guest hears an error
  if (window_) window_->set_channel({});
}

void Device::stop_all() {
  for (const auto& queue : queues_) stop(*queue);
}

Result<Device::Answer> Device::obey(FrontendMessage& message) {
  switch (static_cast<Request>(message.header.request)) {
    case Request::get_features:
      return bytes_of(protocol::feature::kOffered);
    case Request::set_features: {
      const auto wanted = read<std::uint64_t>(message);
      if (!wanted) return fail(wanted.error());
      if ((*wanted & ~protocol::feature::kOffered) != 0)
        return fail(Errc::invalid_argument, "features that were not offered");
      features_ = *wanted;
      return std::nullopt;
    }
    case Request::get_protocol_features:
      return bytes_of(offered_protocol_features());
    case Request::set_protocol_features: {
      const auto wanted = read<std::uint64_t>(message);
      if (!wanted) return fail(wanted.error());
      protocol_features_ = *wanted & offered_protocol_features();
      return std::nullopt;
    }
    case Request::set_backend_req_fd:
      return obeyed<Answer>(set_window_channel(message));
    case Request::get_shmem_config: {
      protocol::SharedMemoryConfig config{};
      if (window_) {
        config.regions = 1;
        config.sizes[protocol::kWindowRegion] = window_->size();
      }
      return bytes_of(config);
    }
    case Request::set_owner:
    case Request::reset_owner:
      return std::nullopt;
    case Request::reset_device:
      stop_all();
      return std::nullopt;
    case Request::get_queue_num:
      return bytes_of(std::uint64_t{queues_.size()});
    case Request::get_max_mem_slots:
      return bytes_of(std::uint64_t{GuestMemory::kMaxRegions});
    case Request::set_mem_table:
      return obeyed<Answer>(set_memory_table(message));
    case Request::add_mem_reg:
      return obeyed<Answer>(add_memory(message));
    case Request::rem_mem_reg:
      return obeyed<Answer>(remove_memory(message));
    case Request::get_config:
      return get_config(message);
    case Request::get_inflight_fd:
      return get_inflight(message);
    case Request::set_inflight_fd:
      return obeyed<Answer>(set_inflight(message));
    case Request::set_config:
      return fail(Errc::not_supported, "the device's configuration cannot be written");
    default:
      return obey_about_queues(message);
  }
}

std::uint64_t Device::offered_protocol_features() const {
  namespace feature = protocol::protocol_feature;
  const std::uint64_t offered = options_.tells_tag ? feature::kOffered : feature::kOffered & ~feature::kConfig;
  return window_ ? offered | feature::kOfWindow | 1ull << options_.shared_memory_bit : offered;
}

Result<Device::Answer> Device::get_inflight(const FrontendMessage& message) const {
  const auto wanted = read<protocol::Inflight>(message);
  if (!wanted) return fail(wanted.error());
  auto made = InflightRegion::make(wanted->queues, wanted->queue_size);
  if (!made) return fail(made.error());
  return Payload{bytes_of(protocol::Inflight{made->second, 0, wanted->queues, wanted->queue_size}),
                 std::move(made->first)};
}

/// From the next start of the queues on.
Result<void> Device::set_inflight(FrontendMessage& message) {
  const auto wanted = read<protocol::Inflight>(message);
  if (!wanted) return fail(wanted.error());
  if (message.descriptors.size() != 1) return fail(Errc::invalid_argument, name_of(message) + " without its file");
  const auto region = InflightRegion::map(std::move(message.descriptors.front()), wanted->size, wanted->offset,
                                          wanted->queues, wanted->queue_size);
  if (!region) return fail(region.error());
  if ((*region)->queues() < queues_.size()) return fail(Errc::invalid_argument, "tracking of too few queues");
  for (std::size_t i = 0; i < queues_.size(); ++i)
    queues_[i]->ring.set_inflight((*region)->queue(static_cast<std::uint16_t>(i)));
  return {};
}

Result<void> Device::set_window_channel(FrontendMessage& message) {
  if (!window_) return fail(Errc::not_supported, "a channel for requests that a device without a window has not");
  struct stat status {};
  if (message.descriptors.size() != 1 || ::fstat(message.descriptors.front().get(), &status) != 0 ||
      !S_ISSOCK(status.st_mode))
    return fail(Errc::invalid_argument, name_of(message) + " without a socket");
  window_->set_channel(std::move(message.descriptors.front()));
  return {};
}

Result<Device::Answer> Device::get_config(const FrontendMessage& message) const {
  protocol::ConfigHead head;
  if (message.payload.size() < sizeof head) return fail(Errc::invalid_argument, name_of(message) + " is too short");
  std::memcpy(&head, message.payload.data(), sizeof head);
  protocol::Config config{};
  std::memcpy(config.tag, options_.tag.data(), std::min(options_.tag.size(), sizeof config.tag));
  config.request_queues = options_.request_queues;
  // The whole space can be read; behind what the device has it is empty.
  if (head.offset > protocol::kMaxConfig || head.size > protocol::kMaxConfig - head.offset)
    return std::vector<std::byte>{};
  std::array<std::byte, protocol::kMaxConfig> space{};
  std::memcpy(space.data(), &config, sizeof config);
  std::vector<std::byte> answer = bytes_of(head);
  answer.insert(answer.end(), space.begin() + head.offset, space.begin() + head.offset + head.size);
  return answer;
}

Result<void> Device::set_memory_table(FrontendMessage& message) {
  protocol::MemoryTableHead head;
  if (message.payload.size() < sizeof head) return fail(Errc::invalid_argument, name_of(message) + " is too short");
  std::memcpy(&head, message.payload.data(), sizeof head);
  if (head.regions > protocol::kMaxTableRegions || head.regions != message.descriptors.size() ||
      message.payload.size() != sizeof head + head.regions * sizeof(protocol::MemoryRegion))
    return fail(Errc::invalid_argument,
                "a memory table of " + std::to_string(head.regions) + " regions that has others");
  GuestMemory memory;
  for (std::uint32_t i = 0; i < head.regions; ++i) {
    protocol::MemoryRegion wanted;
    std::memcpy(&wanted, message.payload.data() + sizeof head + i * sizeof wanted, sizeof wanted);
    auto region = GuestRegion::map(wanted, std::move(message.descriptors[i]));
    if (!region) return fail(region.error());
    auto more = memory.with(std::move(*region));
    if (!more) return fail(more.error());
    memory = std::move(*more);
  }
  return use_memory(std::move(memory));
}

Result<void> Device::add_memory(FrontendMessage& message) {
  const auto wanted = read<protocol::OneMemoryRegion>(message);
  if (!wanted) return fail(wanted.error());
  if (message.descriptors.size() != 1) return fail(Errc::invalid_argument, "guest memory without its file");
  auto region = GuestRegion::map(wanted->region, std::move(message.descriptors.front()));
  if (!region) return fail(region.error());
  auto more = memory_.with(std::move(*region));
  if (!more) return fail(more.error());
  return use_memory(std::move(*more));
}

Result<void> Device::remove_memory(const FrontendMessage& message) {
  const auto wanted = read<protocol::OneMemoryRegion>(message);
  if (!wanted) return fail(wanted.error());
  auto less = memory_.without(wanted->region);
  if (!less) return fail(less.error());
  return use_memory(std::move(*less));
}

Result<void> Device::use_memory(GuestMemory memory) {
  memory_ = std::move(memory);
  const auto shared = std::make_shared<const GuestMemory>(memory_);
  Result<void> used{};
  for (const auto& queue : queues_) {
    if (auto moved = queue->ring.set_memory(shared); !moved) used = std::move(moved);
  }
  return used;
}

Result<Device::Queue*> Device::queue_at(std::uint64_t index) {
  if (index >= queues_.size())
    return fail(Errc::invalid_argument, "queue " + std::to_string(index) + " of " + std::to_string(queues_.size()));
  return queues_[index].get();
}

Result<Device::Answer> Device::obey_about_queues(FrontendMessage& message) {
  switch (static_cast<Request>(message.header.request)) {
    case Request::set_vring_kick:
    case Request::set_vring_call:
    case Request::set_vring_err:
      return obeyed<Answer>(set_descriptor(message));
    case Request::set_vring_addr: {
      const auto wanted = read<protocol::VringAddresses>(message);
      if (!wanted) return fail(wanted.error());
      const auto queue = queue_at(wanted->index);
      if (!queue) return fail(queue.error());
      (*queue)->layout.descriptors = wanted->descriptors;
      (*queue)->layout.available = wanted->available;
      (*queue)->layout.used = wanted->used;
      return std::nullopt;
    }
    default:
      break;
  }
  const auto state = read<protocol::VringState>(message);
  switch (static_cast<Request>(message.header.request)) {
    case Request::set_vring_num:
    case Request::set_vring_base:
    case Request::get_vring_base:
    case Request::set_vring_enable:
      break;
    default:
      return fail(Errc::not_supported, name_of(message) + " is not known");
  }
  if (!state) return fail(state.error());
  const auto queue = queue_at(state->index);
  if (!queue) return fail(queue.error());
  switch (static_cast<Request>(message.header.request)) {
    case Request::set_vring_num:
      (*queue)->layout.size = state->value;
      return std::nullopt;
    case Request::set_vring_base:
      (*queue)->layout.base = static_cast<std::uint16_t>(state->value);
      return std::nullopt;
    case Request::get_vring_base:
      return bytes_of(protocol::VringState{state->index, stop(**queue)});
    default: {
      (*queue)->ring.enable(state->value != 0);
      // What came while it was off waits without a new kick.
      const std::uint64_t one = 1;
      if (state->value != 0 && (*queue)->kick) (void)!::write((*queue)->kick.get(), &one, sizeof one);
      return std::nullopt;
    }
  }
}

Result<void> Device::set_descriptor(FrontendMessage& message) {
  const auto what = read<std::uint64_t>(message);
  if (!what) return fail(what.error());
  const auto queue = queue_at(*what & protocol::vring_fd::kIndexMask);
  if (!queue) return fail(queue.error());
  UniqueFd descriptor;
  if ((*what & protocol::vring_fd::kNoDescriptor) == 0) {
    if (message.descriptors.size() != 1 || !is_eventfd(message.descriptors.front().get()))
      return fail(Errc::invalid_argument, name_of(message) + " without an eventfd");
    descriptor = std::move(message.descriptors.front());
    // Neither a kick that somebody took nor a call that nobody takes is waited for.
    ::fcntl(descriptor.get(), F_SETFL, ::fcntl(descriptor.get(), F_GETFL) | O_NONBLOCK);
  }
  switch (static_cast<Request>(message.header.request)) {
    case Request::set_vring_call:
      (*queue)->ring.set_call(std::move(descriptor));
      return {};
    case Request::set_vring_kick:
      if (!descriptor) return fail(Errc::not_supported, "a queue that is to be polled");
      return start(**queue, std::move(descriptor));
    default:
      return {};  // nothing is told by way of the third one
  }
}

Result<void> Device::start(Queue& queue, UniqueFd kick) {
  queue.layout.base = stop(queue);
  queue.layout.event_idx = (features_ & protocol::feature::kEventIdx) != 0;
  queue.layout.indirect = (features_ & protocol::feature::kIndirect) != 0;
  queue.ring.set_layout(queue.layout);
  if (auto started = queue.ring.start(); !started) return started;
  if ((features_ & protocol::feature::kProtocolFeatures) == 0) queue.ring.enable(true);
  UniqueFd watched{::fcntl(kick.get(), F_DUPFD_CLOEXEC, 3)};
  if (!watched) return fail_errno("duplicating a descriptor");
  auto watching = workers_->add(std::move(watched),
                                [device = shared_from_this(), &queue](int descriptor, EventWorkers::Buffers buffers) {
                                  std::uint64_t kicks = 0;
                                  (void)!::read(descriptor, &kicks, sizeof kicks);
                                  const std::uint64_t again = 1;
                                  if (!device->serve(queue.ring, buffers))
                                    (void)!::write(descriptor, &again, sizeof again);
                                  return true;
                                });
  if (!watching) return fail(watching.error());
  queue.watched = *watching;
  queue.kick = std::move(kick);
  // Requests may have been put into it before anybody listened.
  const std::uint64_t one = 1;
  (void)!::write(queue.kick.get(), &one, sizeof one);
  return {};
}

std::uint16_t Device::stop(Queue& queue) {
  if (const auto watched = std::exchange(queue.watched, std::nullopt)) workers_->remove(*watched);
  if (!queue.kick) return queue.layout.base;
  queue.layout.base = queue.ring.stop();
  queue.kick.reset();
  return queue.layout.base;
}

bool Device::serve(GuestQueue& queue, EventWorkers::Buffers buffers) {
  for (int served = 0; served < kBeforeGivingWay; ++served) {
    auto taken = queue.take();
    if (!taken) return true;
    const char* fault = taken->chain.fault;
    const GuestRequest brought = take_in(taken->chain, taken->again, buffers.message);
    if (fault == nullptr && brought.message.empty() && taken->chain.readable_bytes != 0)
      fault = "a request that is too long";
    // Given back with nothing written if it cannot be served.
    const auto reply = std::make_shared<GuestReply>(shared_from_this(), queue, std::move(*taken));
    if (fault != nullptr) {
      complain(fault);
      continue;
    }
    session_->handle(brought.message, reply, buffers.scratch, brought.data);
  }
  return false;
}

void Device::complain(const std::string& what) {
  const unsigned said = complaints_.fetch_add(1, std::memory_order_relaxed);
  if (said < kComplaints) log::warn("virtio-fs {}: {}", options_.tag, what);
  if (said == kComplaints) log::warn("virtio-fs {}: and so on; nothing more is said of this machine", options_.tag);
}

}  // namespace stellarium::virtiofsd
