#include "fs/records.h"

#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "support/golden.h"

namespace stellarium::fs {
namespace {

std::string hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

Inode regular() {
  Inode inode;
  inode.mode = S_IFREG | 0644;
  inode.uid = 1000;
  inode.gid = 100;
  inode.size = inode.allocated = 70'000;
  inode.mtime = inode.atime = inode.ctime = {1'700'000'000, 123'456'789};
  inode.body = Body::content;
  inode.content = cas::hash_of(as_bytes("content"));
  return inode;
}

Inode directory() {
  Inode inode;
  inode.mode = S_IFDIR | 0755;
  inode.nlink = 3;
  inode.parent = kRootIno;
  return inode;
}

Inode symlink() {
  Inode inode;
  inode.mode = S_IFLNK | 0777;
  inode.inline_bytes = "usr/bin";
  inode.size = inode.allocated = inode.inline_bytes.size();
  inode.body = Body::inline_;
  return inode;
}

Inode everything() {
  Inode inode = regular();
  inode.nlink = 2;
  inode.allocated = 4096;
  inode.atime = {-5, 1};
  inode.btime = {1, 999'999'999};
  inode.program = inode.has_xattrs = true;
  return inode;
}

Inode device() {
  Inode inode;
  inode.mode = S_IFCHR | 0600;
  inode.rdev = 0x501;
  return inode;
}

/// As only written layers have it.
Inode staged() {
  Inode inode = regular();
  inode.nlink = 0;
  inode.body = Body::staged;
  inode.content = {};
  inode.staged = 0x0123'4567'89ab'cdef;
  return inode;
}

/// … of a large file that was not copied.
Inode sparse() {
  Inode inode = staged();
  inode.base = {
      .content = cas::hash_of(as_bytes("base")), .size = 10'000'000, .shows = 9'000'000, .allocated = 8'000'000};
  return inode;
}

LayerRecord written(LayerRecord::State state) {
  return {.state = state, .tree = 7, .manifest = {}, .parent = 3, .next_ino = 8'742};
}

TEST(Records, WhatOnlyWrittenLayersHaveIsNotForImages) {
  EXPECT_EQ(why_impossible(staged()), nullptr);
  EXPECT_NE(why_invalid(staged()), nullptr);
  Inode unlinked = regular();
  unlinked.nlink = 0;
  EXPECT_EQ(why_impossible(unlinked), nullptr);
  EXPECT_NE(why_invalid(unlinked), nullptr);
  Inode nowhere = staged();
  nowhere.staged = 0;
  EXPECT_NE(why_impossible(nowhere), nullptr);
}

TEST(Records, ABaseIsOfAStagedFileAndShowsNoMoreThanThereIs) {
  EXPECT_EQ(why_impossible(sparse()), nullptr);
  Inode inode = regular();
  inode.base = sparse().base;
  EXPECT_NE(why_impossible(inode), nullptr);
  inode = sparse();
  inode.base.shows = inode.base.size + 1;
  EXPECT_NE(why_impossible(inode), nullptr);
  inode = sparse();
  inode.base.shows = 0;
  EXPECT_NE(why_impossible(inode), nullptr) << "no base says nothing else either";
}

TEST(Records, AnInodeNeedsItsContentOrTheOneThatItLiesOver) {
  EXPECT_EQ(content_of(regular()), (tier::ContentRef{regular().content, regular().size}));
  EXPECT_EQ(content_of(sparse()), (tier::ContentRef{sparse().base.content, sparse().base.size}));
  EXPECT_EQ(content_of(staged()), std::nullopt);
}

TEST(Records, WhiteoutsAndWrittenLayersComeBackAsTheyWere) {
  EXPECT_TRUE(decode_dirent(encode_dirent(DirentValue::whiteout()))->is_whiteout());
  EXPECT_FALSE(decode_dirent(std::string{"\x0e\x01", 2})) << "a whiteout that leads somewhere";
  for (const auto state : {LayerRecord::State::writable, LayerRecord::State::frozen}) {
    const Result<LayerRecord> back = decode_layer(encode_layer(written(state)));
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, written(state));
  }
  LayerRecord without_parent = written(LayerRecord::State::writable);
  without_parent.parent = 0;
  EXPECT_FALSE(decode_layer(encode_layer(without_parent)));
}

TEST(Records, InodesOfEveryKindComeBackAsTheyWere) {
  for (const Inode& inode : {regular(), directory(), symlink(), everything(), device(), staged(), sparse()}) {
    const Result<Inode> back = decode_inode(encode_inode(inode));
    ASSERT_TRUE(back) << to_string(back.error());
    EXPECT_EQ(*back, inode);
  }
}

TEST(Records, AnInodeCutAnywhereIsRefused) {
  const std::string whole = encode_inode(everything());
  for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(decode_inode(whole.substr(0, size))) << size;
  EXPECT_FALSE(decode_inode(whole + "x"));
}

TEST(Records, ImpossibleInodesAreNamedAsSuch) {
  Inode inode = directory();
  inode.parent = 0;
  EXPECT_NE(why_invalid(inode), nullptr);
  inode = regular();
  inode.allocated = inode.size + 1;
  EXPECT_NE(why_invalid(inode), nullptr);
  inode = regular();
  inode.mode = 0644;
  EXPECT_NE(why_invalid(inode), nullptr);
  inode = device();
  inode.mtime.nanoseconds = 1'000'000'000;
  EXPECT_NE(why_invalid(inode), nullptr);
}

TEST(Records, KeysSortAsDirectoriesAreListed) {
  EXPECT_LT(dirent_key(1, 2, make_cookie(9, 0), "z"), dirent_key(1, 2, make_cookie(10, 0), "a"));
  EXPECT_LT(dirent_key(1, 2, ~DirCookie{0}, "z"), dirent_key(1, 3, 0, "a"));
  EXPECT_LT(inode_key(1, 255), inode_key(1, 256));
  EXPECT_LT(inode_key(1, kMaxIno), inode_key(2, 1));
  EXPECT_EQ(prefix_end(layer_prefix(7)), layer_prefix(8));
  EXPECT_EQ(prefix_end(std::string{"\xff\xff", 2}), "");
}

TEST(Records, ADirentKeyWithTheCookieOfAnotherNameIsRefused) {
  const std::string name = "passwd";
  EXPECT_TRUE(decode_dirent_key(dirent_key(1, 1, make_cookie(name_hash(name), 0), name)));
  EXPECT_TRUE(decode_dirent_key(dirent_key(1, 1, make_cookie(name_hash(name), 255), name)));
  EXPECT_FALSE(decode_dirent_key(dirent_key(1, 1, make_cookie(name_hash("shadow"), 0), name)));
  EXPECT_FALSE(decode_dirent_key(dirent_key(1, 0, make_cookie(name_hash(name), 0), name)));
}

TEST(Records, NamesThatCannotBePathComponentsAreInvalid) {
  EXPECT_TRUE(valid_name(std::string(255, 'n')));
  EXPECT_TRUE(valid_name("\xff\xfe"));
  for (const std::string& bad : {std::string{}, std::string{"."}, std::string{".."}, std::string{"a/b"},
                                 std::string{"a\0b", 3}, std::string(256, 'n')}) {
    EXPECT_FALSE(valid_name(bad));
  }
}

TEST(Records, TheNameHashOrdersLikeTheDocumentedBytes) {
  // BLAKE3("") = af1349b9f5f9a1a6…: its first 55 bits.
  EXPECT_EQ(name_hash(""), 0xaf1349b9f5f9a1a6ull >> 9);
  EXPECT_GE(make_cookie(name_hash("any"), 0), kFirstCookie);
}

TEST(Records, LayersAndNamesComeBackAsTheyWere) {
  const LayerRecord building{.state = LayerRecord::State::building, .tree = 7, .manifest = {}};
  const LayerRecord sealed{.state = LayerRecord::State::sealed,
                           .tree = 9,
                           .manifest = cas::hash_of(as_bytes("m")),
                           .manifest_size = 10,
                           .files = 300,
                           .bytes = 1u << 30};
  LayerRecord known = sealed;
  known.fingerprint = cas::hash_of(as_bytes("tree"));
  for (const LayerRecord& record : {building, sealed, known}) {
    const Result<LayerRecord> back = decode_layer(encode_layer(record));
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, record);
  }
  for (const TreeId tree : {0u, 70'000u}) {
    const NameRecord name{.layer = 3, .created = {1'700'000'000, 5}, .source = "web.tar", .tree = tree};
    const Result<NameRecord> back = decode_name(encode_name(name));
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, name);
  }
  EXPECT_FALSE(decode_layer(std::string{"\x03\x01", 2}));
  EXPECT_FALSE(decode_name(""));
  EXPECT_FALSE(decode_layer(encode_layer(sealed) + std::string(32, '\0'))) << "no fingerprint is left out";
  EXPECT_FALSE(decode_layer(encode_layer(known) + 'x'));
  EXPECT_FALSE(decode_name(std::string{"\0\0\3", 3} + encode_name({.layer = 3, .created = {}, .source = ""}).substr(1)))
      << "no tree is left out";
  EXPECT_EQ(decode_layer_number(encode_layer_number(300)).value(), 300u);
  for (const char* bad : {"", "\1\1"}) EXPECT_FALSE(decode_layer_number(bad)) << bad;
  EXPECT_FALSE(decode_layer_number(std::string(1, '\0')));
}

TEST(Records, AreWrittenAsInVersionOne) {
  std::string text;
  const auto add = [&](std::string_view what, std::string_view bytes) {
    text += std::string{what} + ' ' + hex(bytes) + '\n';
  };
  add("dirent-key", dirent_key(1, kRootIno, make_cookie(name_hash("bin"), 0), "bin"));
  add("dirent", encode_dirent({.ino = 300, .type = DT_LNK}));
  add("inode-key", inode_key(1, 300));
  add("inode-file", encode_inode(regular()));
  add("inode-directory", encode_inode(directory()));
  add("inode-symlink", encode_inode(symlink()));
  add("inode-device", encode_inode(device()));
  add("inode-everything", encode_inode(everything()));
  add("whiteout", encode_dirent(DirentValue::whiteout()));
  add("inode-staged", encode_inode(staged()));
  add("xattr-key", xattr_key(1, 300, "user.note"));
  add("layer-building", encode_layer({.state = LayerRecord::State::building, .tree = 7, .manifest = {}}));
  add("layer-sealed", encode_layer({.state = LayerRecord::State::sealed,
                                    .tree = 9,
                                    .manifest = cas::hash_of(as_bytes("m")),
                                    .manifest_size = 10,
                                    .files = 300,
                                    .bytes = 70'000}));
  add("layer-writable", encode_layer(written(LayerRecord::State::writable)));
  add("layer-frozen", encode_layer(written(LayerRecord::State::frozen)));
  add("name-key", name_key("web", "latest"));
  add("name", encode_name({.layer = 3, .created = {1'700'000'000, 5}, .source = "web.tar"}));
  EXPECT_EQ(text, test::golden_or_write("fs-records-v1.txt", text));
}

TEST(Records, AreWrittenAsInVersionThree) {
  const std::string text = "inode-sparse " + hex(encode_inode(sparse())) + '\n';
  EXPECT_EQ(text, test::golden_or_write("fs-records-v3.txt", text));
}

TEST(Records, AreWrittenAsInVersionTwo) {
  const cas::Hash fingerprint = cas::hash_of(as_bytes("tree"));
  std::string text;
  const auto add = [&](std::string_view what, std::string_view bytes) {
    text += std::string{what} + ' ' + hex(bytes) + '\n';
  };
  add("layer-sealed", encode_layer({.state = LayerRecord::State::sealed,
                                    .tree = 9,
                                    .manifest = cas::hash_of(as_bytes("m")),
                                    .manifest_size = 10,
                                    .files = 300,
                                    .bytes = 70'000,
                                    .fingerprint = fingerprint}));
  add("fingerprint", encode_layer_number(300));
  add("name", encode_name({.layer = 3, .created = {1'700'000'000, 5}, .source = "web.tar", .tree = 300}));
  EXPECT_EQ(text, test::golden_or_write("fs-records-v2.txt", text));
}

}  // namespace
}  // namespace stellarium::fs
