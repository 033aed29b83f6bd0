#include "cdn/oci/layer_import.h"

#include <sys/stat.h>

#include <string_view>

#include "fs/import_member.h"
#include "fs/member_body.h"
#include "fs/path_key.h"
#include "fs/records.h"
#include "fs/tar_reader.h"

namespace stellarium::cdn::oci {
namespace {

// OCI image-spec 1.1, "Whiteouts". Other names with the second prefix are what AUFS kept for itself.
constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOwnOfAufs = ".wh..wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";

struct Split {
  std::string_view directory, name;
};

Split split(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return {.directory = {}, .name = path};
  return {.directory = path.substr(0, slash), .name = path.substr(slash + 1)};
}

}  // namespace

class LayerImport::Reading {
 public:
  Reading(LayerImport& layer, fs::ByteInput& tar)
      : layer_{layer}, archive_{tar}, body_{layer.session_, archive_, [this] { return report_progress(); }} {}

  Result<void> run() {
    while (true) {
      Result<std::optional<fs::ArchiveMember>> member = archive_.next();
      if (!member) return fail(member.error());
      if (!*member) break;
      ++layer_.members_;
      if (Result<void> taken = take(**member); !taken) return fs::refuse_member((*member)->path, taken.error());
      if (Result<void> going = report_progress(); !going) return going;
    }
    Result<void> drained = archive_.drain();
    layer_.bytes_ += archive_.stream_bytes();
    return drained;
  }

 private:
  Result<void> report_progress() {
    if (layer_.observer_.progress(layer_.bytes_ + archive_.stream_bytes(), layer_.members_)) return {};
    return fail(Errc::cancelled, "the import was stopped");
  }

  Result<void> take(fs::ArchiveMember& member) {
    const Result<std::string> path = fs::normal_path(member.path);
    if (!path) return fail(path.error());
    if (split(*path).name.starts_with(kWhiteout)) return take_whiteout(member, *path);
    if (member.nfs4_acl) layer_.observer_.note(member.path + ": its NFSv4 ACL was skipped");
    const auto reference = fs::take_content_reference(member);
    if (!reference) return fail(reference.error());
    // Who knows the id of a content could have it; a layer is somebody else's.
    if (*reference) return fail(Errc::invalid_argument, "it names a content by its id");
    if (member.hard_link) return take_link(member, *path);
    Result<fs::Inode> inode = fs::inode_of(member);
    if (!inode) return fail(inode.error());
    if (S_ISREG(inode->mode)) {
      if (Result<void> taken = body_.take(member, *inode); !taken) return taken;
    }
    layer_.report_.count(inode->mode);
    return layer_.tree_.add(*path, *inode, member.xattrs);
  }

  Result<void> take_whiteout(const fs::ArchiveMember& member, std::string_view path) {
    const auto [directory, name] = split(path);
    // If it has data, nobody wants them, but the layer's recipe may name them.
    fs::Inode nobody;
    if (S_ISREG(member.mode) && !member.hard_link) {
      if (Result<void> taken = body_.take(member, nobody); !taken) return taken;
    }
    if (name == kOpaque) return layer_.tree_.make_opaque(directory);
    if (name.starts_with(kOwnOfAufs)) return {};
    const std::string_view hidden = name.substr(kWhiteout.size());
    if (!fs::valid_name(hidden)) return fail(Errc::invalid_argument, "a whiteout of no name");
    return layer_.tree_.white_out(directory.empty() ? std::string{hidden}
                                                    : std::string{directory} + "/" + std::string{hidden});
  }

  Result<void> take_link(const fs::ArchiveMember& member, const std::string& path) {
    ++layer_.report_.links;
    const Result<std::string> target = fs::normal_path(*member.hard_link);
    if (!target) return fail(target.error(), "a hard link to " + *member.hard_link);
    if (member.size == 0) return layer_.tree_.add_link(path, *target);
    // As star writes it (fs/tar_import.cpp): the data are beside the last name.
    if (!S_ISREG(member.mode)) return fail(Errc::invalid_argument, "a hard link with data, but no regular file");
    Result<fs::Inode> inode = fs::inode_of(member);
    if (!inode) return fail(inode.error());
    if (Result<void> taken = body_.take(member, *inode); !taken) return taken;
    if (Result<void> added = layer_.tree_.add(path, *inode, member.xattrs); !added) return added;
    return layer_.tree_.add_link(*target, path);
  }

  LayerImport& layer_;
  fs::TarReader archive_;
  fs::MemberBody body_;
};

Result<void> LayerImport::run(fs::ByteInput& tar) {
  tree_.begin_layer();
  return Reading{*this, tar}.run();
}

}  // namespace stellarium::cdn::oci
