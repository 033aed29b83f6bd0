#include "fs/member_body.h"

#include <memory>

#include "fs/layer_entry.h"
#include "fs/program.h"
#include "fs/tar_reader.h"

namespace stellarium::fs {

Result<void> MemberBody::take(const ArchiveMember& member, Inode& inode) {
  inode.size = static_cast<std::uint64_t>(member.size);
  inode.program = (inode.mode & 0111) != 0;
  if (inode.size == 0) return {};
  return inode.size <= kMaxInlineContent ? take_inline(inode) : take_content(inode);
}

// The next part of the data, checked against what came before and against the declared size.
Result<std::optional<ArchiveBlock>> MemberBody::next_block(std::uint64_t position, std::uint64_t size) {
  Result<std::optional<ArchiveBlock>> block = archive_.data();
  if (!block || !*block) return block;
  const std::uint64_t offset = (*block)->offset;
  if (offset < position) return fail(Errc::invalid_argument, "a sparse map that goes backwards");
  if (offset > size || (*block)->bytes.size() > size - offset)
    return fail(Errc::invalid_argument, "more data than its size says");
  if (Result<void> going = go_on_(); !going) return fail(going.error());
  return block;
}

Result<void> MemberBody::take_inline(Inode& inode) {
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

Result<void> MemberBody::take_content(Inode& inode) {
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

}  // namespace stellarium::fs
