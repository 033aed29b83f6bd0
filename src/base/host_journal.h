#pragma once
#include <sys/types.h>

namespace stellarium {

/// Whether the file system with this device number (`st_dev`) has a journal that commits all changes of names and
/// inodes in the order they were made: ext4 (not without its journal, as some machines have it) and XFS. An fdatasync
/// of a new file then makes its name durable, too.
///
/// False where that is not certain: other file systems, and when /proc or /sys are not mounted.
/// Cost: reads the mount table; for once, when a folder is opened.
bool has_ordered_journal(dev_t device);

}  // namespace stellarium
