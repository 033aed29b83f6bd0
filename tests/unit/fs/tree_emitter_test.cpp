#include "fs/tree_emitter.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <deque>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "base/unique_fd.h"
#include "fs/utf8_locale.h"
#include "support/byte_streams.h"

namespace stellarium::fs {
namespace {

struct Member {
  std::string data, hard_link, symlink;
  mode_t mode = 0;
  std::map<std::string, std::string> xattrs;
  int sparse_extents = 0;
  long nanoseconds = 0;
};

/// What an independent reader (libarchive's) sees in the stream.
std::map<std::string, Member> members_of(const std::string& stream) {
  const Utf8Locale locale;
  std::map<std::string, Member> members;
  archive* const reader = archive_read_new();
  archive_read_support_format_tar(reader);
  archive_read_open_memory(reader, stream.data(), stream.size());
  archive_entry* entry = nullptr;
  while (archive_read_next_header(reader, &entry) == ARCHIVE_OK) {
    Member member;
    member.mode = archive_entry_mode(entry);
    member.nanoseconds = archive_entry_mtime_nsec(entry);
    if (const char* link = archive_entry_hardlink(entry)) member.hard_link = link;
    if (const char* link = archive_entry_symlink(entry)) member.symlink = link;
    member.sparse_extents = archive_entry_sparse_count(entry);
    archive_entry_xattr_reset(entry);
    const char* name = nullptr;
    const void* value = nullptr;
    std::size_t size = 0;
    while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
      member.xattrs[name] = std::string{static_cast<const char*>(value), size};
    }
    const void* block = nullptr;
    la_int64_t offset = 0;
    while (archive_read_data_block(reader, &block, &size, &offset) == ARCHIVE_OK) {
      member.data.resize(static_cast<std::size_t>(offset), '\0');
      member.data.append(static_cast<const char*>(block), size);
    }
    member.data.resize(std::max<std::size_t>(member.data.size(), static_cast<std::size_t>(archive_entry_size(entry))),
                       '\0');
    members[archive_entry_pathname(entry)] = std::move(member);
  }
  archive_read_free(reader);
  return members;
}

class TreeEmitterTest : public testing::Test {
 protected:
  TreeEmitterTest() {
    char dir[] = "/var/tmp/tree_emitter_test.XXXXXX";
    root_ = ::mkdtemp(dir);
  }
  ~TreeEmitterTest() override { std::filesystem::remove_all(root_); }

  void write(const std::string& name, const std::string& text) {
    std::ofstream{root_ / name, std::ios::binary} << text;
  }

