#include "cdn/oci/image_files.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "cdn/oci/archive_index.h"
#include "cdn/oci/documents.h"

namespace stellarium::cdn::oci {
namespace {

constexpr const char* kLayoutFile = "oci-layout";
constexpr const char* kIndexFile = "index.json";
constexpr const char* kDockerFile = "manifest.json";

Result<FilePart> missing(const std::string& name) {
  return fail(Errc::not_found, "there is no " + name.substr(0, 120) + " in it");
}

class FolderFiles final : public ImageFiles {
 public:
  FolderFiles(UniqueFd folder, Form form) : folder_{std::move(folder)}, form_{form} {}
  Form form() const override { return form_; }
  Result<FilePart> part(const std::string& name) const override {
    open_how how{};
    how.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    UniqueFd file{static_cast<int>(::syscall(SYS_openat2, folder_.get(), name.c_str(), &how, sizeof how))};
    if (!file && errno == ENOENT) return missing(name);
    if (!file) return fail_errno(name.substr(0, 120));
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) return fail_errno(name.substr(0, 120));
    if (!S_ISREG(status.st_mode)) return fail(Errc::invalid_argument, name.substr(0, 120) + " is no file");
    return FilePart{.file = std::move(file), .offset = 0, .size = static_cast<std::uint64_t>(status.st_size)};
  }

 private:
  UniqueFd folder_;
  Form form_;
};

class ArchiveFiles final : public ImageFiles {
 public:
  ArchiveFiles(UniqueFd archive, ArchiveIndex index, Form form)
      : archive_{std::move(archive)}, index_{std::move(index)}, form_{form} {}
  Form form() const override { return form_; }
  Result<FilePart> part(const std::string& name) const override {
    const auto member = index_.find(name);
    if (!member) return missing(name);
    UniqueFd file{::fcntl(archive_.get(), F_DUPFD_CLOEXEC, 3)};
    if (!file) return fail_errno("the archive");
    return FilePart{.file = std::move(file), .offset = member->offset, .size = member->size};
  }

 private:
  UniqueFd archive_;
  ArchiveIndex index_;
  Form form_;
};

bool is_hex(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// A root file system has none of these first.
bool is_of_an_image(std::string_view name) {
  const std::string_view top = name.substr(0, name.find('/'));
  return top == "blobs" || top == kLayoutFile || top == kIndexFile || top == kDockerFile || top == "repositories" ||
         is_hex(top.substr(0, top.find('.')));
}

}  // namespace

Result<std::unique_ptr<ImageFiles>> ImageFiles::open(UniqueFd file) {
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return fail_errno("the image");
  std::unique_ptr<ImageFiles> files;
  if (S_ISDIR(status.st_mode)) {
    if (::faccessat(file.get(), kLayoutFile, F_OK, AT_SYMLINK_NOFOLLOW) != 0) return nullptr;
    files = std::make_unique<FolderFiles>(std::move(file), Form::layout);
  } else {
    auto index = ArchiveIndex::read(file.get(), is_of_an_image);
    if (!index) return fail(index.error());
    if (!*index) return nullptr;
    if ((*index)->find(kLayoutFile) && (*index)->find(kIndexFile)) {
      files = std::make_unique<ArchiveFiles>(std::move(file), std::move(**index), Form::layout);
    } else if ((*index)->find(kDockerFile)) {
      return std::make_unique<ArchiveFiles>(std::move(file), std::move(**index), Form::docker);
    } else {
      return nullptr;
    }
  }
  const auto layout = files->document(kLayoutFile);
  if (!layout) return fail(layout.error());
  if (const auto known = check_layout_version(*layout); !known) return fail(known.error());
  return files;
}

Result<std::string> ImageFiles::document(const std::string& name) const {
  const auto found = part(name);
  if (!found) return fail(found.error());
  if (found->size > kMaxDocument) return fail(Errc::invalid_argument, name.substr(0, 120) + " is over 4 MiB");
  std::string text(static_cast<std::size_t>(found->size), '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t got =
        ::pread(found->file.get(), text.data() + done, text.size() - done, static_cast<off_t>(found->offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return fail_errno(name.substr(0, 120));
    if (got == 0) return fail(Errc::invalid_argument, name.substr(0, 120) + " was cut off");
    done += static_cast<std::size_t>(got);
  }
  return text;
}

}  // namespace stellarium::cdn::oci
