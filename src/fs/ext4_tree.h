#pragma once
#include "base/result.h"
#include "fs/byte_stream.h"
#include "fs/ext4_image.h"
#include "fs/tree_emitter.h"

namespace stellarium::fs {

/// Writes all files of a disk image as a pax stream, as `emit_tree` writes those of a mounted one: in byte order of
/// names, parents first, hard links as links to their first name, holes as sparse maps. An empty lost+found of the root
/// is left out: it belongs to the disk.
///
/// Of the observer only `note` and `progress` are called. Runs in the command process: no privilege is needed, and the
/// kernel never sees the image.
///
/// Memory:  the names of the folders on the way, and a path for every file of several names.
/// Errors:  those of Ext4Image, with the path; corrupt, too, if a folder lies in itself or in two places;
///          invalid_argument for a path of 64 KiB or more.
Result<void> emit_ext4_tree(Ext4Image& image, ByteOutput& out, EmitObserver& observer);

}  // namespace stellarium::fs
