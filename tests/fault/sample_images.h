#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "tools/server/store.h"

namespace stellarium::test {

/// Opens a store as the server does, but without the ballast, whose making would take most of a trial's time.
Result<std::unique_ptr<server::Store>> open_store(const std::filesystem::path& dir, Io& io = system_io());

/// A small image whose every byte is known without asking the store that holds it.
struct SampleImage {
  struct Entry {
    std::uint32_t mode = 0;  ///< as in st_mode
    std::string bytes;       ///< of a file, or the target of a symlink
  };
  std::string name;                      ///< NAME:TAG
  std::map<std::string, Entry> entries;  ///< by path from "/", the root itself not included

  std::string tar() const;
  /// Files of all the sizes that are stored differently: inline, packed, one chunk, several frames, programs. Two
  /// thirds of them depend on `seed`.
  static SampleImage make(const std::string& name, std::uint64_t seed);
};

Result<void> import(server::Store& store, const SampleImage& image);

/// What comparing an image in a store with what it should be shows.
struct Comparison {
  std::vector<std::string> wrong;   ///< served without an error, and not what was imported
  std::vector<std::string> lost;    ///< paths that are refused with an error; "" if the image is refused as a whole
  std::vector<std::string> errors;  ///< what the refusals said
};
/// Compares names, modes, targets, sizes and bytes, read as the transport reads them and, of programs, as hot files.
Comparison compare(server::Store& store, const SampleImage& image);

/// `fsck --deep` on an open store: its exit code and all it printed.
std::pair<int, std::string> fsck(server::Store& store);

}  // namespace stellarium::test
