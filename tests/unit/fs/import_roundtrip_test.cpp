// A tree on disk, emitted as the command process does it, imported as the store does it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <set>

#include "fs/tree_emitter.h"
#include "support/file_text.h"
#include "support/image_store.h"

namespace stellarium::fs {
namespace {

/// Knows what an import told it, as the command's stat cache does.
class Remembering final : public EmitObserver {
 public:
  explicit Remembering(const std::map<std::string, cas::ContentId>& contents) : contents_{contents} {}
  std::optional<KnownContent> known(std::string_view path, const struct stat&) override {
    const auto found = contents_.find(std::string{path});
    if (found == contents_.end()) return {};
    return KnownContent{found->second, elf_.contains(std::string{path})};
  }
  void content_read(std::string_view path, const struct stat&, const KnownContent& content) override {
    ++read;
    if (content.elf) elf_.insert(std::string{path});
  }
  bool knows_size(std::uint64_t size) override { return !sizes_.insert(size).second; }
  void data_sent(std::string_view path, const struct stat&, const KnownContent& content) override {
    ++read;
    if (content.elf) elf_.insert(std::string{path});
  }
  void note(const std::string& line) override { notes.push_back(line); }
  std::size_t read = 0;
  std::vector<std::string> notes;

 private:
  const std::map<std::string, cas::ContentId>& contents_;
  std::set<std::string> elf_;
  std::set<std::uint64_t> sizes_;
};

class ImportRoundtrip : public testing::Test {
 protected:
  ImportRoundtrip() {
    write("text", std::string(70'000, 't'));
    write("lib.so",
          "\x7f"
          "ELF" +
              std::string(30'000, 'l'));
    write("tiny", "tiny");
    write("empty", "");
    std::filesystem::create_directories(root() / "a" / "b");
    write("a/b/run", std::string(200, 'r'));
    ::chmod((root() / "a/b/run").c_str(), 04755);
    std::filesystem::create_hard_link(root() / "a/b/run", root() / "a/also run");
    std::filesystem::create_symlink("../nowhere", root() / "a" / "link");
    write("caf\xc3\xa9", "composed");
    write("cafe\xcc\x81", "decomposed");
    write("bad\xff\xfe", "bytes");
    ::mkfifo((root() / "fifo").c_str(), 0600);
    sparse_ = ::open((root() / "sparse").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0644);
    EXPECT_EQ(::ftruncate(sparse_, 8 << 20), 0);
    EXPECT_EQ(::pwrite(sparse_, "data", 4, 4 << 20), 4);
    const timespec times[2] = {{1, 0}, {-5, 250'000'000}};
    ::utimensat(AT_FDCWD, (root() / "text").c_str(), times, 0);
  }
  ~ImportRoundtrip() override { ::close(sparse_); }

  std::filesystem::path root() const { return dir_.path(); }
  void write(const std::string& name, const std::string& content) {
    std::ofstream{root() / name, std::ios::binary} << content;
  }
  std::string emitted(EmitObserver& observer) {
    test::TextOutput out;
    const UniqueFd dir{::open(root().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    test::must(emit_tree(dir.get(), out, {}, observer));
    return out.text;
  }

  test::TempDir dir_;
  test::ImageStore store_;
  int sparse_ = -1;
};

TEST_F(ImportRoundtrip, EveryAttributeArrives) {
  Remembering observer{store_.notes.contents};
  test::must(store_.import("tree", emitted(observer)));
  for (const auto& item : std::filesystem::recursive_directory_iterator{root()}) {
    const std::string path = std::filesystem::relative(item.path(), root()).string();
    struct stat expected {};
    ASSERT_EQ(::lstat(item.path().c_str(), &expected), 0);
    const Inode inode = store_.stat("tree", path);
    EXPECT_EQ(inode.mode, expected.st_mode) << path;
    EXPECT_EQ(inode.uid, expected.st_uid) << path;
    EXPECT_EQ(inode.nlink, expected.st_nlink) << path;
    EXPECT_EQ(inode.mtime.seconds, expected.st_mtim.tv_sec) << path;
    EXPECT_EQ(inode.mtime.nanoseconds, expected.st_mtim.tv_nsec) << path;
    if (S_ISREG(inode.mode)) {
      EXPECT_EQ(store_.content(inode), test::file_text(item.path())) << path;
    }
    if (S_ISLNK(inode.mode)) {
      EXPECT_EQ(inode.inline_bytes, std::filesystem::read_symlink(item.path()).string());
    }
  }
  EXPECT_EQ(store_.stat("tree", "caf\xc3\xa9").inline_bytes, "composed");
  EXPECT_EQ(store_.stat("tree", "cafe\xcc\x81").inline_bytes, "decomposed");
  EXPECT_EQ(store_.reader("tree").resolve("a/b/run", false)->ino,
            store_.reader("tree").resolve("a/also run", false)->ino);
}

TEST_F(ImportRoundtrip, ContentsByReferenceGiveTheSameTreeWithoutBeingRead) {
  Remembering observer{store_.notes.contents};
  const auto first = test::must(store_.import("tree", emitted(observer))).image;
  const std::size_t read = observer.read;
  EXPECT_EQ(read, 4u);
  const auto second = test::must(store_.import("tree", emitted(observer))).image;
  EXPECT_EQ(first.manifest, second.manifest);
  EXPECT_EQ(observer.read, read);
  EXPECT_TRUE(observer.notes.empty());
}

}  // namespace
}  // namespace stellarium::fs
