#include "fs/layer_object.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "fs/records.h"
#include "support/golden.h"
#include "support/image_store.h"

namespace stellarium::fs {
namespace {

/// Collects what would be stored.
class CollectedContent final : public cas::ContentWriter {
 public:
  Result<void> append(ByteSpan data) override {
    bytes += as_text(data);
    return {};
  }
  Result<void> append_zeros(std::uint64_t count) override {
    bytes.append(static_cast<std::size_t>(count), '\0');
    return {};
  }
  Result<cas::ContentId> finish() override { return cas::hash_of(as_bytes(bytes)); }
  std::string bytes;
};

LayerEntry entry(Ino parent, const std::string& name, Ino ino, const Inode& inode) {
  LayerEntry made;
  made.parent = parent;
  made.name = name;
  made.cookie = make_cookie(name_hash(name), 0);
  made.ino = ino;
  made.inode = inode;
  return made;
}

/// "/" holds "d", "f" and "s" in the order of their hashes; "d" holds "l" (hard link to f).
std::vector<LayerEntry> small_tree() {
  std::vector<std::string> names{"d", "f", "s"};
  std::ranges::sort(names, {}, [](const std::string& name) { return name_hash(name); });
  LayerEntry root = entry(kRootIno, "", kRootIno, test::make_directory(kRootIno));
  root.cookie = 0;
  root.children = 3;
  root.inode.nlink = 3;
  root.inode.mtime = root.inode.atime = root.inode.ctime = {1'700'000'000, 5};
  std::vector<LayerEntry> tree{root};
  Ino file = 0, directory = 0;
  for (const std::string& name : names) {
    const Ino ino = tree.size() + 1;
    if (name == "d") {
      directory = ino;
      tree.push_back(entry(kRootIno, name, ino, test::make_directory(kRootIno)));
      tree.back().children = 1;
    } else if (name == "s") {
      tree.push_back(entry(kRootIno, name, ino, test::make_symlink("usr/bin")));
    } else {
      file = ino;
      Inode inode = test::make_file(std::string(1000, 'x'));
      inode.nlink = 2;
      inode.uid = 1000;
      inode.atime = {-1, 999'999'999};
      inode.btime = {1, 0};
      inode.allocated = 4;
      inode.program = inode.has_xattrs = true;
      tree.push_back(entry(kRootIno, name, ino, inode));
      tree.back().xattrs = {{"security.capability", std::string(20, '\1')}, {"user.note", ""}};
    }
  }
  LayerEntry further = entry(directory, "l", file, {});
  further.first = false;
  further.inode.mode = S_IFREG;
  tree.push_back(further);
  return tree;
}

std::string written(const std::vector<LayerEntry>& tree, std::uint64_t inodes) {
  CollectedContent out;
  LayerObjectWriter writer{out, tree.size(), inodes};
  for (const LayerEntry& one : tree) EXPECT_TRUE(writer.add(one));
  EXPECT_TRUE(writer.flush());
  EXPECT_EQ(writer.size(), out.bytes.size());
  return out.bytes;
}

Result<std::vector<LayerEntry>> read_back(const std::string& bytes) {
  test::TextInput input{bytes, 100};
  LayerObjectReader reader{input};
  std::vector<LayerEntry> tree;
  while (true) {
    auto next = reader.next();
    if (!next) return fail(next.error());
    if (!*next) return tree;
    tree.push_back(std::move(**next));
  }
}

TEST(LayerObject, ComesBackAsItWas) {
  const std::vector<LayerEntry> tree = small_tree();
  const auto back = read_back(written(tree, 4));
  ASSERT_TRUE(back) << to_string(back.error());
  ASSERT_EQ(back->size(), tree.size());
  for (std::size_t i = 0; i < tree.size(); ++i) {
    EXPECT_EQ((*back)[i].parent, tree[i].parent);
    EXPECT_EQ((*back)[i].cookie, tree[i].cookie);
    EXPECT_EQ((*back)[i].name, tree[i].name);
    EXPECT_EQ((*back)[i].ino, tree[i].ino);
    EXPECT_EQ((*back)[i].first, tree[i].first);
    EXPECT_EQ((*back)[i].inode, tree[i].inode);
    EXPECT_EQ((*back)[i].xattrs, tree[i].xattrs);
    EXPECT_EQ((*back)[i].children, tree[i].children);
  }
}

TEST(LayerObject, OfManyBlocksComesBackWhole) {
  constexpr std::uint32_t kFiles = 3 * layer_object::kBlockEntries;
  std::vector<std::string> names;
  for (std::uint32_t i = 0; i < kFiles; ++i) names.push_back("file" + std::to_string(i));
  std::ranges::sort(names, {}, [](const std::string& name) { return name_hash(name); });
  LayerEntry root = entry(kRootIno, "", kRootIno, test::make_directory(kRootIno));
  root.cookie = 0;
  root.children = kFiles;
  std::vector<LayerEntry> tree{root};
  for (const std::string& name : names) tree.push_back(entry(kRootIno, name, tree.size() + 1, test::make_file(name)));
  const auto back = read_back(written(tree, tree.size()));
  ASSERT_TRUE(back) << to_string(back.error());
  EXPECT_EQ(back->size(), tree.size());
  EXPECT_EQ(back->back().inode, tree.back().inode);
}

TEST(LayerObject, CutAnywhereIsRefused) {
  const std::string whole = written(small_tree(), 4);
  for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(read_back(whole.substr(0, size))) << size;
  EXPECT_FALSE(read_back(whole + '\0'));
}

TEST(LayerObject, OfAnotherVersionIsRefusedWithBothNamed) {
  std::string bytes = written(small_tree(), 4);
  bytes[8] = 2;
  const auto back = read_back(bytes);
  ASSERT_FALSE(back);
  EXPECT_EQ(back.error().code, Errc::version);
  EXPECT_EQ(back.error().context, "layer object of version 2; this program reads version 1");
}

TEST(LayerObject, ThatIsNoTreeIsRefused) {
  auto tree = small_tree();
  std::swap(tree[1], tree[2]);
  EXPECT_FALSE(read_back(written(tree, 4))) << "names out of order";
  tree = small_tree();
  tree[0].children = 4;
  EXPECT_FALSE(read_back(written(tree, 4))) << "an entry that is missing";
  tree = small_tree();
  tree[0].inode.nlink = 2;
  EXPECT_FALSE(read_back(written(tree, 4))) << "a subdirectory that is not counted";
  tree = small_tree();
  tree.back().ino = 99;
  EXPECT_FALSE(read_back(written(tree, 4))) << "a link to nothing";
  tree = small_tree();
  EXPECT_FALSE(read_back(written(tree, 5))) << "a wrong number of inodes";
}

TEST(LayerObject, IsWrittenAsInVersionOne) {
  const std::string bytes = written(small_tree(), 4);
  EXPECT_EQ(bytes, test::golden_or_write("layer-object-v1.bin", bytes));
}

}  // namespace
}  // namespace stellarium::fs
