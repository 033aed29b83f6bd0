#include "fs/fuse/read_only_view.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "support/fuse_view.h"
#include "support/temp_dir.h"

namespace stellarium::fs::fuse {
namespace {

using abi::Opcode;
using test::bytes_of;
using test::entries_of;

class ReadOnlyViewTest : public testing::Test {
 protected:
  ReadOnlyViewTest() {
    image_.begin();
    etc_ = image_.add_directory(kRootIno, "etc");
    image_.add_file(etc_, "hosts", kHosts);
    image_.add_file(kRootIno, "program", program_, true);
    image_.add(kRootIno, "link", test::make_symlink("etc/hosts"));
    many_ = image_.add_directory(kRootIno, "many");
    for (int i = 0; i < 500; ++i) image_.add_file(many_, "entry" + std::to_string(i), "");
  }
  static std::uint64_t node(Ino ino) { return NodeId::of(test::FuseImage::kTree, ino).value(); }
  static std::string open_in(std::uint32_t flags) { return bytes_of(abi::OpenIn{flags, 0}); }

  static constexpr const char* kHosts = "127.0.0.1 localhost\n";
  const std::string program_ = test::random_text(4, 20'000);
  test::TempDir dir_;
  test::FuseImage image_{dir_.path()};
  Ino etc_ = 0, many_ = 0;
  test::FuseView view_{image_, /*whole_store=*/false};
};

TEST_F(ReadOnlyViewTest, FindsNamesForEver) {
  const auto etc = view_.lookup(abi::kRootNode, "etc");
  EXPECT_EQ(etc.nodeid, node(etc_));
  EXPECT_EQ(etc.attr.ino, etc_);
  EXPECT_EQ(etc.attr.mode, static_cast<std::uint32_t>(S_IFDIR | 0755));
  EXPECT_GT(etc.entry_valid, 1'000'000'000u);
  EXPECT_GT(etc.attr_valid, 1'000'000'000u);
}

TEST_F(ReadOnlyViewTest, ThatANameIsMissingMayBeRememberedToo) {
  const auto missing = view_.lookup(abi::kRootNode, "missing");
  EXPECT_EQ(missing.nodeid, 0u);
  EXPECT_GT(missing.entry_valid, 1'000'000'000u);
}

TEST_F(ReadOnlyViewTest, LeadsUpwardsForNfs) {
  EXPECT_EQ(view_.lookup(node(etc_), "..").nodeid, abi::kRootNode);
  EXPECT_EQ(view_.lookup(node(etc_), ".").nodeid, node(etc_));
}

TEST_F(ReadOnlyViewTest, AnswersESTALEForNodesThatItNeverGave) {
  for (const std::uint64_t wrong : {std::uint64_t{0}, ~std::uint64_t{0}, std::uint64_t{2}, node(99'999), node(0),
                                    node(etc_) | std::uint64_t{1} << kInoBits, NodeId::of(4, kRootIno).value()}) {
    EXPECT_EQ(view_.ask(Opcode::getattr, wrong, bytes_of(abi::GetattrIn{})).error, ESTALE) << wrong;
    EXPECT_EQ(view_.ask(Opcode::open, wrong, open_in(O_RDONLY)).error, ESTALE) << wrong;
    EXPECT_EQ(view_.read(Opcode::read, wrong, 0, 10).error, ESTALE) << wrong;
  }
}

TEST_F(ReadOnlyViewTest, ListsFromEveryOffsetThatItGave) {
  for (const bool plus : {false, true}) {
    const Opcode opcode = plus ? Opcode::readdirplus : Opcode::readdir;
    const auto all = entries_of(view_.read(opcode, node(many_), 0, kMaxPayload).payload, plus);
    ASSERT_EQ(all.size(), 502u);
    EXPECT_EQ(all[0].name, ".");
    EXPECT_EQ(all[1].name, "..");
    EXPECT_EQ(all[1].ino, kRootIno);
    for (std::size_t i = 0; i < all.size(); i += 37) {
      const auto rest = entries_of(view_.read(opcode, node(many_), all[i].offset, 4096).payload, plus);
      ASSERT_FALSE(rest.empty());
      EXPECT_EQ(rest[0].name, all[i + 1].name);
    }
    EXPECT_TRUE(view_.read(opcode, node(many_), all.back().offset, 4096).payload.empty());
  }
}

TEST_F(ReadOnlyViewTest, ListsInPiecesOfAnySizeWithoutLossOrRepetition) {
  for (const std::uint32_t size : {200u, 333u, 4096u, 65'536u}) {
    std::set<std::string> names;
    std::uint64_t offset = 0;
    while (true) {
      const auto piece = entries_of(view_.read(Opcode::readdirplus, node(many_), offset, size).payload, true);
      if (piece.empty()) break;
      for (const auto& entry : piece) EXPECT_TRUE(names.insert(entry.name).second);
      offset = piece.back().offset;
    }
    EXPECT_EQ(names.size(), 502u) << size;
  }
}

TEST_F(ReadOnlyViewTest, AWalkSeesWhatIsThereThoughItsListingsAreLaidOutAhead) {
  // Folders in folders, each with a file of its own, so that a listing of the wrong one would be seen.
  std::vector<Ino> folders{image_.add_directory(kRootIno, "walked")};
  for (std::size_t i = 0; folders.size() < 40; ++i) {
    for (int k = 0; k < 3; ++k)
      folders.push_back(image_.add_directory(folders[i], "folder" + std::to_string(folders.size())));
  }
  for (const Ino folder : folders) image_.add_file(folder, "of-" + std::to_string(folder), "");
  std::vector<std::uint64_t> ahead{node(folders[0])};
  std::size_t listed = 0;
  while (!ahead.empty()) {
    const std::uint64_t folder = ahead.back();
    ahead.pop_back();
    const std::string answer = view_.read(Opcode::readdirplus, folder, 0, 32'768).payload;
    const auto entries = entries_of(answer, true);
    ASSERT_FALSE(entries.empty());
    EXPECT_TRUE(view_.read(Opcode::readdirplus, folder, entries.back().offset, 32'768).payload.empty());
    // A reply of another size is none that was laid out ahead.
    EXPECT_EQ(answer, view_.read(Opcode::readdirplus, folder, 0, 32'760).payload) << ++listed;
    const std::string own = "of-" + std::to_string(NodeId{folder}.ino());
    EXPECT_EQ(std::ranges::count(entries, own, &test::ListedEntry::name), 1);
    ++listed;
    for (auto entry = entries.rbegin(); entry != entries.rend(); ++entry)
      if (entry->name.starts_with("folder")) ahead.push_back(entry->node);
  }
  EXPECT_EQ(listed, folders.size());
}

TEST_F(ReadOnlyViewTest, AListingWithoutRoomForOneEntryIsAnErrorAndNotTheEnd) {
  EXPECT_EQ(view_.read(Opcode::readdirplus, node(many_), 2, 100).error, EINVAL);
}

TEST_F(ReadOnlyViewTest, OffsetsThatWereNeverGivenDoNoHarm) {
  for (const std::uint64_t offset : {~0ull, 1ull << 63, 0x7fffffffffffffffull, 3ull}) {
    EXPECT_EQ(view_.read(Opcode::readdir, node(many_), offset, 4096).error, 0) << offset;
  }
}

TEST_F(ReadOnlyViewTest, ReadsWhatIsThereAndNothingBehindIt) {
  const auto file = view_.lookup(node(etc_), "hosts");
  EXPECT_EQ(view_.read(Opcode::read, file.nodeid, 0, 4096).payload, kHosts);
  EXPECT_EQ(view_.read(Opcode::read, file.nodeid, 4, 3).payload, "0.0");
  for (const std::uint64_t offset : {std::uint64_t{20}, std::uint64_t{1} << 62, ~std::uint64_t{0}}) {
    const auto answer = view_.read(Opcode::read, file.nodeid, offset, 0xffffffff);
    EXPECT_EQ(answer.error, 0);
    EXPECT_TRUE(answer.payload.empty()) << offset;
  }
  EXPECT_EQ(view_.read(Opcode::read, abi::kRootNode, 0, 10).error, EISDIR);
}

TEST_F(ReadOnlyViewTest, AColdReadIsParkedAndAnsweredLater) {
  const auto file = view_.lookup(node(etc_), "hosts");
  image_.tier.reads_wait = true;
  for (int i = 0; i < 40; ++i) {  // more than there are buffers
    abi::ReadIn in{};
    in.size = 100;
    view_.send(test::make_request(Opcode::read, file.nodeid, 1'000 + 2 * static_cast<std::uint64_t>(i), bytes_of(in)));
  }
  EXPECT_TRUE(view_.sink->take().empty());
  image_.tier.run_waiting();
  const auto answers = view_.sink->take();
  EXPECT_EQ(answers.size(), 40u);
  for (const auto& answer : answers) EXPECT_EQ(answer.payload, kHosts);
}

TEST_F(ReadOnlyViewTest, MissingContentIsAnErrorAndNeverZeros) {
  Inode inode = test::make_file("never stored");
  const Ino lost = image_.add(kRootIno, "lost", inode);
  const auto answer = view_.read(Opcode::read, node(lost), 0, 4096);
  EXPECT_NE(answer.error, 0);
  EXPECT_TRUE(answer.payload.empty());
}

TEST_F(ReadOnlyViewTest, SmallFilesNeedNoHandle) {
  const auto file = view_.lookup(node(etc_), "hosts");
  const auto small = view_.ask(Opcode::open, file.nodeid, open_in(O_RDONLY)).as<abi::OpenOut>();
  EXPECT_EQ(small.fh, 0u);
  EXPECT_EQ(small.open_flags, abi::open_flag::kKeepCache | abi::open_flag::kNoFlush);
  const auto program = view_.lookup(abi::kRootNode, "program");
  const auto passed = view_.ask(Opcode::open, program.nodeid, open_in(O_RDONLY)).as<abi::OpenOut>();
  EXPECT_NE(passed.fh, 0u);
  EXPECT_EQ(passed.open_flags, abi::open_flag::kPassthrough | abi::open_flag::kNoFlush);
}

TEST_F(ReadOnlyViewTest, TheFirstOpenOfASmallFileBringsItsBytes) {
  const auto stored_by_open = [&](std::uint64_t nodeid) {
    EXPECT_EQ(view_.ask(Opcode::open, nodeid, open_in(O_RDONLY)).error, 0);
    return view_.sink->take_stored();
  };
  using Stored = test::RecordingSink::Stored;
  const std::uint64_t hosts = view_.lookup(node(etc_), "hosts").nodeid;
  EXPECT_EQ(stored_by_open(hosts), (std::vector<Stored>{{NodeId{hosts}, kHosts}}));
  EXPECT_TRUE(stored_by_open(hosts).empty());  // somebody may be reading it, with its pages locked
  EXPECT_TRUE(stored_by_open(view_.lookup(node(many_), "entry0").nodeid).empty());  // there are none
  EXPECT_TRUE(stored_by_open(view_.lookup(abi::kRootNode, "program").nodeid).empty());
}

TEST_F(ReadOnlyViewTest, AnOpenWaitsForNoBytes) {
  image_.tier.reads_wait = true;
  const std::uint64_t hosts = view_.lookup(node(etc_), "hosts").nodeid;
  EXPECT_EQ(view_.ask(Opcode::open, hosts, open_in(O_RDONLY)).error, 0);
  image_.tier.reads_wait = false;
  EXPECT_EQ(view_.ask(Opcode::open, hosts, open_in(O_RDONLY)).error, 0);
  EXPECT_TRUE(view_.sink->take_stored().empty());
}

TEST_F(ReadOnlyViewTest, AfterATakeoverOpensBringNoBytes) {
  view_.resume();
  EXPECT_EQ(view_.ask(Opcode::open, view_.lookup(node(etc_), "hosts").nodeid, open_in(O_RDONLY)).error, 0);
  EXPECT_TRUE(view_.sink->take_stored().empty());
}

TEST_F(ReadOnlyViewTest, OpensNothingForWriting) {
  const auto program = view_.lookup(abi::kRootNode, "program");
  for (const int flags : {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC}) {
    EXPECT_EQ(view_.ask(Opcode::open, program.nodeid, open_in(static_cast<std::uint32_t>(flags))).error, EROFS);
  }
  EXPECT_EQ(view_.ask(Opcode::open, node(etc_), open_in(O_RDONLY)).error, EISDIR);
}

TEST_F(ReadOnlyViewTest, ReleasingWhatIsNotOpenIsIgnored) {
  for (const std::uint64_t handle : {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}}) {
    EXPECT_EQ(view_.ask(Opcode::release, node(etc_), bytes_of(abi::ReleaseIn{handle, 0, 0, 0})).error, 0);
  }
}

TEST_F(ReadOnlyViewTest, GivesSymlinkTargets) {
  const auto link = view_.lookup(abi::kRootNode, "link");
  EXPECT_EQ(view_.ask(Opcode::readlink, link.nodeid).payload, "etc/hosts");
  EXPECT_EQ(view_.ask(Opcode::readlink, node(etc_)).error, EINVAL);
}

TEST_F(ReadOnlyViewTest, TellsTheSizeOfAttributesBeforeGivingThem) {
  Inode inode = test::make_directory(kRootIno);
  inode.has_xattrs = true;
  const Ino ino = image_.add(kRootIno, "attributed", inode);
  image_.set_xattr(ino, "user.one", "value");
  const auto get = [&](std::uint32_t size) {
    return view_.ask(Opcode::getxattr, node(ino), bytes_of(abi::GetxattrIn{size, 0}) + test::make_name("user.one"));
  };
  EXPECT_EQ(get(0).as<abi::GetxattrOut>().size, 5u);
  EXPECT_EQ(get(4).error, ERANGE);
  EXPECT_EQ(get(5).payload, "value");
  EXPECT_EQ(view_.ask(Opcode::listxattr, node(ino), bytes_of(abi::GetxattrIn{3, 0})).error, ERANGE);
  EXPECT_EQ(
      view_.ask(Opcode::getxattr, node(etc_), bytes_of(abi::GetxattrIn{9, 0}) + test::make_name("user.one")).error,
      ENODATA);
}

class ReadAheadTest : public ReadOnlyViewTest {
 protected:
  ReadAheadTest() {
    const Ino folder = image_.add_directory(kRootIno, "series");
    for (int i = 0; i < 4; ++i) programs_.push_back(add(folder, "program" + std::to_string(i), 20'000, true));
    small_ = add(folder, "small", 1000, false);
    large_ = add(folder, "large", OpenFiles::kEagerFill + 1, true);
    image_.tier.fills_wait = true;
  }
  ~ReadAheadTest() override { image_.tier.run_waiting(); }

  struct File {
    Ino ino;
    cas::ContentId id;
  };
  File add(Ino folder, const std::string& name, std::size_t size, bool program) {
    const std::string bytes = test::random_text(100 + seed_++, size);
    return {image_.add_file(folder, name, bytes, program), cas::hash_of(as_bytes(bytes))};
  }
  /// Does not expect the answer, which waits for the hot file.
  void open(const File& file) {
    view_.send(test::make_request(Opcode::open, node(file.ino), unique_ += 2, open_in(O_RDONLY)));
  }

  std::uint64_t seed_ = 0, unique_ = 1'000'000;
  std::vector<File> programs_;
  File small_{}, large_{};
};

TEST_F(ReadAheadTest, FilesBehindTwoColdOnesAreFetchedToWhereTheyWillBeLookedFor) {
  open(programs_[0]);
  EXPECT_TRUE(image_.tier.take_prefetched().empty());
  open(programs_[1]);
  const auto fetched = image_.tier.take_prefetched();
  EXPECT_EQ(fetched.at(programs_[2].id), tier::Tier::Place::hot_file);
  EXPECT_EQ(fetched.at(programs_[3].id), tier::Tier::Place::hot_file);
  EXPECT_EQ(fetched.at(small_.id), tier::Tier::Place::memory);
}

TEST_F(ReadAheadTest, LargeFilesAreNotFetchedOnAGuess) {
  open(programs_[0]);
  open(programs_[1]);
  EXPECT_FALSE(image_.tier.take_prefetched().contains(large_.id));
}

TEST_F(ReadOnlyViewTest, TellsOverlayfsOnceThatAnImageHasNoAttributes) {
  const auto ask = [&](const char* name) {
    return view_.ask(Opcode::getxattr, node(etc_), bytes_of(abi::GetxattrIn{9, 0}) + test::make_name(name)).error;
  };
  EXPECT_EQ(ask("user.one"), ENODATA);
  EXPECT_EQ(ask("trusted.overlay.opaque"), ENOSYS);
}

TEST_F(ReadOnlyViewTest, GoesOnAnsweringOverlayfsWhereAnyFileHasAttributes) {
  Inode inode = test::make_directory(kRootIno);
  inode.has_xattrs = true;
  image_.set_xattr(image_.add(kRootIno, "attributed", inode), "user.one", "value");
  const std::string question = bytes_of(abi::GetxattrIn{9, 0}) + test::make_name("trusted.overlay.opaque");
  EXPECT_EQ(view_.ask(Opcode::getxattr, node(etc_), question).error, ENODATA);
}

TEST_F(ReadOnlyViewTest, SeeksToHolesAndRefusesNonsense) {
  const std::string head = test::random_text(5, 100'000);
  const Ino sparse = image_.add_sparse_file(kRootIno, "sparse", head, 1u << 20);
  const auto seek = [&](Ino ino, std::uint64_t offset, std::uint32_t whence) {
    return view_.ask(Opcode::lseek, node(ino), bytes_of(abi::LseekIn{0, offset, whence, 0}));
  };
  const auto hole = seek(sparse, 0, SEEK_HOLE).as<abi::LseekOut>().offset;
  EXPECT_GE(hole, head.size());
  EXPECT_LE(hole, head.size() + cas::kMaxChunk);
  EXPECT_EQ(seek(sparse, 5, SEEK_DATA).as<abi::LseekOut>().offset, 5u);
  EXPECT_EQ(seek(sparse, hole, SEEK_DATA).error, ENXIO);
  EXPECT_EQ(seek(sparse, ~0ull, SEEK_DATA).error, ENXIO);
  EXPECT_EQ(seek(sparse, 0, SEEK_SET).error, EINVAL);
  EXPECT_EQ(seek(sparse, 0, 0xffffffff).error, EINVAL);
  EXPECT_EQ(seek(etc_, 0, SEEK_DATA).error, EINVAL);
}

}  // namespace
}  // namespace stellarium::fs::fuse