  std::map<std::string, Member> emit(EmitObserver& observer, const EmitOptions& options = {}) {
    test::TextOutput out;
    const UniqueFd root{::open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    const auto emitted = emit_tree(root.get(), out, options, observer);
    EXPECT_TRUE(emitted) << to_string(emitted.error());
    return members_of(out.text);
  }
  std::map<std::string, Member> emit() {
    EmitObserver observer;
    return emit(observer);
  }

  std::filesystem::path root_;
};

TEST_F(TreeEmitterTest, SendsFilesFoldersAndLinks) {
  std::filesystem::create_directories(root_ / "a/b");
  write("a/b/file", "content");
  std::filesystem::create_symlink("../b/file", root_ / "a/link");
  std::filesystem::create_hard_link(root_ / "a/b/file", root_ / "other");
  const auto members = emit();
  EXPECT_TRUE(S_ISDIR(members.at("./").mode));
  EXPECT_EQ(members.at("a/b/file").data, "content");
  EXPECT_EQ(members.at("a/link").symlink, "../b/file");
  EXPECT_EQ(members.at("other").hard_link, "a/b/file");
}

TEST_F(TreeEmitterTest, KeepsNamesThatAreNotText) {
  const std::string raw = "caf\xe9\x01\xff", longest(255, 'n');
  write(raw, "1");
  write(longest, "2");
  write(
      "gr\xc3\xbc\xc3\x9f"
      "e",
      "3");
  const auto members = emit();
  EXPECT_EQ(members.at(raw).data, "1");
  EXPECT_EQ(members.at(longest).data, "2");
  EXPECT_EQ(members
                .at("gr\xc3\xbc\xc3\x9f"
                    "e")
                .data,
            "3");
}

TEST_F(TreeEmitterTest, KeepsNanosecondsAndAttributes) {
  write("file", "x");
  const timespec times[2] = {{5, 0}, {1'600'000'000, 123'456'789}};
  ::utimensat(AT_FDCWD, (root_ / "file").c_str(), times, 0);
  ASSERT_EQ(::setxattr((root_ / "file").c_str(), "user.note", "a\0b", 3, 0), 0) << "/var/tmp must hold user attributes";
  const auto members = emit();
  EXPECT_EQ(members.at("file").nanoseconds, 123'456'789);
  EXPECT_EQ(members.at("file").xattrs.at("user.note"), (std::string{"a\0b", 3}));
}

TEST_F(TreeEmitterTest, SendsHolesAsHoles) {
  const UniqueFd fd{::open((root_ / "sparse").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)};
  ASSERT_EQ(::ftruncate(fd.get(), 8 << 20), 0);
  ASSERT_EQ(::pwrite(fd.get(), "data", 4, 1 << 20), 4);
  test::TextOutput out;
  EmitObserver observer;
  const UniqueFd root{::open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  ASSERT_TRUE(emit_tree(root.get(), out, {}, observer));
  EXPECT_LT(out.text.size(), 100'000u);
  const auto members = members_of(out.text);
  const std::string& data = members.at("sparse").data;
  ASSERT_EQ(data.size(), 8u << 20);
  EXPECT_EQ(data.substr(1 << 20, 5), (std::string{"data\0", 5}));
}

TEST_F(TreeEmitterTest, NamesKnownContentsInsteadOfReadingThem) {
  class Knows final : public EmitObserver {
   public:
    std::optional<KnownContent> known(std::string_view path, const struct stat&) override {
      if (path != "big") return {};
      return KnownContent{cas::hash_of(as_bytes("anything")), true};
    }
    void content_read(std::string_view path, const struct stat&, const KnownContent& content) override {
      read.emplace_back(path, content.elf);
    }
    std::vector<std::pair<std::string, bool>> read;
  } observer;
  write("big", std::string(1000, 'b'));
  write("program",
        "\x7f"
        "ELF and so on, long enough to be no inline content at all, for sure");
  const auto members = emit(observer);
  EXPECT_EQ(members.at("big").data, "");
  EXPECT_EQ(members.at("big").xattrs.at(kContentAttribute), cas::hash_of(as_bytes("anything")).hex() + " 1000 1000 1");
  EXPECT_EQ(observer.read, (std::vector<std::pair<std::string, bool>>{{"program", true}}));
}

/// A store that has some contents.
class Has final : public EmitObserver {
 public:
  explicit Has(std::set<cas::ContentId> contents) : contents_{std::move(contents)} {}
  void ask(const std::vector<ContentSize>& contents) override {
    std::vector<bool> present;
    for (const ContentSize& content : contents) present.push_back(contents_.contains(content.id));
    answers_.push_back(std::move(present));
    EXPECT_LE(answers_.size(), 2u);
  }
  std::vector<bool> answer() override {
    std::vector<bool> oldest = answers_.front();
    answers_.pop_front();
    return oldest;
  }

 private:
  std::set<cas::ContentId> contents_;
  std::deque<std::vector<bool>> answers_;
};

TEST_F(TreeEmitterTest, SendsOnlyContentsThatTheStoreDoesNotHave) {
  const std::string old(1000, 'o'), fresh(2000, 'f');
  write("old", old);
  write("fresh", fresh);
  Has store{{cas::hash_of(as_bytes(old))}};
  const auto members = emit(store);
  EXPECT_EQ(members.at("old").data, "");
  EXPECT_EQ(members.at("old").xattrs.at(kContentAttribute), cas::hash_of(as_bytes(old)).hex() + " 1000 1000 0");
  EXPECT_EQ(members.at("fresh").data, fresh);
}

/// A store that knows no content of most sizes.
class KnowsFew final : public EmitObserver {
 public:
  explicit KnowsFew(std::set<std::uint64_t> sizes = {}) : sizes_{std::move(sizes)} {}
  bool knows_size(std::uint64_t size) override { return sizes_.contains(size); }
  void data_sent(std::string_view path, const struct stat&, const KnownContent& content) override {
    unread.emplace(path, content);
  }
  void content_read(std::string_view path, const struct stat&, const KnownContent&) override { read.emplace(path); }
  std::map<std::string, KnownContent> unread;
  std::set<std::string> read;

 private:
  const std::set<std::uint64_t> sizes_;
};

TEST_F(TreeEmitterTest, DoesNotReadWhatTheStoreCannotHave) {
  const std::string program =
                        "\x7f"
                        "ELF" +
                        std::string(40'000, 'p'),
                    text(50'000, 't'), other(60'000, 'o');
  write("program", program);
  write("text", text);
  write("other", other);
  write("short", std::string(1000, 's'));
  ASSERT_EQ(::setxattr((root_ / "text").c_str(), "user.note", "a", 1, 0), 0) << "/var/tmp must hold user attributes";
  KnowsFew store{{60'000}};
  const auto members = emit(store);
  EXPECT_EQ(members.at("program").data, program);
  EXPECT_EQ(members.at("text").data, text);
  EXPECT_EQ(members.at("other").data, other);
  EXPECT_EQ(members.at("short").data, std::string(1000, 's'));
  EXPECT_EQ(store.read, (std::set<std::string>{"other", "short"}));
  ASSERT_EQ(store.unread.size(), 2u);
  EXPECT_TRUE(store.unread.at("program").elf);
  EXPECT_FALSE(store.unread.at("text").elf);
  EXPECT_FALSE(store.unread.at("text").bare);
  EXPECT_EQ(store.unread.at("program").bare, ::geteuid() == 0);
}

TEST_F(TreeEmitterTest, KeepsTheOrderOfFilesThatAreReadAndThatAreNot) {
  std::map<std::string, std::string> texts;
  std::set<std::uint64_t> sizes;
  for (int n = 0; n < 700; ++n) {
    const std::string name = "f" + std::to_string(n);
    texts[name] = name + std::string(static_cast<std::size_t>(20'000 + n), static_cast<char>(n));
    if (n % 5 == 0) sizes.insert(texts[name].size());
    write(name, texts[name]);
  }
  KnowsFew store{sizes};
  const auto members = emit(store);
  EXPECT_EQ(members.size(), 701u);
  for (const auto& [name, text] : texts) EXPECT_EQ(members.at(name).data, text) << name;
  EXPECT_EQ(store.unread.size() + store.read.size(), 700u);
  EXPECT_GT(store.read.size(), 100u);
}

TEST_F(TreeEmitterTest, SendsAContentOfSeveralFilesOnce) {
  const std::string same(3000, 's');
  write("a", same);
  write("b", same);
  const auto members = emit();
  EXPECT_EQ(members.at("a").data, same);
  EXPECT_EQ(members.at("b").data, "");
  EXPECT_EQ(members.at("b").xattrs.at(kContentAttribute), cas::hash_of(as_bytes(same)).hex() + " 3000 3000 0");
}

TEST_F(TreeEmitterTest, KeepsTheOrderOverManyWindows) {
  std::set<cas::ContentId> present;
  std::map<std::string, std::string> sent;
  for (int n = 0; n < 3000; ++n) {
    const std::string name = "f" + std::to_string(n), text(static_cast<std::size_t>(100 + n * 3), static_cast<char>(n));
    write(name, name + text);
    if (n % 3 == 0) {
      present.insert(cas::hash_of(as_bytes(name + text)));
    } else {
      sent[name] = name + text;
    }
  }
  write("large", std::string((4 << 20) + 1, 'l'));
  Has store{present};
  const auto members = emit(store);
  EXPECT_EQ(members.size(), 3002u);
  for (const auto& [name, text] : sent) EXPECT_EQ(members.at(name).data, text) << name;
  EXPECT_TRUE(members.at("f0").data.empty());
  EXPECT_EQ(members.at("large").data.size(), (4u << 20) + 1);
}

TEST_F(TreeEmitterTest, LeavesOutFilesThatVanishBeforeTheyAreOpened) {
  /// Removes a file between the look at it and its opening.
  class Remover : public EmitObserver {
   public:
    explicit Remover(std::filesystem::path root) : root_{std::move(root)} {}
    bool progress(std::uint64_t files, std::uint64_t /*bytes*/) override {
      const std::string name = std::to_string(files);  // they come in this order
      if (name != "5" && name != "6") std::filesystem::remove(root_ / name);
      return true;
    }
    void note(const std::string& line) override { notes.push_back(line); }
    std::vector<std::string> notes;

   private:
    std::filesystem::path root_;
  };
  write("1", "inline");
  write("2", std::string(1000, 'm'));
  write("3", std::string(100'000, 'l'));
  write("4", std::string(200, 'h'));
  std::filesystem::create_hard_link(root_ / "4", root_ / "5");
  write("6", "stays");
  Remover observer{root_};
  const auto members = emit(observer);
  EXPECT_EQ(members.size(), 3u);
  EXPECT_EQ(members.at("5").data, std::string(200, 'h')) << "no link to a file that is not there";
  EXPECT_EQ(members.at("6").data, "stays");
  ASSERT_EQ(observer.notes.size(), 4u);
  for (const std::string& note : observer.notes) EXPECT_TRUE(note.ends_with(": vanished while it was read")) << note;
}

TEST_F(TreeEmitterTest, KeepsFewDescriptorsOfATreeOfManySmallFolders) {
  for (int folder = 0; folder < 1500; ++folder) {
    const std::string name = std::to_string(folder);
    std::filesystem::create_directory(root_ / name);
    write(name + "/file", std::string(100, 'f'));
  }
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit usual{1024, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &usual), 0);
  const auto members = emit();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(members.size(), 3001u);
}

TEST_F(TreeEmitterTest, LeavesOutWhatIsExcluded) {
  std::filesystem::create_directories(root_ / "proc/1");
  write("proc/1/stat", "x");
  write("keep.o", "x");
  write("keep.c", "x");
  EmitObserver observer;
  EmitOptions options;
  options.exclude = {"proc/*", "*.o"};
  const auto members = emit(observer, options);
  EXPECT_TRUE(members.contains("proc/"));
  EXPECT_FALSE(members.contains("proc/1/"));
  EXPECT_FALSE(members.contains("keep.o"));
  EXPECT_TRUE(members.contains("keep.c"));
}

TEST_F(TreeEmitterTest, StopsWhenItIsAskedTo) {
  class Impatient final : public EmitObserver {
    bool progress(std::uint64_t, std::uint64_t) override { return false; }
  } observer;
  write("file", "x");
  test::TextOutput out;
  const UniqueFd root{::open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  const auto emitted = emit_tree(root.get(), out, {}, observer);
  ASSERT_FALSE(emitted);
  EXPECT_EQ(emitted.error().code, Errc::cancelled);
}

}  // namespace
}  // namespace stellarium::fs
