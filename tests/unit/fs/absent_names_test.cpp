#include "fs/absent_names.h"

#include <gtest/gtest.h>

#include "support/written_tree.h"

namespace stellarium::fs {
namespace {

AbsentNames::Place nowhere(std::string_view name) {
  return {0, {make_cookie(name_hash(name), 3), 0, 0, std::string{name}}};
}

TEST(AbsentNames, AreKnownUntilANameChanges) {
  AbsentNames names;
  names.remember(7, "new", nowhere("new"), names.now());
  ASSERT_TRUE(names.find(7, "new"));
  EXPECT_EQ(names.find(7, "new")->entry.cookie, make_cookie(name_hash("new"), 3));
  EXPECT_FALSE(names.find(7, "other"));
  EXPECT_FALSE(names.find(15, "new"));
  { const AbsentNames::Change change{names}; }
  EXPECT_FALSE(names.find(7, "new"));
}

TEST(AbsentNames, AreNotKnownIfNamesChangedWhileTheyWereLookedFor) {
  AbsentNames names;
  const std::uint64_t before = names.now();
  { const AbsentNames::Change change{names}; }
  names.remember(7, "new", nowhere("new"), before);
  EXPECT_FALSE(names.find(7, "new"));
  {
    const AbsentNames::Change change{names};
    names.remember(7, "new", nowhere("new"), names.now());
    EXPECT_FALSE(names.find(7, "new"));
  }
  EXPECT_FALSE(names.find(7, "new"));
}

TEST(AbsentNames, OfATreeAreMadeWhereALookUpFoundNone) {
  test::WrittenTree tree;
  EXPECT_FALSE(tree->lookup(kRootIno, "new").value());
  const auto made = tree->make(kRootIno, "new", test::new_file(), {});
  ASSERT_TRUE(made);
  EXPECT_EQ(tree->lookup(kRootIno, "new").value()->ino, made->ino);
  EXPECT_EQ(test::refusal(tree->make(kRootIno, "new", test::new_file(), {})), EEXIST);
  // A twin was made since: the name goes behind it, not where the look-up said.
  EXPECT_FALSE(tree->lookup(kRootIno, test::kTwinNames[0]).value());
  EXPECT_FALSE(tree->lookup(kRootIno, test::kTwinNames[1]).value());
  const auto first = tree->make(kRootIno, test::kTwinNames[0], test::new_file(), {});
  const auto second = tree->make(kRootIno, test::kTwinNames[1], test::new_file(), {});
  ASSERT_TRUE(first && second);
  EXPECT_EQ(tree.find(test::kTwinNames[0]), first->ino);
  EXPECT_EQ(tree.find(test::kTwinNames[1]), second->ino);
}

TEST(AbsentNames, OfATreeAreNotMadeBesideANameThatCameSince) {
  test::WrittenTree tree;
  EXPECT_FALSE(tree->lookup(kRootIno, "new").value());
  ASSERT_TRUE(tree->link(6, kRootIno, "new", {}));
  EXPECT_EQ(test::refusal(tree->make(kRootIno, "new", test::new_file(), {})), EEXIST);
  ASSERT_TRUE(tree->unlink(kRootIno, "new", {}));
  EXPECT_FALSE(tree->lookup(kRootIno, "new").value());
  ASSERT_TRUE(tree->rename(kRootIno, "empty", kRootIno, "new", 0, {}));
  EXPECT_EQ(test::refusal(tree->link(6, kRootIno, "new", {})), EEXIST);
}

}  // namespace
}  // namespace stellarium::fs
