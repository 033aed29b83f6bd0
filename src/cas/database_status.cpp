#include "cas/database_status.h"

#include <cerrno>

namespace stellarium::cas {
namespace {

Errc code_of(const rocksdb::Status& status) {
  if (status.IsNoSpace() || status.subcode() == rocksdb::Status::kSpaceLimit) return Errc::out_of_space;
  if (status.IsMemoryLimit() || status.IsIncomplete())
    return Errc::busy;  // the strict block cache is full of used blocks
  switch (status.code()) {
    case rocksdb::Status::kCorruption:
      return Errc::corrupt;
    case rocksdb::Status::kNotFound:
      return Errc::not_found;
    case rocksdb::Status::kInvalidArgument:
      return Errc::invalid_argument;
    case rocksdb::Status::kNotSupported:
      return Errc::not_supported;
    case rocksdb::Status::kBusy:
    case rocksdb::Status::kTryAgain:
    case rocksdb::Status::kTimedOut:
      return Errc::busy;
    default:
      return Errc::io;
  }
}

}  // namespace

tl::unexpected<Error> fail_status(const rocksdb::Status& status, const std::string& doing) {
  Error error{code_of(status), doing + ": " + status.ToString(), 0};
  if (error.code == Errc::out_of_space) error.sys_errno = ENOSPC;
  return fail(std::move(error));
}

}  // namespace stellarium::cas
