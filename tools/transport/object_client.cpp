#include "tools/transport/object_client.h"

#include <algorithm>
#include <future>
#include <utility>

namespace stellarium::transport {
namespace {

constexpr std::size_t kMaxListed = 16u << 20;  // objects of one listing: all of them are in memory

}  // namespace

ObjectClient::ObjectClient(protocol::Channel channel)
    : channel_{std::move(channel)}, receiver_{[this] { receive(); }} {}

ObjectClient::~ObjectClient() {
  channel_.shut_down();
  receiver_.join();
  end_all(Error{Errc::cancelled, "no longer wanted", 0});
}

void ObjectClient::ask(ObjectType type, Question question, const AskedPtr& asked, ByteSpan data) {
  std::optional<Error> lost;
  {
    const MutexLock lock{mutex_};
    lost = lost_;
    question.number = next_++;
    if (!lost) asked_.emplace(question.number, asked);
  }
  if (lost) return asked->ended(fail(*lost), *asked);
  Result<void> sent = channel_.send(wire(type), question.encode());
  for (std::size_t at = 0; sent && at < data.size(); at += kMaxData)
    sent = channel_.send(wire(ObjectType::data),
                         encode_data(question.number, as_text(data.subspan(at, std::min(kMaxData, data.size() - at)))));
  if (sent) return;
  {
    const MutexLock lock{mutex_};
    if (asked_.erase(question.number) == 0) return;  // the receiver has ended it
  }
  asked->ended(fail(std::move(sent).error()), *asked);
}

Result<Answer> ObjectClient::ask_and_wait(ObjectType type, Question question, const AskedPtr& asked, ByteSpan data) {
  const auto promise = std::make_shared<std::promise<Result<Answer>>>();
  auto future = promise->get_future();
  asked->ended = [promise](Result<Answer> answer, Asked&) { promise->set_value(std::move(answer)); };
  ask(type, std::move(question), asked, data);
  auto answer = future.get();
  if (answer && answer->error) return fail(*answer->error);
  return answer;
}

void ObjectClient::fetch(cdn::ObjectRequest request, Done done) {
  if (request.size.value_or(0) > kMaxObject)  // a question that the other end would not take
    return done(fail(Errc::invalid_argument,
                     request.path + ": at most " + std::to_string(kMaxObject) + " bytes are fetched at once"));
  const auto asked = std::make_shared<Asked>();
  asked->limit = std::min(request.size.value_or(request.limit), kMaxObject);
  const auto size = request.size;
  asked->ended = [done = std::move(done), size](Result<Answer> answer, Asked& end) {
    if (!answer) return done(fail(std::move(answer).error()));
    if (answer->error) return done(fail(*std::move(answer->error)));
    if (size && end.bytes.size() != *size) return done(fail(Errc::unavailable, "another size than was asked for came"));
    done(std::move(end.bytes));
  };
  ask(ObjectType::fetch, {.number = 0, .request = std::move(request), .replace = false}, asked);
}

bool ObjectClient::is_lost() const {
  const MutexLock lock{mutex_};
  return lost_.has_value();
}

cdn::ObjectReader::Counters ObjectClient::counters() const {
  const MutexLock lock{mutex_};
  return counters_;
}

Result<std::optional<std::uint64_t>> ObjectClient::size_of(const std::string& path) {
  const auto answer = ask_and_wait(ObjectType::size_of, {.number = 0, .request = {.path = path}, .replace = false},
                                   std::make_shared<Asked>());
  if (!answer) return fail(answer.error());
  return answer->found ? std::optional{answer->value} : std::nullopt;
}

Result<std::optional<std::string>> ObjectClient::read(const std::string& path, std::uint64_t limit) {
  const auto asked = std::make_shared<Asked>();
  asked->limit = std::min(limit, kMaxObject);
  Question question;
  question.request.path = path;
  question.request.limit = asked->limit;
  const auto answer = ask_and_wait(ObjectType::read, std::move(question), asked);
  if (!answer) return fail(answer.error());
  return answer->found ? std::optional{std::move(asked->bytes)} : std::nullopt;
}

Result<void> ObjectClient::write(const std::string& path, ByteSpan bytes, Existing existing) {
  if (bytes.size() > kMaxObject)
    return fail(Errc::invalid_argument, path + ": objects have at most " + std::to_string(kMaxObject) + " bytes");
  Question question;
  question.request.path = path;
  question.request.size = bytes.size();
  question.replace = existing == Existing::replace;
  const auto answer = ask_and_wait(ObjectType::write, std::move(question), std::make_shared<Asked>(), bytes);
  if (!answer) return fail(answer.error());
  return {};
}

Result<void> ObjectClient::list(const std::string& prefix, const std::function<Result<void>(const Listed&)>& found) {
  const auto asked = std::make_shared<Asked>();
  asked->lists = true;
  Question question;
  question.request.path = prefix;
  const auto answer = ask_and_wait(ObjectType::list, std::move(question), asked);
  if (!answer) return fail(answer.error());
  for (const Listed& listed : asked->listed)
    if (auto told = found(listed); !told) return told;
  return {};
}

Result<void> ObjectClient::remove(const std::string& path) {
  Question question;
  question.request.path = path;
  const auto answer = ask_and_wait(ObjectType::remove, std::move(question), std::make_shared<Asked>());
  if (!answer) return fail(answer.error());
  return {};
}

ObjectClient::AskedPtr ObjectClient::find(std::uint64_t number) {
  const MutexLock lock{mutex_};
  const auto found = asked_.find(number);
  return found == asked_.end() ? nullptr : found->second;
}

Result<void> ObjectClient::take(const protocol::Frame& frame) {
  const auto unexpected = [] { return fail(Errc::invalid_argument, "the transport sent what nobody asked for"); };
  switch (static_cast<ObjectType>(frame.type)) {
    case ObjectType::data: {
      const auto data = Data::decode(frame.payload);
      if (!data) return fail(data.error());
      const AskedPtr asked = find(data->number);
      if (!asked || data->bytes.size() > asked->limit - asked->bytes.size()) return unexpected();
      // As much as comes, at once: it is copied over and over otherwise.
      if (asked->bytes.empty()) asked->bytes.reserve(std::min<std::uint64_t>(asked->limit, 4u << 20));
      asked->bytes += data->bytes;
      return {};
    }
    case ObjectType::listed: {
      auto listed = decode_listed(frame.payload);
      if (!listed) return fail(listed.error());
      const AskedPtr asked = find(listed->first);
      if (!asked || !asked->lists || asked->listed.size() == kMaxListed) return unexpected();
      asked->listed.push_back(std::move(listed->second));
      return {};
    }
    case ObjectType::answer: {
      auto answer = Answer::decode(frame.payload);
      if (!answer) return fail(answer.error());
      AskedPtr asked;
      {
        const MutexLock lock{mutex_};
        const auto found = asked_.find(answer->number);
        if (found == asked_.end()) return unexpected();
        asked = std::move(found->second);
        asked_.erase(found);
        counters_ = answer->counters;
      }
      asked->ended(*std::move(answer), *asked);
      return {};
    }
    default:
      return unexpected();
  }
}

void ObjectClient::receive() {
  while (true) {
    auto frame = channel_.receive();
    Result<void> taken = frame ? take(*frame) : Result<void>{fail(frame.error())};
    if (taken) continue;
    channel_.shut_down();
    if (taken.error().code == Errc::unavailable) taken = fail(Errc::unavailable, "the transport to the remote ended");
    return end_all(taken.error());
  }
}

void ObjectClient::end_all(const Error& error) {
  std::unordered_map<std::uint64_t, AskedPtr> ended;
  {
    const MutexLock lock{mutex_};
    if (!lost_) lost_ = error;
    ended.swap(asked_);
  }
  for (const auto& [number, asked] : ended) asked->ended(fail(error), *asked);
}

}  // namespace stellarium::transport
