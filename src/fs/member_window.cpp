#include "fs/member_window.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "fs/program.h"

namespace stellarium::fs {
namespace {

constexpr std::size_t kReadBytes = 256u << 10;  // hashed while it is still in the processor's cache
constexpr std::size_t kMaxSent = 4096;

}  // namespace

MemberWindow::MemberWindow(PaxWriter& writer, EmitObserver& observer)
    : writer_{writer}, observer_{observer}, sees_all_attributes_{::geteuid() == 0} {}

bool MemberWindow::nobody_waits() const {
  return filling_.members.empty() && being_read_.members.empty() && asked_.members.empty();
}

bool MemberWindow::is_full() const {
  return filling_.members.size() == kMembers || filling_.descriptors == kDescriptors;
}

Result<void> MemberWindow::add(PaxMember member) {
  if (nobody_waits()) return writer_.begin(member);
  if (is_full()) {
    if (const auto turned = turn(); !turned) return turned;
  }
  filling_.members.push_back({std::move(member)});
  return {};
}

Result<void> MemberWindow::add_unread(PaxMember member, UniqueFd file, const struct stat& status) {
  if (is_full()) {
    if (const auto turned = turn(); !turned) return turned;
  }
  // The disk may begin with it: its turn comes in two windows.
  ::posix_fadvise(file.get(), 0, static_cast<off_t>(std::min<std::uint64_t>(member.size, kBytes)), POSIX_FADV_WILLNEED);
  ++filling_.descriptors;
  filling_.unread.push_back({filling_.members.size(), {.folder = {}, .name = {}, .file = std::move(file)}, status});
  filling_.members.push_back({.member = std::move(member), .unread = true});
  return {};
}

int MemberWindow::Source::open() {
  if (file) return 0;
  constexpr int kFlags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  file.reset(::openat(folder->get(), name.c_str(), kFlags | O_NOATIME));
  if (!file && errno == EPERM) file.reset(::openat(folder->get(), name.c_str(), kFlags));  // who does not own it
  return file ? 0 : errno;
}

Result<void> MemberWindow::add_file(PaxMember member, Source source, const struct stat& status) {
  const auto size = static_cast<std::size_t>(member.size);
  if (size <= kMaxInlineContent && nobody_waits()) return write_small(member, std::move(source));
  if (is_full() || size > kBytes - filling_.used) {
    if (const auto turned = turn(); !turned) return turned;
  }
  // Files of one folder mostly come together.
  if (source.file || filling_.files.empty() || filling_.files.back().source.folder != source.folder)
    ++filling_.descriptors;
  filling_.files.push_back({filling_.members.size(), std::move(source), status});
  filling_.members.push_back(
      {.member = std::move(member), .data = filling_.used, .size = size, .asked = size > kMaxInlineContent});
  filling_.used += size;
  return {};
}

Result<void> MemberWindow::write_small(const PaxMember& member, Source source) {
  if (const int error = source.open(); error != 0) {
    if (error != ENOENT) return fail_errno("opening " + member.path, error);
    note_vanished(member);
    return {};
  }
  std::array<std::byte, kMaxInlineContent> content{};
  const auto size = static_cast<std::size_t>(member.size);
  ssize_t n = 0;
  while ((n = ::pread(source.file.get(), content.data(), size, 0)) < 0) {
    if (errno != EINTR) return fail_errno("reading " + member.path);
  }
  if (static_cast<std::size_t>(n) < size) note_shrunk(member);
  if (const auto begun = writer_.begin(member); !begun) return begun;
  return writer_.data(ByteSpan{content}.first(size));
}

void MemberWindow::note_vanished(const PaxMember& member) {
  observer_.note(member.path + ": vanished while it was read");
}

void MemberWindow::note_shrunk(const PaxMember& member) {
  observer_.note(member.path + ": became shorter while it was read, filled with zeros");
}

void MemberWindow::read(const Window& window, Pending& pending, File& file) {
  const MutableByteSpan data{window.data.data() + pending.data, pending.size};
  if ((file.error = file.source.open()) != 0) return;
  cas::Hasher hasher;
  for (std::size_t done = 0; done < data.size();) {
    const MutableByteSpan part = data.subspan(done, std::min(kReadBytes, data.size() - done));
    const ssize_t n = ::pread(file.source.file.get(), part.data(), part.size(), static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) file.error = errno;
    file.shrunk = n == 0;
    if (n <= 0) {
      std::ranges::fill(data.subspan(done), std::byte{0});
      hasher.update(data.subspan(done));
      break;
    }
    hasher.update(part.first(static_cast<std::size_t>(n)));
    done += static_cast<std::size_t>(n);
  }
  file.source.file.reset();
  pending.content.id = hasher.finish();
  pending.content.elf = is_elf(data);
}

Result<void> MemberWindow::finish_reading(Window& window) {
  reading_.finish();
  for (const File& file : window.files) {
    Pending& pending = window.members[file.member];
    const PaxMember& member = pending.member;
    if (file.error == ENOENT) {
      note_vanished(member);
      pending.vanished = true;
      pending.asked = false;
      continue;
    }
    if (file.error != 0) return fail_errno("reading " + member.path, file.error);
    if (file.shrunk) note_shrunk(member);
    if (!pending.asked) continue;  // too small to be a content that could be named
    pending.content.bare = member.xattrs.empty() && sees_all_attributes_;
    if (!file.shrunk) observer_.content_read(member.path, file.status, pending.content);
    window.questions.push_back({pending.content.id, pending.size});
  }
  window.files.clear();
  return {};
}

Result<void> MemberWindow::turn() {
  if (const auto read = finish_reading(being_read_); !read) return read;
  if (!being_read_.questions.empty()) observer_.ask(being_read_.questions);
  if (const auto written = write(asked_); !written) return written;
  std::swap(asked_, being_read_);
  std::swap(being_read_, filling_);
  reading_.start(being_read_.files.size(), [this](std::size_t at) {
    File& file = being_read_.files[at];
    read(being_read_, being_read_.members[file.member], file);
  });
  return {};
}

Result<void> MemberWindow::drain() {
  for (int window = 0; window < 3; ++window) {
    if (const auto turned = turn(); !turned) return turned;
  }
  return {};
}

Result<void> MemberWindow::write(Window& window) {
  std::vector<bool> present;
  if (!window.questions.empty()) present = observer_.answer();
  present.resize(window.questions.size());
  std::size_t question = 0, unread = 0;
  for (Pending& pending : window.members) {
    if (pending.unread) {
      if (const auto written = write_unread(window.unread[unread++], pending); !written) return written;
      continue;
    }
    if (pending.vanished) continue;
    const bool known = pending.asked && present[question];
    if (pending.asked) ++question;
    if (const auto written = write(window, pending, known); !written) return written;
  }
  window.members.clear();
  window.questions.clear();
  window.unread.clear();
  window.used = window.descriptors = 0;
  return {};
}

Result<void> MemberWindow::write(const Window& window, Pending& pending, bool present) {
  if (pending.asked && (present || sent_.contains(pending.content.id))) {
    make_reference(pending.member, pending.content, pending.size);
    return writer_.begin(pending.member);
  }
  if (const auto begun = writer_.begin(pending.member); !begun || pending.size == 0) return begun;
  if (pending.asked) {
    if (sent_.size() == kMaxSent) sent_.clear();
    sent_.insert(pending.content.id);
  }
  return writer_.data({window.data.data() + pending.data, pending.size});
}

Result<void> MemberWindow::write_unread(const File& file, Pending& pending) {
  const PaxMember& member = pending.member;
  if (const auto begun = writer_.begin(member); !begun) return begun;
  pending.content.elf = begins_as_elf(file.source.file.get());
  pending.content.bare = member.xattrs.empty() && sees_all_attributes_;
  observer_.data_sent(member.path, file.status, pending.content);
  const auto whole = writer_.file(file.source.file.get());
  if (!whole) return fail(whole.error());
  if (!*whole) note_shrunk(member);
  return {};
}

bool begins_as_elf(int fd) {
  std::array<std::byte, 4> start;
  return ::pread(fd, start.data(), start.size(), 0) == ssize_t{start.size()} && is_elf(start);
}

void make_reference(PaxMember& member, const KnownContent& content, std::uint64_t allocated) {
  member.xattrs.emplace_back(kContentAttribute, content.id.hex() + " " + std::to_string(member.size) + " " +
                                                    std::to_string(allocated) + (content.elf ? " 1" : " 0"));
  member.size = 0;
}

}  // namespace stellarium::fs
