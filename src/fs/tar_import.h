#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cas/content_store.h"
#include "cas/database.h"
#include "fs/byte_stream.h"
#include "fs/catalog.h"
#include "fs/import_sealing.h"

namespace stellarium::fs {

/// Whether the store has a content, so that the stream may refer to it.
using ContentLookup = std::function<Result<bool>(const cas::ContentId&, std::uint64_t size)>;

/// Told what an import is doing; called on the importing thread.
class ImportObserver {
 public:
  virtual ~ImportObserver() = default;
  /// `lookup` may be used until the import returns, on its thread. What it finds stays in the store until then.
  virtual void begins(const ContentLookup& /*lookup*/) {}
  /// Bytes of the stream read so far. Returning false cancels: the import ends with `cancelled` and leaves nothing.
  virtual bool progress(std::uint64_t /*stream_bytes*/, std::uint64_t /*files*/) { return true; }
  virtual void note(const std::string& /*line*/) {}  ///< something of a member was skipped
  /// A regular file of the stream is in the store under this id: what a stat cache remembers. In stream order.
  virtual void content(std::string_view /*path*/, const cas::ContentId& /*id*/, std::uint64_t /*size*/) {}
  /// The stream was read to its end. What remains takes a while, and no more contents come.
  virtual void stream_taken() {}
};

/// Reads one tar stream (pax, GNU, ustar; any compression that libarchive decodes itself) into a new sealed layer and
/// publishes it as `name`.
///
/// Members may come in any order; parents that are missing are made. A member whose content is already known may carry
/// only its id, in the pax attribute STELLARIUM.content (docs/formats/import-stream.md): the command process uses that
/// for files that its stat cache knows. Refused with one line that names the member: paths that leave the tree or pass
/// through a symlink, hard links to nothing, a file where a directory is, names over 255 bytes, malformed or cut
/// archives. Nothing of a refused import stays visible. Memory: bounded (entries beyond 48 MiB are sorted in files
/// under `scratch`). The result does not depend on threads or on earlier imports.
Result<ImportReport> import_tar(cas::Database& database, cas::ContentStore& contents, Catalog& catalog,
                                const std::filesystem::path& scratch, ByteInput& stream, const ImageName& name,
                                const std::string& source, ImportObserver& observer);

}  // namespace stellarium::fs
