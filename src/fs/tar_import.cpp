#include "fs/tar_import.h"

#include <sys/stat.h>

#include <optional>

#include "fs/import_member.h"
#include "fs/import_sealing.h"
#include "fs/layer_builder.h"
#include "fs/member_body.h"
#include "fs/path_key.h"
#include "fs/tar_reader.h"

namespace stellarium::fs {
namespace {

class TarImport {
 public:
  TarImport(cas::WriteSession& session, LayerBuilder& builder, ByteInput& stream, ImportObserver& observer)
      : session_{session}, builder_{builder}, archive_{stream}, observer_{observer}, body_{session, archive_, [this] {
                                                                                             return report_progress();
                                                                                           }} {}

  Result<void> run() {
    while (true) {
      Result<std::optional<ArchiveMember>> member = archive_.next();
      if (!member) return fail(member.error());
      if (!*member) break;
      if (Result<void> taken = take(**member); !taken) return refuse_member((*member)->path, taken.error());
      if (Result<void> going = report_progress(); !going) return going;
    }
    return archive_.drain();
  }

  ImportReport report;

 private:
  Result<void> report_progress() {
    if (observer_.progress(archive_.stream_bytes(), members_)) return {};
    return fail(Errc::cancelled, "the import was stopped");
  }

  Result<void> take(ArchiveMember& member) {
    ++members_;
    const Result<std::string> path = normal_path(member.path);
    if (!path) return fail(path.error());
    if (member.nfs4_acl) observer_.note(member.path + ": its NFSv4 ACL was skipped");
    const Result<std::optional<ContentReference>> reference = take_content_reference(member);
    if (!reference) return fail(reference.error());
    if (member.hard_link) return take_link(member, *path);
    Result<Inode> inode = inode_of(member);
    if (!inode) return fail(inode.error());
    if (S_ISREG(inode->mode)) {
      const Result<void> body = *reference ? take_known(**reference, *inode) : take_data(member, *path, *inode);
      if (!body) return body;
    }
    report.count(inode->mode);
    return builder_.add(*path, *inode, member.xattrs);
  }

  Result<void> take_link(ArchiveMember& member, const std::string& path) {
    ++report.links;
    const Result<std::string> target = normal_path(*member.hard_link);
    if (!target) return fail(target.error(), "a hard link to " + *member.hard_link);
    if (member.size == 0) return builder_.add_link(path, *target);
    // Some archivers (star) put the data beside the last name. Then that name is the file, and the one before it the
    // link.
    if (!S_ISREG(member.mode)) return fail(Errc::invalid_argument, "a hard link with data, but no regular file");
    Result<Inode> inode = inode_of(member);
    if (!inode) return fail(inode.error());
    if (Result<void> body = take_data(member, path, *inode); !body) return body;
    if (Result<void> added = builder_.add(path, *inode, member.xattrs); !added) return added;
    return builder_.add_link(*target, path);
  }

  Result<void> take_known(const ContentReference& reference, Inode& inode) {
    const Result<bool> present = session_.adopt(reference.id, reference.size);
    if (!present) return fail(present.error());
    if (!*present) return fail(Errc::unavailable, "content " + reference.id.hex() + " is no longer in the store");
    inode.size = reference.size;
    inode.allocated = reference.allocated;
    inode.body = Body::content;
    inode.content = reference.id;
    inode.program = (inode.mode & 0111) != 0 || reference.elf;
    return {};
  }

  Result<void> take_data(const ArchiveMember& member, const std::string& path, Inode& inode) {
    if (Result<void> taken = body_.take(member, inode); !taken || inode.size == 0) return taken;
    observer_.content(path, inode.body == Body::content ? inode.content : cas::hash_of(as_bytes(inode.inline_bytes)),
                      inode.size);
    return {};
  }

  cas::WriteSession& session_;
  LayerBuilder& builder_;
  TarReader archive_;
  ImportObserver& observer_;
  MemberBody body_;
  std::uint64_t members_ = 0;
};

}  // namespace

Result<ImportReport> import_tar(cas::Database& database, cas::ContentStore& contents, Catalog& catalog,
                                const std::filesystem::path& scratch, ByteInput& stream, const ImageName& name,
                                const std::string& source, ImportObserver& observer) {
  const std::unique_ptr<cas::WriteSession> session = contents.begin_session();
  observer.begins([&](const cas::ContentId& id, std::uint64_t size) { return session->knows(id, size); });
  LayerBuilder builder{scratch, {}};
  TarImport import{*session, builder, stream, observer};
  if (Result<void> done = import.run(); !done) return fail(done.error());
  observer.stream_taken();

  ImportReport report = import.report;
  report.image.name = name;
  report.image.source = source;
  if (Result<void> done = seal_import(database, catalog, builder, *session, report); !done) return fail(done.error());
  return report;
}

}  // namespace stellarium::fs
