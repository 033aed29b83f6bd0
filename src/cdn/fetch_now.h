#pragma once
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "base/result.h"
#include "cdn/objects.h"

namespace stellarium::cdn {

/// Fetches one object and waits for it. Errors: those of the reader.
inline Result<std::string> fetch_now(ObjectReader& reader, ObjectRequest request) {
  const auto promise = std::make_shared<std::promise<Result<std::string>>>();
  auto answer = promise->get_future();
  reader.fetch(std::move(request), [promise](Result<std::string> bytes) { promise->set_value(std::move(bytes)); });
  return answer.get();
}

}  // namespace stellarium::cdn
