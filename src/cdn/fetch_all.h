#pragma once
#include <cstdint>
#include <functional>

#include "base/result.h"
#include "cas/content_store.h"
#include "cdn/fetch_plan.h"
#include "cdn/frame_fetcher.h"
#include "cdn/image_index.h"
#include "cdn/manifest.h"

namespace stellarium::cdn {

/// Called now and then with bytes fetched and to be fetched in all; false stops with `cancelled`.
using FetchProgress = std::function<bool(std::uint64_t done, std::uint64_t total)>;

/// Brings every chunk of an image that the store lacks into `session`, and the chunk lists of its contents once they
/// are seen to be right (content_checker.h). The caller commits. Returns the bytes that were fetched.
///
/// `most`: bytes of one request.
/// Errors: those of the fetcher, the store; corrupt (an index that is not true); cancelled.
[[nodiscard]] Result<std::uint64_t> fetch_all(cas::ContentStore& store, cas::WriteSession& session,
                                              FrameFetcher& fetcher, const Manifest& manifest,
                                              const ParsedIndex& parsed, const FetchProgress& progress,
                                              std::uint64_t most = kMaxRange);

}  // namespace stellarium::cdn
