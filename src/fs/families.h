#pragma once
#include <array>

#include "cas/database.h"

namespace stellarium::fs {

/// Layer 4, parent 8, cookie 8, name → child, type. A clone's own layer is asked first, and mostly has no such name.
inline constexpr cas::Family kDirentFamily{.name = "dirent", .prefix_size = 12, .mostly_absent = true};
inline constexpr cas::Family kInodeFamily{"inode", 4};           ///< layer 4, ino 8 → inode record
inline constexpr cas::Family kXattrFamily{"xattr", 12};          ///< layer 4, ino 8, name → value
inline constexpr cas::Family kLayerFamily{"layer"};              ///< layer 4 → state, tree, manifest, totals
inline constexpr cas::Family kFingerprintFamily{"fingerprint"};  ///< of a sealed layer 32 → layer
inline constexpr cas::Family kNameFamily{"name"};                ///< name NUL tag → layer, created, source, tree
inline constexpr cas::Family kCloneFamily{"clone"};  ///< clone NUL snapshot (or nothing) → layer, created, origin
inline constexpr cas::Family kAnswerFamily{"answer", 8};  ///< mount 8, slot 4 → request id, answer

inline constexpr cas::Family kQuotaFamily{"quota"};  ///< clone → how much it may hold (quota_records.h)

inline constexpr cas::Family kVolumeFamily{"volume"};     ///< name → volume_records.h
inline constexpr cas::Family kMapFamily{"map"};           ///< map 8 → its parent
inline constexpr cas::Family kExtentFamily{"extent", 8};  ///< map 8, block 8 → content of the block, or zeros

inline constexpr std::array kFamilies{&kDirentFamily, &kInodeFamily,  &kXattrFamily,  &kLayerFamily,
                                      &kNameFamily,   &kCloneFamily,  &kAnswerFamily, &kVolumeFamily,
                                      &kMapFamily,    &kExtentFamily, &kQuotaFamily,  &kFingerprintFamily};

}  // namespace stellarium::fs
