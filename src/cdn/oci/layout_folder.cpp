#include "cdn/oci/layout_folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <vector>

#include "base/unique_fd.h"
#include "cdn/oci/digest.h"
#include "fs/pax_records.h"
#include "fs/tar_header.h"

namespace stellarium::cdn::oci {
namespace {

constexpr std::string_view kBlobs = "blobs/sha256/";
constexpr std::size_t kRead = 256u << 10;

tl::unexpected<Error> no_layout() {
  return fail(Errc::invalid_argument, "what came is no OCI image layout");
}

/// Whether it can be in a layout.
bool is_of_a_layout(std::string_view name) {
  if (name == "oci-layout" || name == "index.json") return true;
  return name.starts_with(kBlobs) && Digest::parse("sha256:" + std::string{name.substr(kBlobs.size())}).has_value();
}

/// The bytes of a pipe, in the pieces that a tar has.
class PipeReader {
 public:
  explicit PipeReader(int pipe) : pipe_{pipe}, buffer_(kRead) {}

  /// Up to `most` bytes; none at the end.
  Result<ByteSpan> next(std::uint64_t most) {
    while (left_.empty()) {
      const ssize_t got = ::read(pipe_, buffer_.data(), buffer_.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return fail_errno("reading the image");
      if (got == 0) return ByteSpan{};
      left_ = ByteSpan{buffer_}.first(static_cast<std::size_t>(got));
    }
    const ByteSpan piece = left_.first(std::min<std::uint64_t>(most, left_.size()));
    left_ = left_.subspan(piece.size());
    return piece;
  }

  Result<std::string> text(std::uint64_t size) {
    std::string text;
    while (text.size() < size) {
      const auto piece = next(size - text.size());
      if (!piece) return fail(piece.error());
      if (piece->empty()) return no_layout();
      text += as_text(*piece);
    }
    return text;
  }

 private:
  int pipe_;
  std::vector<std::byte> buffer_;
  ByteSpan left_;
};

Result<void> write_file(const std::string& path, PipeReader& pipe, std::uint64_t size) {
  const UniqueFd file{::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666)};
  if (!file) return fail_errno(path);
  while (size > 0) {
    const auto piece = pipe.next(size);
    if (!piece) return fail(piece.error());
    if (piece->empty()) return no_layout();
    size -= piece->size();
    for (ByteSpan bytes = *piece; !bytes.empty();) {
      const ssize_t done = ::write(file.get(), bytes.data(), bytes.size());
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) return fail_errno(path);
      bytes = bytes.subspan(static_cast<std::size_t>(done));
    }
  }
  return {};
}

}  // namespace

Result<LayoutFolder> LayoutFolder::make(const std::string& folder) {
  std::string name = folder;
  while (name.size() > 1 && name.ends_with('/')) name.pop_back();
  std::error_code failed;
  if (std::filesystem::exists(std::filesystem::symlink_status(name, failed)))
    return fail(Errc::exists, name + " is there already: name a new folder");
  LayoutFolder made{name, name + ".partial-" + std::to_string(::getpid())};
  std::filesystem::create_directories(made.partial_ + "/" + std::string{kBlobs}, failed);
  if (failed) return fail(Error{errc_from_errno(failed.value()), name, failed.value()});
  return made;
}

LayoutFolder::~LayoutFolder() {
  std::error_code failed;
  if (!partial_.empty()) std::filesystem::remove_all(partial_, failed);
}

Result<void> LayoutFolder::take(int pipe) {
  PipeReader reader{pipe};
  std::optional<std::uint64_t> announced;  // the size of a large one
  while (true) {
    const auto block = reader.text(fs::kTarBlock);
    if (!block) return fail(block.error());
    if (block->find_first_not_of('\0') == std::string::npos) break;
    const auto header = fs::TarHeader::decode(*block);
    if (!header) return no_layout();
    if (header->type == 'x' && header->size <= kRead) {
      const auto text = reader.text(header->size + fs::tar_padding(header->size));
      if (!text) return fail(text.error());
      const auto records = fs::read_pax_records(std::string_view{*text}.substr(0, header->size));
      if (!records || !records->size) return no_layout();
      announced = records->size;
      continue;
    }
    const std::uint64_t size = std::exchange(announced, {}).value_or(header->size);
    if (header->type != '0' || !is_of_a_layout(header->name)) return no_layout();
    if (auto written = write_file(partial_ + "/" + std::string{header->name}, reader, size); !written) return written;
    if (const auto padding = reader.text(fs::tar_padding(size)); !padding) return fail(padding.error());
  }
  while (true) {  // so that whoever writes can finish
    const auto rest = reader.next(kRead);
    if (!rest) return fail(rest.error());
    if (rest->empty()) return {};
  }
}

Result<void> LayoutFolder::finish() {
  if (::renameat2(AT_FDCWD, partial_.c_str(), AT_FDCWD, folder_.c_str(), RENAME_NOREPLACE) != 0)
    return fail_errno(folder_);
  partial_.clear();
  return {};
}

}  // namespace stellarium::cdn::oci
