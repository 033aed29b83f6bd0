#include "tools/transport/object_server.h"

#include <algorithm>
#include <utility>

namespace stellarium::transport {

ObjectServer::ObjectServer(protocol::Channel channel, cdn::ObjectReader* reader, cdn::ObjectTarget* target)
    : channel_{std::move(channel)}, reader_{reader}, target_{target}, sender_{[this] { send_all(); }} {}

ObjectServer::~ObjectServer() {
  channel_.shut_down();  // who sends fails
  {
    MutexLock lock{mutex_};
    while (fetching_ != 0) lock.wait(changed_);  // their answers come here
    ending_ = true;
  }
  changed_.notify_all();
  sender_.join();
}

Result<void> ObjectServer::run() {
  while (true) {
    const auto frame = channel_.receive();
    if (!frame && frame.error().code == Errc::unavailable) return {};
    if (!frame) return fail(frame.error());
    if (auto taken = take(*frame); !taken) return taken;
  }
}

Result<void> ObjectServer::take(const protocol::Frame& frame) {
  const auto type = static_cast<ObjectType>(frame.type);
  if (type == ObjectType::data) return take_data(frame);
  auto question = Question::decode(frame.payload);
  if (!question) return fail(question.error());
  switch (type) {
    case ObjectType::fetch:
      begin_fetch(*std::move(question));
      return {};
    case ObjectType::write:
      if (question->request.size.value_or(0) != 0) {
        if (writing_.size() >= 256) return fail(Errc::invalid_argument, "too many objects are written at a time");
        writing_.emplace(question->number, Writing{*question, {}});
        return {};
      }
      [[fallthrough]];
    case ObjectType::size_of:
    case ObjectType::read:
    case ObjectType::list:
    case ObjectType::remove:
    case ObjectType::counters:
      do_target(type, *std::move(question), {});
      return {};
    default:
      return fail(Errc::invalid_argument, "a frame of type " + std::to_string(frame.type));
  }
}

Result<void> ObjectServer::take_data(const protocol::Frame& frame) {
  const auto data = Data::decode(frame.payload);
  if (!data) return fail(data.error());
  const auto found = writing_.find(data->number);
  if (found == writing_.end()) return fail(Errc::invalid_argument, "data of an object that is not written");
  Writing& writing = found->second;
  const std::uint64_t size = writing.question.request.size.value_or(0);
  if (data->bytes.size() > size - writing.bytes.size()) return fail(Errc::invalid_argument, "more data than was said");
  writing.bytes += data->bytes;
  if (writing.bytes.size() < size) return {};
  do_target(ObjectType::write, std::move(writing.question), std::move(writing.bytes));
  writing_.erase(found);
  return {};
}

void ObjectServer::begin_fetch(Question question) {
  const std::uint64_t number = question.number;
  if (reader_ == nullptr || !cdn::is_object_path(question.request.path))
    return answer(
        {.number = number, .error = Error{Errc::invalid_argument, "nothing can be fetched under that name", 0}});
  question.request.limit = std::min(question.request.limit, kMaxObject);
  {
    const MutexLock lock{mutex_};
    ++fetching_;
  }
  reader_->fetch(std::move(question.request), [this, number](Result<std::string> bytes) {
    Answer end{.number = number};
    if (bytes) {
      end.found = true;
      end.value = bytes->size();
      answer(std::move(end), *std::move(bytes));
    } else {
      end.error = std::move(bytes).error();
      answer(std::move(end));
    }
    // Under the lock: the destructor waits for it, and everything here is gone then.
    const MutexLock lock{mutex_};
    --fetching_;
    changed_.notify_all();
  });
}

void ObjectServer::do_target(ObjectType type, Question question, std::string bytes) {
  workers_.submit([this, type, question = std::move(question), bytes = std::move(bytes)]() mutable {
    Answer end{.number = question.number};
    if (type == ObjectType::counters) {
      end.found = true;
    } else if (target_ == nullptr) {
      end.error = Error{Errc::not_supported, "nothing can be published there", 0};
    } else {
      end = ask_target(*target_, type, question, bytes);
    }
    answer(std::move(end), type == ObjectType::read ? std::move(bytes) : std::string{});
  });
}

Answer ObjectServer::ask_target(cdn::ObjectTarget& target, ObjectType type, const Question& question,
                                std::string& bytes) {
  using Existing = cdn::ObjectTarget::Existing;
  const std::string& path = question.request.path;
  Answer end{.number = question.number};
  Result<void> done;
  if (type == ObjectType::size_of) {
    const auto size = target.size_of(path);
    if (!size) done = fail(size.error());
    end.found = size && size->has_value();
    end.value = end.found ? **size : 0;
  } else if (type == ObjectType::read) {
    auto read = target.read(path, std::min(question.request.limit, kMaxObject));
    if (!read) done = fail(read.error());
    end.found = read && read->has_value();
    if (end.found) bytes = **std::move(read);
    end.value = bytes.size();
  } else if (type == ObjectType::write) {
    done = target.write(path, as_bytes(bytes), question.replace ? Existing::replace : Existing::keep);
  } else if (type == ObjectType::list) {
    done = target.list(path, [&](const cdn::ObjectTarget::Listed& listed) -> Result<void> {
      send_later([this, frame = encode_listed(question.number, listed)] {
        return channel_.send(wire(ObjectType::listed), frame);
      });
      return {};
    });
  } else {
    done = target.remove(path);
  }
  if (!done) end.error = std::move(done).error();
  return end;
}

void ObjectServer::answer(Answer end, std::string bytes) {
  if (reader_ != nullptr) end.counters = reader_->counters();
  if (end.error && end.error->context.size() > 4096) end.error->context.resize(4096);
  send_later([this, end = std::move(end), bytes = std::move(bytes)]() -> Result<void> {
    for (std::size_t at = 0; at < bytes.size(); at += kMaxData) {
      const auto piece = std::string_view{bytes}.substr(at, kMaxData);
      if (auto sent = channel_.send(wire(ObjectType::data), encode_data(end.number, piece)); !sent) return sent;
    }
    return channel_.send(wire(ObjectType::answer), end.encode());
  });
}

void ObjectServer::send_later(std::function<Result<void>()> send) {
  {
    const MutexLock lock{mutex_};
    to_send_.push_back(std::move(send));
  }
  changed_.notify_all();
}

void ObjectServer::send_all() {
  while (true) {
    std::function<Result<void>()> send;
    {
      MutexLock lock{mutex_};
      while (to_send_.empty() && !ending_) lock.wait(changed_);
      if (to_send_.empty()) return;
      send = std::move(to_send_.front());
      to_send_.pop_front();
    }
    if (auto sent = send(); !sent) channel_.shut_down();  // the client is gone: `run` ends
  }
}

}  // namespace stellarium::transport
