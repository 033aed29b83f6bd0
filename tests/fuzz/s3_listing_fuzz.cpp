// Pages of an S3 listing that nobody vouches for, one after the other: what is found are paths of objects, each once
// and in order, and asking for the next page is always possible. Pages are separated by a byte that XML does not have.
#include <cstdlib>
#include <string>

#include "cdn/s3/listing.h"

using namespace stellarium;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view pages{reinterpret_cast<const char*>(data), size};
  cdn::s3::ListingWalk walk{"images/", "b"};
  std::string last;
  const auto found = [&](const cdn::ObjectTarget::Listed& listed) -> Result<void> {
    if (!cdn::is_object_path(listed.path) || !listed.path.starts_with("b") || listed.path <= last) std::abort();
    last = listed.path;
    return {};
  };
  while (!walk.ended()) {
    const std::size_t end = pages.find('\x01');
    if (!walk.take(pages.substr(0, end), found)) break;
    if (cdn::s3::canonical_query(walk.query()).empty()) std::abort();
    if (end == std::string_view::npos) break;
    pages.remove_prefix(end + 1);
  }
  return 0;
}
