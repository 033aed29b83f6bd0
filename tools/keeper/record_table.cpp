#include "tools/keeper/record_table.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/io.h"

namespace stellarium::keeper {
namespace {

constexpr std::string_view kMagic = "STLRKPR1";
constexpr std::size_t kMaxTable = RecordTable::kMaxRecords * (kMaxBlob + 256);

Result<void> set_close_on_exec(int fd, bool close) {
  if (::fcntl(fd, F_SETFD, close ? FD_CLOEXEC : 0) != 0) return fail_errno("keeping a descriptor");
  return {};
}

/// Takes the number of a descriptor that the previous program left open.
Result<UniqueFd> adopt(ByteReader& in) {
  const auto fd = static_cast<int>(in.le<std::uint32_t>());
  if (!in.ok() || fd < 3) return fail(Errc::invalid_argument, "a malformed keeper table");
  if (auto kept = set_close_on_exec(fd, true); !kept) return fail(kept.error());
  return UniqueFd{fd};
}

}  // namespace

Result<void> RecordTable::put(Record record) {
  if (records_.size() >= kMaxRecords && !records_.contains(record.name)) {
    return fail(Errc::out_of_space, "the keeper already holds " + std::to_string(kMaxRecords) + " records");
  }
  records_.insert_or_assign(record.name, std::move(record));
  return {};
}

Result<void> RecordTable::remove(const std::string& name) {
  if (records_.erase(name) == 0) return fail(Errc::not_found, "no record is called " + name);
  return {};
}

Result<int> RecordTable::bequeath(const std::vector<int>& also) const {
  std::string out{kMagic};
  const auto put_fd = [&out](int fd) -> Result<void> {
    put_le(out, static_cast<std::uint32_t>(fd));
    return set_close_on_exec(fd, false);
  };
  put_varint(out, also.size());
  for (const int fd : also) {
    if (auto kept = put_fd(fd); !kept) return fail(kept.error());
  }
  put_varint(out, records_.size());
  for (const auto& [name, record] : records_) {
    const std::string encoded = record.encode();
    put_varint(out, encoded.size());
    out += encoded;
    put_varint(out, record.descriptors.size());
    for (const UniqueFd& fd : record.descriptors) {
      if (auto kept = put_fd(fd.get()); !kept) return fail(kept.error());
    }
  }
  UniqueFd file{::memfd_create("stellarium-keeper", 0)};
  if (!file) return fail_errno("memfd_create");
  if (auto written = system_io().write_at(file.get(), as_bytes(out), 0); !written) return fail(written.error());
  return file.release();
}

Result<RecordTable::Inherited> RecordTable::inherit(int fd) {
  const UniqueFd file{fd};
  const auto status = system_io().status(file.get());
  if (!status) return fail(status.error());
  const auto size = static_cast<std::uint64_t>(status->st_size);
  if (size > kMaxTable) return fail(Errc::invalid_argument, "a malformed keeper table");
  std::string bytes(size, '\0');
  auto got = system_io().read_at(file.get(), std::as_writable_bytes(std::span{bytes}), 0);
  if (!got) return fail(got.error());

  ByteReader in{as_bytes(bytes)};
  if (in.text(kMagic.size()) != kMagic) return fail(Errc::invalid_argument, "a malformed keeper table");
  Inherited inherited;
  const std::uint64_t others = in.varint();
  for (std::uint64_t i = 0; i < others && in.ok(); ++i) {
    auto taken = adopt(in);
    if (!taken) return fail(taken.error());
    inherited.also.push_back(std::move(*taken));
  }
  const std::uint64_t count = in.varint();
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    protocol::Frame frame;
    const std::uint64_t encoded = in.varint();
    frame.payload = std::string{in.text(encoded)};
    const std::uint64_t descriptors = in.varint();
    for (std::uint64_t d = 0; d < descriptors && in.ok(); ++d) {
      auto taken = adopt(in);
      if (!taken) return fail(taken.error());
      frame.descriptors.push_back(std::move(*taken));
    }
    auto record = Record::decode(std::move(frame));
    if (!record) return fail(record.error());
    if (auto put = inherited.table.put(std::move(*record)); !put) return fail(put.error());
  }
  if (!in.at_end()) return fail(Errc::invalid_argument, "a malformed keeper table");
  return inherited;
}

}  // namespace stellarium::keeper
