#pragma once
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cdn/http/attempt_plan.h"
#include "cdn/http/transfer.h"
#include "cdn/objects.h"

namespace stellarium::cdn::http {

/// One call of `fetch`, from when it leaves the queue: what it still needs, what of it is there, and who is asked.
struct FetchJob {
  FetchJob(ObjectRequest what, ObjectReader::Done then, AttemptPlan how)
      : request{std::move(what)}, done{std::move(then)}, plan{std::move(how)} {}

  const ObjectRequest request;
  const ObjectReader::Done done;
  AttemptPlan plan;
  Clock::time_point begun, deadline;
  std::vector<std::unique_ptr<Transfer>> transfers;  // none, one, or one and a second beside it
  bool new_connection = false;                       // after silence, and beside a slow one
  std::uint64_t held = 0;                            // bytes of memory that are kept free for it
  bool ended = false;

  // What earlier transfers brought.
  std::string body;
  std::optional<std::uint64_t> total;
  unsigned body_origin = 0;

  /// The most that one transfer brings.
  std::uint64_t reserved() const { return request.size.value_or(request.limit); }
  void hold() { held += reserved(); }
  /// What to ask `origin` for. An object whose size nobody knows beforehand may be another one elsewhere, so the parts
  /// of two origins do not go together.
  Asked asked(unsigned origin) {
    if (!request.size && origin != body_origin) forget();
    const bool same = origin == body_origin && !body.empty();
    return {request.offset, request.size, request.limit, body.size(), same ? total : std::nullopt};
  }
  void forget() {
    body = {};
    total = std::nullopt;
  }
  /// Keeps what a transfer brought that did not get to its end. Returns the bytes that were not there before.
  std::uint64_t keep(Transfer& transfer) {
    const std::uint64_t start = transfer.start(), reached = start + transfer.part().size();
    if (reached <= body.size() || !fits(transfer)) return 0;
    const std::uint64_t gained = reached - body.size();
    join(transfer);
    total = transfer.judgement().total;
    body_origin = transfer.origin();
    return gained;
  }
  /// Whether what was there when it began is there still.
  bool fits(const Transfer& transfer) const { return transfer.start() <= body.size(); }
  /// Puts a transfer's part, which fits, behind that.
  void join(Transfer& transfer) {
    body.resize(std::min<std::size_t>(body.size(), transfer.start()));
    if (body.empty())
      body = std::move(transfer.part());
    else
      body += transfer.part();
  }
};

}  // namespace stellarium::cdn::http
