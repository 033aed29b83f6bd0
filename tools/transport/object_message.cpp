#include "tools/transport/object_message.h"

#include "base/bytes.h"

namespace stellarium::transport {
namespace {

tl::unexpected<Error> malformed(const char* what) {
  return fail(Errc::invalid_argument, std::string{"a malformed "} + what + " of the transport");
}

constexpr std::uint8_t kLastErrc = static_cast<std::uint8_t>(Errc::io);

}  // namespace

std::string Question::encode() const {
  std::string out;
  put_le(out, number);
  put_le(out, static_cast<std::uint8_t>((request.size ? 1 : 0) | (replace ? 2 : 0)));
  put_le(out, static_cast<std::uint8_t>(request.urgency));
  put_varint(out, request.distrusted);
  put_varint(out, request.offset);
  put_varint(out, request.size.value_or(0));
  put_varint(out, request.limit);
  return out + request.path;
}

Result<Question> Question::decode(std::string_view payload) {
  ByteReader reader{as_bytes(payload)};
  Question question;
  question.number = reader.le<std::uint64_t>();
  const auto flags = reader.le<std::uint8_t>(), urgency = reader.le<std::uint8_t>();
  const std::uint64_t distrusted = reader.varint();
  question.request.offset = reader.varint();
  const std::uint64_t size = reader.varint();
  question.request.limit = reader.varint();
  if (!reader.ok() || flags > 3 || urgency > 2 || distrusted > 1000 || size > kMaxObject) return malformed("question");
  question.replace = (flags & 2) != 0;
  if ((flags & 1) != 0) question.request.size = size;
  question.request.urgency = static_cast<cdn::Urgency>(urgency);
  question.request.distrusted = static_cast<unsigned>(distrusted);
  question.request.path = reader.text(reader.left());
  return question;
}

std::string Answer::encode() const {
  std::string out;
  put_le(out, number);
  put_le(out, static_cast<std::uint8_t>((error ? 1 : 0) | (found ? 2 : 0)));
  put_le(out, static_cast<std::uint8_t>(error ? error->code : Errc::io));
  put_varint(out, static_cast<std::uint64_t>(error ? error->sys_errno : 0));
  put_varint(out, value);
  for (const std::uint64_t count : {counters.requests, counters.bytes, counters.retries, counters.hedges,
                                    counters.refused, counters.cut_short, counters.timed_out, counters.distrusted})
    put_varint(out, count);
  return out + (error ? error->context : "");
}

Result<Answer> Answer::decode(std::string_view payload) {
  ByteReader reader{as_bytes(payload)};
  Answer answer;
  answer.number = reader.le<std::uint64_t>();
  const auto flags = reader.le<std::uint8_t>(), code = reader.le<std::uint8_t>();
  const std::uint64_t sys_errno = reader.varint();
  answer.value = reader.varint();
  auto& counters = answer.counters;
  for (std::uint64_t* const count : {&counters.requests, &counters.bytes, &counters.retries, &counters.hedges,
                                     &counters.refused, &counters.cut_short, &counters.timed_out, &counters.distrusted})
    *count = reader.varint();
  if (!reader.ok() || flags > 3 || code > kLastErrc || sys_errno > 4095) return malformed("answer");
  answer.found = (flags & 2) != 0;
  if ((flags & 1) != 0)
    answer.error = Error{static_cast<Errc>(code), std::string{reader.text(reader.left())}, static_cast<int>(sys_errno)};
  return answer;
}

std::string encode_data(std::uint64_t number, std::string_view bytes) {
  std::string out;
  out.reserve(sizeof number + bytes.size());
  put_le(out, number);
  return out.append(bytes);
}

Result<Data> Data::decode(std::string_view payload) {
  ByteReader reader{as_bytes(payload)};
  const auto number = reader.le<std::uint64_t>();
  if (!reader.ok() || reader.left() == 0 || reader.left() > kMaxData) return malformed("piece of data");
  return Data{number, reader.text(reader.left())};
}

std::string encode_listed(std::uint64_t number, const cdn::ObjectTarget::Listed& listed) {
  std::string out;
  put_le(out, number);
  put_le(out, listed.size);
  put_le(out, static_cast<std::uint64_t>(listed.written));
  return out + listed.path;
}

Result<std::pair<std::uint64_t, cdn::ObjectTarget::Listed>> decode_listed(std::string_view payload) {
  ByteReader reader{as_bytes(payload)};
  const auto number = reader.le<std::uint64_t>();
  cdn::ObjectTarget::Listed listed;
  listed.size = reader.le<std::uint64_t>();
  listed.written = static_cast<std::int64_t>(reader.le<std::uint64_t>());
  listed.path = reader.text(reader.left());
  if (!reader.ok() || !cdn::is_object_path(listed.path)) return malformed("listing");
  return std::pair{number, std::move(listed)};
}

}  // namespace stellarium::transport
