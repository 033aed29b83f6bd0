#include "fs/fuse/request.h"

#include <cerrno>
#include <string>
#include <utility>

namespace stellarium::fs::fuse {

bool Request::read_header(ByteSpan message, abi::InHeader& header) {
  if (message.size() < sizeof header) return false;
  std::memcpy(&header, message.data(), sizeof header);
  return true;
}

Result<Request> Request::parse(ByteSpan message, std::uint64_t features, Peer peer, const HostProcesses* processes,
                               ByteParts data) {
  Request request;
  request.data_ = data;
  request.features_ = features;
  request.peer_ = peer;
  request.processes_ = processes == nullptr ? &processes_in_proc() : processes;
  if (!read_header(message, request.header_)) {
    return fail(Errc::invalid_argument, "FUSE request of " + std::to_string(message.size()) + " bytes has no header");
  }
  const std::uint64_t size = message.size() + size_of(data);
  if (request.header_.len != size) {
    return fail(Errc::invalid_argument,
                "FUSE request says " + std::to_string(request.header_.len) + " bytes and has " + std::to_string(size));
  }
  const ByteSpan body = message.subspan(sizeof(abi::InHeader));
  const std::size_t extensions = std::size_t{request.header_.extension_units} * 8;
  if (extensions > body.size()) return fail(Errc::invalid_argument, "FUSE request's extensions exceed its body");
  request.arguments_ = body.first(body.size() - extensions);
  return request;
}

std::string_view Arguments::text(std::size_t max, int too_long) {
  const std::string_view all = as_text(rest_);
  const std::size_t end = all.find('\0');
  if (error_ != 0) return {};
  if (end == std::string_view::npos || end == 0) {
    refuse(EINVAL);
    return {};
  }
  if (end > max) {
    refuse(too_long);
    return {};
  }
  rest_ = rest_.subspan(end + 1);
  return all.substr(0, end);
}

std::string_view Arguments::name() {
  const std::string_view found = text(abi::kMaxName, ENAMETOOLONG);
  if (found.find('/') != std::string_view::npos) {
    refuse(EINVAL);
    return {};
  }
  return found;
}

std::string_view Arguments::entry_name() {
  const std::string_view found = name();
  if (found == "." || found == "..") {
    refuse(EINVAL);
    return {};
  }
  return found;
}

ByteSpan Arguments::rest(std::size_t size) {
  if (error_ == 0 && rest_.size() != size) refuse(EINVAL);
  return std::exchange(rest_, {});
}

}  // namespace stellarium::fs::fuse
