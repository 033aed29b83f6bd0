#include "tools/keeper/link.h"

namespace stellarium::keeper {
std::string Record::encode() const {
  std::string out;
  put_varint(out, name.size());
  out += name;
  put_varint(out, blob.size());
  out += blob;
  return out;
}

Result<Record> Record::decode(protocol::Frame frame) {
  ByteReader in{as_bytes(frame.payload)};
  Record record;
  const std::uint64_t name_size = in.varint();
  record.name = std::string{in.text(name_size)};
  const std::uint64_t blob_size = in.varint();
  record.blob = std::string{in.text(blob_size)};
  if (!in.at_end() || record.name.empty() || record.name.size() > kMaxRecordName || record.blob.size() > kMaxBlob) {
    return fail(Errc::invalid_argument, "a malformed record");
  }
  if (frame.descriptors.empty()) return fail(Errc::invalid_argument, "a record without a descriptor");
  record.descriptors = std::move(frame.descriptors);
  return record;
}

Result<KeeperLink::Inheritance> KeeperLink::receive_inheritance() {
  MutexLock lock{mutex_};
  Inheritance inheritance;
  for (;;) {
    auto frame = channel_.receive();
    if (!frame) return fail(frame.error(), "taking over from the keeper");
    if (frame->type == wire(LinkType::start)) return inheritance;
    if (frame->type == wire(LinkType::listener) && frame->descriptors.size() == 1) {
      inheritance.listener = std::move(frame->descriptors.front());
    } else if (frame->type == wire(LinkType::record)) {
      auto record = Record::decode(std::move(*frame));
      if (!record) return fail(record.error(), "taking over from the keeper");
      inheritance.records.push_back(std::move(*record));
    } else {
      return fail(Errc::invalid_argument, "taking over from the keeper: an unknown message");
    }
  }
}

Result<void> KeeperLink::ready() {
  MutexLock lock{mutex_};
  return channel_.send(wire(LinkType::ready), {});
}

void KeeperLink::failed(std::string_view why) {
  MutexLock lock{mutex_};
  (void)channel_.send(wire(LinkType::failed), why.substr(0, kMaxBlob));  // a keeper that is gone has nobody to tell
}

void KeeperLink::stopping(Ending ending) {
  MutexLock lock{mutex_};
  const char byte = static_cast<char>(ending);
  (void)channel_.send(wire(LinkType::stopping), {&byte, 1});  // without it the keeper just starts the next server
}

Result<std::vector<UniqueFd>> KeeperLink::ask(LinkType type, std::string_view payload,
                                              const std::vector<UniqueFd>& descriptors) {
  std::vector<int> borrowed;
  for (const UniqueFd& fd : descriptors) borrowed.push_back(fd.get());
  MutexLock lock{mutex_};
  if (auto sent = channel_.send(wire(type), payload, borrowed); !sent)
    return fail(sent.error(), "the keeper does not answer");
  auto answer = channel_.receive();
  if (!answer) return fail(answer.error(), "the keeper does not answer");
  if (answer->type != wire(LinkType::done)) return fail(Errc::invalid_argument, "the keeper sent an unknown message");
  if (!answer->payload.empty()) return fail(Errc::invalid_argument, "the keeper refused: " + answer->payload);
  return std::move(answer->descriptors);
}

Result<void> KeeperLink::put(const Record& record) {
  if (record.blob.size() > kMaxBlob)
    return fail(Errc::invalid_argument, "a record of " + std::to_string(record.blob.size()) + " bytes");
  const auto put = ask(LinkType::put, record.encode(), record.descriptors);
  return put ? Result<void>{} : fail(put.error());
}

Result<void> KeeperLink::remove(std::string_view name) {
  const auto removed = ask(LinkType::remove, name, {});
  return removed ? Result<void>{} : fail(removed.error());
}

Result<UniqueFd> KeeperLink::start_transport(std::string_view remote) {
  auto started = ask(LinkType::transport, remote, {});
  if (!started) return fail(std::move(started).error());
  if (started->size() != 1) return fail(Errc::invalid_argument, "the keeper sent no socket");
  return std::move(started->front());
}

}  // namespace stellarium::keeper
