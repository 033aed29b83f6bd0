#include "fs/tar_import.h"

#include <sys/stat.h>
#include <time.h>

#include <optional>

#include "fs/import_member.h"
#include "fs/layer_builder.h"
#include "fs/path_key.h"
#include "fs/program.h"
#include "fs/tar_reader.h"

namespace stellarium::fs {
namespace {

/// Why a member cannot be taken, in one readable line: control bytes of its path are shown as '?'.
tl::unexpected<Error> refuse_member(const std::string& path, const Error& error) {
  std::string shown = path.substr(0, 200);
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = '?';
  }
  return fail(error, "member " + (shown.empty() ? "without a name" : shown) + (path.size() > 200 ? "…" : ""));
}

class TarImport {
 public:
  TarImport(cas::WriteSession& session, LayerBuilder& builder, ByteInput& stream, ImportObserver& observer)
      : session_{session}, builder_{builder}, archive_{stream}, observer_{observer} {}

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
    count(inode->mode);
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
    inode.size = static_cast<std::uint64_t>(member.size);
    inode.program = (inode.mode & 0111) != 0;
    if (inode.size == 0) return {};
    const Result<void> taken = inode.size <= kMaxInlineContent ? take_inline(inode) : take_content(inode);
    if (!taken) return taken;
    observer_.content(path, inode.body == Body::content ? inode.content : cas::hash_of(as_bytes(inode.inline_bytes)),
                      inode.size);
    return {};
  }

  // The next part of the data, checked against what came before and against the declared size.
  Result<std::optional<ArchiveBlock>> next_block(std::uint64_t position, std::uint64_t size) {
    Result<std::optional<ArchiveBlock>> block = archive_.data();
    if (!block || !*block) return block;
    const std::uint64_t offset = (*block)->offset;
    if (offset < position) return fail(Errc::invalid_argument, "a sparse map that goes backwards");
    if (offset > size || (*block)->bytes.size() > size - offset)
      return fail(Errc::invalid_argument, "more data than its size says");
    if (Result<void> going = report_progress(); !going) return fail(going.error());
    return block;
  }

  Result<void> take_inline(Inode& inode) {
    inode.body = Body::inline_;
    while (true) {
      const Result<std::optional<ArchiveBlock>> block = next_block(inode.inline_bytes.size(), inode.size);
      if (!block) return fail(block.error());
      if (!*block) break;
      inode.inline_bytes.resize(static_cast<std::size_t>((*block)->offset), '\0');
      inode.inline_bytes += as_text((*block)->bytes);
      inode.allocated += (*block)->bytes.size();
    }
    inode.inline_bytes.resize(static_cast<std::size_t>(inode.size), '\0');
    inode.program = inode.program || is_elf(as_bytes(inode.inline_bytes));
    return {};
  }

  Result<void> take_content(Inode& inode) {
    std::unique_ptr<cas::ContentWriter> writer;
    const auto begin = [&](ByteSpan start) {
      inode.program = is_program(inode.mode, start);
      writer = session_.begin(inode.program ? cas::Placement::program : cas::Placement::data);
    };
    std::optional<Result<cas::ContentId>> id;
    std::uint64_t position = 0;
    while (true) {
      const Result<std::optional<ArchiveBlock>> block = next_block(position, inode.size);
      if (!block) return fail(block.error());
      if (!*block) break;
      const auto& [offset, bytes] = **block;
      if (bytes.empty()) continue;
      if (!writer) begin(offset == 0 ? bytes : ByteSpan{});
      if (Result<void> hole = writer->append_zeros(offset - position); !hole) return hole;
      inode.allocated += bytes.size();
      position = offset + bytes.size();
      if (position == inode.size) {
        id = writer->finish(bytes);
      } else if (Result<void> appended = writer->append(bytes); !appended) {
        return appended;
      }
    }
    if (!id) {
      if (!writer) begin({});
      if (Result<void> hole = writer->append_zeros(inode.size - position); !hole) return hole;
      id = writer->finish();
    }
    if (!*id) return fail(id->error());
    inode.body = Body::content;
    inode.content = **id;
    return {};
  }

  void count(std::uint32_t mode) {
    if (S_ISREG(mode)) {
      ++report.files;
    } else if (S_ISDIR(mode)) {
      ++report.directories;
    } else if (S_ISLNK(mode)) {
      ++report.links;
    } else {
      ++report.others;
    }
  }

  cas::WriteSession& session_;
  LayerBuilder& builder_;
  TarReader archive_;
  ImportObserver& observer_;
  std::uint64_t members_ = 0;
};

/// What is under way of one import once its stream was read.
class Sealing {
 public:
  Sealing(cas::Database& database, Catalog& catalog, LayerBuilder& builder, cas::WriteSession& session)
      : database_{database}, catalog_{catalog}, builder_{builder}, session_{session} {}

  Result<void> run(ImportReport& report) {
    session_.begin_commit();  // the layer's records are made meanwhile
    const Result<cas::Hash> fingerprint = builder_.assemble();
    if (!fingerprint) return fail(fingerprint.error());
    auto sealed = catalog_.find_sealed(*fingerprint);
    if (!sealed) return fail(sealed.error());
    // One whose layer object was damaged, or cannot be looked up, is made anew.
    if (*sealed && session_.knows((*sealed)->image.manifest, (*sealed)->image.manifest_size).value_or(false))
      return name_again(**sealed, report);
    return make(*fingerprint, report);
  }

 private:
  /// The same tree is in the store already: it gets one more name.
  Result<void> name_again(const Catalog::SealedLayer& sealed, ImportReport& report) {
    Image image = sealed.image;
    image.name = report.image.name;
    image.source = report.image.source;
    report.image = std::move(image);
    if (Result<void> committed = session_.commit(); !committed) return committed;
    return publish(report, {});
  }

  // The order makes it safe: records and contents are durable before the one small batch that makes them an image.
  Result<void> make(const cas::Hash& fingerprint, ImportReport& report) {
    Result<Catalog::NewLayer> layer = catalog_.begin_layer();
    if (!layer) return fail(layer.error());
    Result<void> done = seal(*layer, report);
    if (done) done = publish(report, fingerprint);
    if (!done) {
      layer->pin.reset();
      (void)catalog_.sweep();  // records that are in the database already go now, not at the next gc
    }
    return done;
  }

  Result<void> seal(const Catalog::NewLayer& layer, ImportReport& report) {
    const Result<LayerBuilder::Sealed> sealed = builder_.seal(database_, layer.layer, session_);
    if (!sealed) return fail(sealed.error());
    Image& image = report.image;
    image.layer = layer.layer;
    image.tree = layer.tree;
    image.manifest = sealed->manifest;
    image.manifest_size = sealed->manifest_size;
    image.files = sealed->files;
    image.bytes = sealed->bytes;
    return session_.commit();
  }

  Result<void> publish(ImportReport& report, const cas::Hash& fingerprint) {
    timespec created{};
    ::clock_gettime(CLOCK_REALTIME, &created);
    report.image.created = {created.tv_sec, static_cast<std::uint32_t>(created.tv_nsec)};
    report.totals = session_.totals();
    return catalog_.publish(report.image, fingerprint);
  }

  cas::Database& database_;
  Catalog& catalog_;
  LayerBuilder& builder_;
  cas::WriteSession& session_;
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
  if (Result<void> done = Sealing{database, catalog, builder, *session}.run(report); !done) return fail(done.error());
  return report;
}

}  // namespace stellarium::fs
