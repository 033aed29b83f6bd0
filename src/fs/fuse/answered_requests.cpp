#include "fs/fuse/answered_requests.h"

#include "fs/families.h"
#include "fs/records.h"

namespace stellarium::fs::fuse {
namespace {

std::string mount_prefix(std::uint64_t mount) {
  std::string key;
  put_be(key, mount);
  return key;
}

}  // namespace

Result<void> AnsweredRequests::started(bool resumed) {
  if (!resumed) return erase(database_, mount_);
  const std::string prefix = mount_prefix(mount_);
  const MutexLock lock{mutex_};
  const auto cursor = database_.scan(kAnswerFamily, prefix, prefix_end(prefix));
  for (; cursor->valid(); cursor->next()) {
    ByteReader key{as_bytes(cursor->key().substr(prefix.size()))};
    const auto slot = key.be<std::uint32_t>();
    ByteReader value{as_bytes(cursor->value())};
    const auto request = value.le<std::uint64_t>();
    if (!key.at_end() || !value.ok()) return fail(Errc::corrupt, "the record of an answered request is malformed");
    earlier_.insert_or_assign(request, std::string{value.text(value.left())});
    for (; next_ < slot; ++next_) free_.push_back(next_);
    ++next_;
    inherited_.push_back(slot);
  }
  inherited_until_ = Clock::now() + kResent;
  return cursor->status();
}

std::optional<std::string> AnsweredRequests::find(const Request& request) const {
  if (!request.resent()) return std::nullopt;
  const MutexLock lock{mutex_};
  const auto found = earlier_.find(request.id());
  if (found == earlier_.end()) return std::nullopt;
  return found->second;
}

bool AnsweredRequests::left_to_next_server(const Error& error, bool may_fail) {
  if (error.code != Errc::out_of_space || !database_.stopped()) return false;
  return !may_fail || told_.exchange(true);
}

void AnsweredRequests::Slot::note(cas::Database::Batch& batch, ByteSpan payload) const {
  std::string key = mount_prefix(all_.mount_);
  put_be(key, number_);
  std::string value;
  put_le(value, request_);
  value += as_text(payload);
  batch.put(kAnswerFamily, key, value);
}

std::uint32_t AnsweredRequests::take() {
  const MutexLock lock{mutex_};
  if (!inherited_.empty() && Clock::now() >= inherited_until_) {
    free_.insert(free_.end(), inherited_.begin(), inherited_.end());
    inherited_.clear();
    earlier_.clear();
  }
  if (free_.empty()) return next_++;
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  return slot;
}

void AnsweredRequests::give_back(std::uint32_t slot) {
  const MutexLock lock{mutex_};
  free_.push_back(slot);
}

Result<void> AnsweredRequests::erase(cas::Database& database, std::uint64_t mount) {
  const std::string prefix = mount_prefix(mount);
  return database.erase_range(kAnswerFamily, prefix, prefix_end(prefix));
}

}  // namespace stellarium::fs::fuse
