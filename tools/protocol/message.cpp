#include "tools/protocol/message.h"

#include "base/bytes.h"
#include "tools/protocol/channel.h"

namespace stellarium::protocol {
namespace {

constexpr std::string_view kMagic = "STLRCMD1";
constexpr std::size_t kMaxWords = 4096;
constexpr std::size_t kEntryOverhead = cas::Hash::kSize + 10 + 10;  // id and two varints

void put_text(std::string& out, std::string_view text) {
  put_varint(out, text.size());
  out.append(text);
}

std::string take_text(ByteReader& in) {
  const std::uint64_t size = in.varint();
  return std::string{in.text(size)};
}

Result<void> complete(const ByteReader& in, std::string_view what) {
  if (!in.at_end()) return fail(Errc::invalid_argument, "a malformed " + std::string{what} + " message");
  return {};
}

}  // namespace

std::string Hello::encode() const {
  std::string out{kMagic};
  put_le(out, version);
  put_text(out, build);
  return out;
}

Result<Hello> Hello::decode(std::string_view payload) {
  ByteReader in{as_bytes(payload)};
  const bool ours = in.text(kMagic.size()) == kMagic;
  Hello hello;
  hello.version = in.le<std::uint16_t>();
  if (!ours || !in.ok()) return fail(Errc::invalid_argument, "a malformed hello message");
  if (hello.version != kProtocolVersion) return hello;  // what follows is for that version to say
  hello.build = take_text(in);
  if (auto ok = complete(in, "hello"); !ok) return fail(ok.error());
  return hello;
}

std::string Welcome::encode() const {
  std::string out;
  put_le(out, version);
  put_text(out, build);
  put_text(out, store_uuid);
  put_le(out, server_pid);
  return out;
}

Result<Welcome> Welcome::decode(std::string_view payload) {
  ByteReader in{as_bytes(payload)};
  Welcome welcome;
  welcome.version = in.le<std::uint16_t>();
  welcome.build = take_text(in);
  welcome.store_uuid = take_text(in);
  welcome.server_pid = in.le<std::uint32_t>();
  if (auto ok = complete(in, "welcome"); !ok) return fail(ok.error());
  return welcome;
}

std::string Request::encode() const {
  std::string out;
  put_le(out, static_cast<std::uint8_t>(wants_progress));
  put_varint(out, words.size());
  for (const std::string& word : words) put_text(out, word);
  return out;
}

Result<Request> Request::decode(std::string_view payload) {
  ByteReader in{as_bytes(payload)};
  Request request;
  const auto flags = in.le<std::uint8_t>();
  request.wants_progress = flags == 1;
  const std::uint64_t count = in.varint();
  if (flags > 1 || count > kMaxWords) return fail(Errc::invalid_argument, "a malformed request message");
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) request.words.push_back(take_text(in));
  if (auto ok = complete(in, "request"); !ok) return fail(ok.error());
  return request;
}

std::string Progress::encode() const {
  std::string out;
  put_text(out, phase);
  put_varint(out, done);
  put_varint(out, total);
  put_varint(out, files);
  put_le(out, static_cast<std::uint8_t>(bytes));
  return out;
}

Result<Progress> Progress::decode(std::string_view payload) {
  ByteReader in{as_bytes(payload)};
  Progress progress;
  progress.phase = take_text(in);
  progress.done = in.varint();
  progress.total = in.varint();
  progress.files = in.varint();
  const auto unit = in.le<std::uint8_t>();
  progress.bytes = unit == 1;
  if (auto ok = complete(in, "progress"); !ok || unit > 1)
    return fail(Errc::invalid_argument, "a malformed progress message");
  return progress;
}

bool ContentList::has_room_for(std::size_t path_bytes) const {
  return encoded_bytes_ + kEntryOverhead + 10 + path_bytes <= kMaxPayload;
}

void ContentList::add(Entry entry) {
  encoded_bytes_ += kEntryOverhead + entry.path.size();
  entries.push_back(std::move(entry));
}

std::string ContentList::encode() const {
  std::string out;
  put_varint(out, entries.size());
  for (const Entry& entry : entries) {
    put_bytes(out, entry.id.span());
    put_varint(out, entry.size);
    put_text(out, entry.path);
  }
  return out;
}

Result<ContentList> ContentList::decode(std::string_view payload) {
  ByteReader in{as_bytes(payload)};
  ContentList list;
  const std::uint64_t count = in.varint();
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    Entry entry;
    const auto id = cas::Hash::from_bytes(in.take(cas::Hash::kSize));
    if (id) entry.id = *id;
    entry.size = in.varint();
    entry.path = take_text(in);
    list.add(std::move(entry));
  }
  if (auto ok = complete(in, "contents"); !ok) return fail(ok.error());
  return list;
}

std::string ContentQuestion::encode() const {
  std::string out;
  put_varint(out, contents.size());
  for (const Entry& entry : contents) {
    put_bytes(out, entry.id.span());
    put_varint(out, entry.size);
  }
  return out;
}

Result<ContentQuestion> ContentQuestion::decode(std::string_view payload) {
  ByteReader in{as_bytes(payload)};
  ContentQuestion question;
  const std::uint64_t count = in.varint();
  if (count > kMaxContents) return fail(Errc::invalid_argument, "a malformed question message");
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    const auto id = cas::Hash::from_bytes(in.take(cas::Hash::kSize));
    question.contents.push_back({id.value_or(cas::ContentId{}), in.varint()});
  }
  if (auto ok = complete(in, "question"); !ok) return fail(ok.error());
  return question;
}

std::string ContentAnswer::encode() const {
  std::string out;
  put_varint(out, present.size());
  for (const bool one : present) put_le(out, static_cast<std::uint8_t>(one));
  return out;
}

Result<ContentAnswer> ContentAnswer::decode(std::string_view payload) {
  ByteReader in{as_bytes(payload)};
  ContentAnswer answer;
  const std::uint64_t count = in.varint();
  bool plain = count <= ContentQuestion::kMaxContents;
  for (std::uint64_t i = 0; i < count && plain && in.ok(); ++i) {
    const auto one = in.le<std::uint8_t>();
    plain = one <= 1;
    answer.present.push_back(one == 1);
  }
  if (!plain) return fail(Errc::invalid_argument, "a malformed answer message");
  if (auto ok = complete(in, "answer"); !ok) return fail(ok.error());
  return answer;
}

}  // namespace stellarium::protocol
