#pragma once
#include "base/result.h"
#include "fs/staging.h"

// Staged files of which a hole means something else than zeros (volume.h): what of them is there must be exactly what
// was written.
//
// A power failure leaves blocks that the host had allocated for a write which did not reach the disk. They read as
// zeros, and as soon as a read beside them brought those into the page cache, lseek(2) takes them for data. While the
// host runs that cannot happen, so each file is looked at once a boot, and remembers of which in an extended attribute.
// Without such attributes each file is looked at whenever it is opened.
namespace stellarium::fs {

/// The boot in which all of a file's blocks that nobody wrote had been made holes.
inline constexpr const char* kExactInBoot = "user.stellarium.exact";

/// To be called before anything else is done with a staged file that is open; who writes it without having called it,
/// or takes its `places()` before, must not be at it. Cost: 2 µs the first time; after a start of the host a sync of
/// the file and 1 µs for each extent. Errors: those of Staging; io.
[[nodiscard]] Result<void> make_holes_exact(Staging& staging, Staging::File& file);
/// Whether the host's file system knows holes of one place (places.h): tried on a new file, which is empty again
/// afterwards. Cost: about 20 µs. Errors: io, out_of_space.
[[nodiscard]] Result<bool> has_hole_map(int fd);
/// The file is new: there is nothing to look at until the host starts again.
void mark_holes_exact(Staging::File& file);

}  // namespace stellarium::fs
