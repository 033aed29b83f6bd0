// Records that nobody vouches for. The first byte says what the rest is; what decodes must be what its encoder writes.
#include <cstdlib>
#include <string>

#include "fs/quota_records.h"
#include "fs/records.h"

using namespace stellarium;
using namespace stellarium::fs;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes{reinterpret_cast<const char*>(data) + 1, size - 1};
  if (data[0] == 0xff) {
    if (const auto quota = decode_quota(bytes); quota && *decode_quota(encode_quota(*quota)) != *quota) std::abort();
    return 0;
  }
  switch (data[0] % 7) {
    case 0:
      if (const auto inode = decode_inode(bytes); inode && *decode_inode(encode_inode(*inode)) != *inode) std::abort();
      break;
    case 1:
      if (const auto entry = decode_dirent(bytes); entry && *decode_dirent(encode_dirent(*entry)) != *entry)
        std::abort();
      break;
    case 2:
      if (const auto layer = decode_layer(bytes); layer && *decode_layer(encode_layer(*layer)) != *layer) std::abort();
      break;
    case 3:
      if (const auto name = decode_name(bytes); name && *decode_name(encode_name(*name)) != *name) std::abort();
      break;
    case 4:
      if (const auto key = decode_dirent_key(bytes);
          key && dirent_key(key->layer, key->parent, key->cookie, key->name) != bytes)
        std::abort();
      break;
    case 5:
      if (const auto key = decode_inode_key(bytes); key && inode_key(key->layer, key->ino) != bytes) std::abort();
      break;
    default:
      if (const auto key = decode_xattr_key(bytes); key && xattr_key(key->layer, key->ino, key->name) != bytes)
        std::abort();
  }
  return 0;
}
