#include "fs/fuse/session.h"

#include "base/log.h"
#include "fs/fuse/open_files.h"
#include "fs/fuse/parked_replies.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>

namespace stellarium::fs::fuse {
namespace {

// What every view wants. Locks stay with the kernel (they survive a restart there); the write-back cache would switch
// passthrough off. ALLOW_IDMAP is safe because POSIX_ACL makes the kernel check permissions itself.
constexpr std::uint64_t kCommonFeatures =
    abi::feature::kAsyncRead | abi::feature::kDoReaddirplus | abi::feature::kAsyncDio | abi::feature::kParallelDirops |
    abi::feature::kPosixAcl | abi::feature::kMaxPages | abi::feature::kCacheSymlinks | abi::feature::kInitExt |
    abi::feature::kHasResend | abi::feature::kAllowIdmap;

constexpr std::uint16_t kMaxBackground = 128;  // readahead that may be under way; the kernel's default is 12
constexpr std::uint16_t kCongestion = 96;
constexpr std::uint32_t kMaxReadahead = 1u << 20;
constexpr std::uint64_t kComplaints = 100;  // about one guest

bool opens_to_change(const Request& request) {
  if (request.opcode() != abi::Opcode::open) return false;
  Arguments arguments{request.arguments()};
  const auto in = arguments.fixed<abi::OpenIn>();
  return arguments.error() == 0 && opens_for_writing(in.flags);
}

}  // namespace

Result<abi::InitOut> negotiate(const abi::InitIn& in, std::uint64_t wanted, std::uint32_t max_write) {
  abi::InitOut out{};
  out.major = abi::kMajor;
  out.minor = abi::kMinor;
  if (in.major > abi::kMajor) return out;  // the kernel then asks again in our version
  if (in.major < abi::kMajor || in.minor < abi::kMinMinor) {
    return fail(Errc::not_supported, "the kernel speaks FUSE " + std::to_string(in.major) + "." +
                                         std::to_string(in.minor) + "; 7.31 (Linux 5.4) is needed");
  }
  std::uint64_t offered = in.flags;
  if ((offered & abi::feature::kInitExt) != 0) offered |= std::uint64_t{in.flags2} << 32;
  const std::uint64_t features = offered & (kCommonFeatures | wanted);
  out.minor = std::min(in.minor, abi::kMinor);
  out.flags = static_cast<std::uint32_t>(features);
  out.flags2 = static_cast<std::uint32_t>(features >> 32);
  out.max_readahead = std::min(in.max_readahead, kMaxReadahead);
  out.max_background = kMaxBackground;
  out.congestion_threshold = kCongestion;
  out.max_write = std::min(max_write, kMaxWrite);
  out.time_granularity = 1;
  out.max_pages = static_cast<std::uint16_t>(kMaxPayload >> 12);
  // Depth 1: overlayfs still stacks on our mount; backing files must not lie on a stacked file system themselves.
  if ((features & abi::feature::kPassthrough) != 0) out.max_stack_depth = 1;
  if ((features & abi::feature::kMapAlignment) != 0) out.map_alignment = 12;  // pages of 4 KiB
  return out;
}

std::uint64_t features_of(const abi::InitOut& out) {
  return out.flags | std::uint64_t{out.flags2} << 32;
}

void Session::resume(std::uint64_t features) {
  features_.store(features, std::memory_order_relaxed);
  filesystem_->started(features, true);
  ready_.store(true, std::memory_order_release);
}

void Session::handle(ByteSpan message, const std::shared_ptr<ReplySink>& sink, MutableByteSpan scratch,
                     ByteParts data) {
  const Result<Request> request =
      Request::parse(message, features_.load(std::memory_order_relaxed), peer_, processes_, data);
  if (!request) {
    counts_[0].fetch_add(1, std::memory_order_relaxed);
    // A guest may send as many as it likes.
    if (peer_ == Peer::host || counts_[0].load(std::memory_order_relaxed) <= kComplaints)
      log::warn("refused: {}", to_string(request.error()));
    abi::InHeader header;
    if (Request::read_header(message, header)) sink->send(header.unique, EINVAL, {});
    return;
  }
  // A library that throws takes the reply with it, and its destructor answers EIO.
  try {
    run(*request, Reply{sink, request->header().unique, scratch, &answered_bytes_});
  } catch (const std::exception& error) {
    log::error("request {} of opcode {}: {}", request->id(), request->header().opcode, error.what());
  }
}

void Session::run(const Request& request, Reply reply) {
  const Operation* operation = operation_of(request.header().opcode);
  counts_[operation == nullptr ? 0 : request.header().opcode].fetch_add(1, std::memory_order_relaxed);
  if (operation == nullptr) {
    reply.error(ENOSYS);
    return;
  }
  switch (request.opcode()) {
    case abi::Opcode::init:
      init(request, std::move(reply));
      return;
    case abi::Opcode::destroy:
      ready_.store(false, std::memory_order_release);
      reply.done();
      return;
    case abi::Opcode::interrupt:
      interrupt(request, std::move(reply));
      return;
    default:
      break;
  }
  if (operation->silent) reply.none();
  if (!ready()) {
    if (!operation->silent) reply.error(EIO);
  } else if (operation->run == nullptr) {
    reply.error(operation->refusal);
  } else if (read_only_ && (operation->changes || opens_to_change(request))) {
    reply.error(EROFS);
  } else {
    operation->run(*filesystem_, request, std::move(reply));
  }
}

void Session::interrupt(const Request& request, Reply reply) {
  Arguments arguments{request.arguments()};
  const auto in = arguments.fixed<abi::InterruptIn>();
  if (arguments.error() != 0) {
    reply.error(arguments.error());
    return;
  }
  reply.none();                               // the kernel waits for the answer to the request itself
  if (request.peer() == Peer::guest) return;  // whether its thread is being killed cannot be asked
  reply.sink()->parked().interrupt(in.unique & ~abi::kResentBit);
}

void Session::init(const Request& request, Reply reply) {
  abi::InitIn in{};
  const ByteSpan sent = request.arguments();
  if (sent.size() < abi::kInitInOldSize) {
    reply.error(EINVAL);
    return;
  }
  std::memcpy(&in, sent.data(), std::min(sent.size(), sizeof in));
  if (sent.size() < sizeof in) in.flags &= ~static_cast<std::uint32_t>(abi::feature::kInitExt);
  // With shifted mounts a kernel names users only in requests that make something, and of a guest's nothing else says
  // who asks.
  if (peer_ == Peer::guest) in.flags2 &= ~static_cast<std::uint32_t>(abi::feature::kAllowIdmap >> 32);
  const Result<abi::InitOut> out = negotiate(in, filesystem_->features(), filesystem_->max_write());
  if (!out) {
    log::error("{}", to_string(out.error()));
    reply.error(EPROTO);
    return;
  }
  if (in.major > abi::kMajor) {
    reply.value(*out);
    return;
  }
  // Ready before the answer: the first request may reach another worker before this thread goes on.
  features_.store(features_of(*out), std::memory_order_relaxed);
  filesystem_->started(features_of(*out), false);
  ready_.store(true, std::memory_order_release);
  if (reply.value(*out) != 0) ready_.store(false, std::memory_order_release);
}

std::uint64_t Session::requests() const {
  std::uint64_t sum = 0;
  for (const auto& count : counts_) sum += count.load(std::memory_order_relaxed);
  return sum;
}

std::vector<std::pair<std::string, std::uint64_t>> Session::requests_by_opcode() const {
  std::vector<std::pair<std::string, std::uint64_t>> found;
  for (std::uint32_t opcode = 0; opcode < kOpcodes; ++opcode) {
    const std::uint64_t count = counts_[opcode].load(std::memory_order_relaxed);
    const Operation* operation = operation_of(opcode);
    if (count != 0) found.emplace_back(operation == nullptr ? "UNKNOWN" : operation->name, count);
  }
  return found;
}

}  // namespace stellarium::fs::fuse
