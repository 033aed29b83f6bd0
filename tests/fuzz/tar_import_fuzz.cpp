// An archive that nobody vouches for: members, data, and the tree that they make. No store: contents are only counted.
// Our own reader must say of it what libarchive does.
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "fs/archive_reader.h"
#include "fs/import_member.h"
#include "fs/layer_builder.h"
#include "fs/path_key.h"
#include "fs/records.h"
#include "fs/tar_header.h"
#include "fs/tar_reader.h"
#include "fs/tree_assembly.h"
#include "support/byte_streams.h"
#include "support/same_members.h"

using namespace stellarium;
using namespace stellarium::fs;

namespace {

constexpr std::size_t kMaxCompared = 1u << 20;
constexpr std::size_t kMaxData = 64u << 20;  // a bomb is a matter of time, not of memory

void check_tree(EntrySorter& sorter) {
  TreeAssembly tree{"/nonexistent"};
  if (!tree.take(sorter) || !tree.resolve_links()) return;
  std::uint64_t names = 0, inodes = 0;
  while (true) {
    const auto entry = tree.next();
    if (!entry) std::abort();
    if (!*entry) break;
    ++names;
    if ((*entry)->first) ++inodes;
    if ((*entry)->first && why_invalid((*entry)->inode) != nullptr) std::abort();
    if (names > 1 && !valid_name((*entry)->name)) std::abort();
  }
  if (names != tree.names() || inodes != tree.inodes()) std::abort();
}

void print(const char* who, const test::ReadMembers& read) {
  std::fprintf(stderr, "%s: %s %s\n", who, read.whole ? "whole" : "not whole:", read.error.c_str());
  for (std::string line : read.lines) {
    std::ranges::replace_if(
        line, [](unsigned char c) { return c < ' ' || c > '~'; }, '?');
    std::fprintf(stderr, "  %.500s\n", line.c_str());
  }
}

void compare_readers(ByteSpan tar) {
  test::SpanInput ours{tar, 4096}, theirs{tar};
  TarReader reader{ours};
  // The first bytes of a header can be those of a compressed stream, too: what its checksum says is right is a header.
  const bool plain = tar.size() >= kTarBlock && TarHeader::decode(as_text(tar.first(kTarBlock)));
  ArchiveReader archive{theirs, plain ? ArchiveReader::Expect::plain_tar : ArchiveReader::Expect::anything};
  const auto found = test::read_members(reader, kMaxCompared), wanted = test::read_members(archive, kMaxCompared);
  if (found.error.find("half a version") != std::string::npos) return;  // refused, whatever libarchive makes of it
  if (found.whole == wanted.whole && (!found.whole || found.lines == wanted.lines)) return;
  print("ours", found), print("libarchive", wanted);
  std::abort();
}

/// Gives every block that claims to be a header the checksum it should have: a change of one byte would else hide all
/// that follows.
std::vector<std::byte> mended(ByteSpan tar) {
  std::vector<std::byte> bytes{tar.begin(), tar.end()};
  for (std::size_t at = 0; at + kTarBlock <= bytes.size(); at += kTarBlock) {
    std::byte* const block = bytes.data() + at;
    if (std::memcmp(block + 257, "ustar", 5) != 0) continue;
    std::fill_n(block + 148, 8, std::byte{' '});
    unsigned sum = 0;
    for (std::size_t i = 0; i < kTarBlock; ++i) sum += static_cast<unsigned>(block[i]);
    for (std::size_t digit = 6; digit-- > 0; sum /= 8) block[148 + digit] = static_cast<std::byte>('0' + sum % 8);
    block[154] = std::byte{0};
  }
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteSpan tar = std::as_bytes(std::span{data, size});
  compare_readers(tar);
  compare_readers(mended(tar));
  test::SpanInput input{tar};
  TarReader archive{input};
  EntrySorter sorter{"/nonexistent", 256u << 10};
  std::uint64_t number = 0, total = 0;
  (void)sorter.add(path_key(""), TreeAssembly::encode_member(MemberKind::made_parent, 0, {}));
  while (true) {
    auto member = archive.next();
    if (!member || !*member) break;
    const auto path = normal_path((*member)->path);
    if (!path) break;
    if (!take_content_reference(**member)) break;
    while (total < kMaxData) {
      const auto block = archive.data();
      if (!block || !*block) break;
      total += (*block)->bytes.size();
    }
    const std::string key = path_key(*path);
    for (std::string above = key; !is_root_key(above);) {
      above = parent_of_key(above);
      if (!sorter.add(above, TreeAssembly::encode_member(MemberKind::made_parent, 0, {}))) return 0;
    }
    ++number;
    if ((*member)->hard_link) {
      const auto target = normal_path(*(*member)->hard_link);
      if (!target || *target == *path) break;
      if (!sorter.add(key, TreeAssembly::encode_member(MemberKind::link, number, *target))) return 0;
      if (!sorter.add(path_key(*target), TreeAssembly::encode_member(MemberKind::reference, number, *path))) return 0;
      continue;
    }
    auto inode = inode_of(**member);
    if (!inode) break;
    inode->parent = S_ISDIR(inode->mode) ? kRootIno : 0;
    if (why_invalid(*inode) != nullptr) break;
    if (!sorter.add(key, TreeAssembly::encode_member(MemberKind::inode, number, encode_attributes(*inode, {}))))
      return 0;
  }
  check_tree(sorter);
  return 0;
}
