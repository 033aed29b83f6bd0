#include "fs/fuse/window_nodes.h"

#include <gtest/gtest.h>

#include "support/fake_tier.h"
#include "support/temp_dir.h"

namespace stellarium::fs::fuse {
namespace {

const tier::ContentRef kOld{cas::hash_of(as_bytes("old")), 3}, kOther{cas::hash_of(as_bytes("other")), 5};

TEST(WindowNodes, TheFirstAnswerStandsForTheConversation) {
  WindowNodes nodes;
  EXPECT_FALSE(nodes.contains(5));
  EXPECT_TRUE(nodes.decide(5, true));
  EXPECT_TRUE(nodes.decide(5, false));
  EXPECT_FALSE(nodes.decide(6, false));
  EXPECT_FALSE(nodes.decide(6, true));
  EXPECT_TRUE(nodes.decide(4096 * 7 + 5, true));  // of another piece
  EXPECT_TRUE(nodes.contains(5));
  EXPECT_FALSE(nodes.contains(6));
  EXPECT_FALSE(nodes.contains(7));
  EXPECT_TRUE(nodes.decide(NodeId::kMaxIno, true));
  nodes.start(false);
  EXPECT_FALSE(nodes.contains(5));
  EXPECT_TRUE(nodes.decide(6, true));
  nodes.start(true);
  EXPECT_TRUE(nodes.contains(5));  // who knows
  EXPECT_FALSE(nodes.decide(7, true));
}

TEST(WindowNodes, ARetiredNodeShowsWhatItShowedUntilItIsForgotten) {
  const test::TempDir dir;
  test::FakeTier tier{dir.path()};
  const auto content = tier.add("bytes of before");
  tier.make_hot(content, [](const Result<tier::HotFilePtr>&) {});
  std::weak_ptr<const tier::HotFile> file = tier.find_hot(content);
  const long others = file.use_count();

  WindowNodes nodes;
  const NodeId node = NodeId::of(3, 9);
  nodes.hold(node, tier.find_hot(content));  // it was forgotten before the file was there
  EXPECT_EQ(file.use_count(), others);
  EXPECT_FALSE(nodes.retired(node));
  nodes.retire(node, kOld);
  nodes.retire(node, kOther);  // by a second writer
  EXPECT_EQ(nodes.retired(node), kOld);
  EXPECT_FALSE(nodes.retired(node.next()));
  nodes.hold(node, tier.find_hot(content));
  EXPECT_EQ(file.use_count(), others + 1);
  nodes.forget(node.next());
  EXPECT_EQ(file.use_count(), others + 1);
  nodes.forget(node);
  EXPECT_EQ(file.use_count(), others);
  EXPECT_FALSE(nodes.retired(node));
}

}  // namespace
}  // namespace stellarium::fs::fuse
