#include "cdn/oci/archive_index.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "fs/pax_records.h"
#include "fs/tar_header.h"

namespace stellarium::cdn::oci {
namespace {

constexpr std::size_t kMostMembers = 1u << 16;
constexpr std::uint64_t kMostRecords = 64u << 10;  // bytes of an extended header
constexpr int kMostLinks = 8;                      // that lead to each other

/// Without "./" before it and a slash behind.
std::string plain_name(std::string_view name) {
  while (name.starts_with("./")) name.remove_prefix(2);
  while (name.ends_with('/')) name.remove_suffix(1);
  return std::string{name == "." ? std::string_view{} : name};
}

/// What a link of `from` means: its target is relative to the folder that it lies in.
std::string resolved(const std::string& from, std::string_view target) {
  std::string folder = from.substr(0, from.find_last_of('/') == std::string::npos ? 0 : from.find_last_of('/'));
  while (target.starts_with("../") || target.starts_with("./")) {
    if (target.starts_with("../")) {
      const std::size_t slash = folder.find_last_of('/');
      folder.resize(slash == std::string::npos ? 0 : slash);
    }
    target.remove_prefix(target.find('/') + 1);
  }
  return folder.empty() ? std::string{target} : folder + "/" + std::string{target};
}

/// Reads headers and what belongs to them.
class Walk {
 public:
  explicit Walk(int file, std::uint64_t size) : file_{file}, size_{size} {}

  Result<std::string> read(std::uint64_t offset, std::uint64_t count) const {
    if (offset > size_ || count > size_ - offset) return fail(Errc::invalid_argument, "the archive was cut off");
    std::string bytes(static_cast<std::size_t>(count), '\0');
    std::size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t got = ::pread(file_, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return fail_errno("reading the archive");
      if (got == 0) return fail(Errc::invalid_argument, "the archive was cut off");
      done += static_cast<std::size_t>(got);
    }
    return bytes;
  }
  bool has(std::uint64_t offset, std::uint64_t count) const { return offset <= size_ && count <= size_ - offset; }

 private:
  int file_;
  std::uint64_t size_;
};

/// What the headers before a member say of it.
struct Announced {
  std::optional<std::string> name, link;
  std::optional<std::uint64_t> size;
};

}  // namespace

Result<std::optional<ArchiveIndex>> ArchiveIndex::read(int file, const Expected& expected) {
  struct stat status {};
  if (::fstat(file, &status) != 0) return fail_errno("the archive");
  if (!S_ISREG(status.st_mode)) return std::nullopt;
  const Walk walk{file, static_cast<std::uint64_t>(status.st_size)};
  ArchiveIndex index;
  Announced announced;
  std::uint64_t at = 0;
  while (walk.has(at, fs::kTarBlock)) {
    const auto block = walk.read(at, fs::kTarBlock);
    if (!block) return fail(block.error());
    if (block->find_first_not_of('\0') == std::string::npos) break;  // the archive's end
    const auto header = fs::TarHeader::decode(*block);
    if (!header) return std::nullopt;
    const std::uint64_t data = at + fs::kTarBlock;
    const std::uint64_t size = announced.size.value_or(header->size);
    switch (header->type) {
      case 'x':
      case 'L':
      case 'K': {
        if (header->size > kMostRecords) return std::nullopt;
        const auto bytes = walk.read(data, header->size);
        if (!bytes) return fail(bytes.error());
        if (header->type != 'x') {
          (header->type == 'L' ? announced.name : announced.link) = bytes->substr(0, bytes->find('\0'));
        } else if (const auto records = fs::read_pax_records(*bytes)) {
          if (records->path) announced.name = records->path;
          if (records->link) announced.link = records->link;
          if (records->size) announced.size = records->size;
        } else {
          return std::nullopt;
        }
        at = data + header->size + fs::tar_padding(header->size);
        continue;
      }
      case 'g':  // for all members: of archives of images only comments
        at = data + header->size + fs::tar_padding(header->size);
        continue;
      default:
        break;
    }
    std::string name{header->prefix};
    if (!name.empty()) name += '/';
    name = plain_name(announced.name.value_or(name + std::string{header->name}));
    if (!name.empty() && !expected(name)) return std::nullopt;
    if (index.members_.size() + index.links_.size() >= kMostMembers)
      return fail(Errc::invalid_argument, "the archive has over 65,536 members");
    if (header->type == '0' || header->type == '\0') {
      if (!walk.has(data, size))
        return fail(Errc::invalid_argument, "the archive was cut off in " + name.substr(0, 100));
      index.links_.erase(name);
      index.members_[name] = {.offset = data, .size = size};
    } else if (header->type == '1' || header->type == '2') {
      const std::string target = announced.link.value_or(std::string{header->link});
      index.members_.erase(name);
      index.links_[name] = header->type == '1' ? plain_name(target) : resolved(name, target);
    }
    const std::uint64_t taken = header->type == '0' || header->type == '\0' ? size : 0;
    announced = {};
    at = data + taken + fs::tar_padding(taken);
  }
  if (index.members_.empty()) return std::nullopt;
  return index;
}

std::optional<ArchiveIndex::Member> ArchiveIndex::find(std::string_view name) const {
  std::string wanted{name};
  for (int links = 0; links <= kMostLinks; ++links) {
    if (const auto found = members_.find(wanted); found != members_.end()) return found->second;
    const auto link = links_.find(wanted);
    if (link == links_.end()) return {};
    wanted = link->second;
  }
  return {};
}

}  // namespace stellarium::cdn::oci
