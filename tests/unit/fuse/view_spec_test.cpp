#include <gtest/gtest.h>

#include "fs/fuse/fuse_server.h"

namespace stellarium::fs::fuse {
namespace {

TEST(ViewSpec, OfAnImageComesBackAsItWas) {
  ViewSpec spec;
  spec.image = {"debian", "12"};
  spec.layer = 4'000'000'000;
  spec.tree = 1'000'000;
  const auto again = ViewSpec::decode(spec.encode());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->kind, ViewSpec::Kind::image);
  EXPECT_EQ(again->image, spec.image);
  EXPECT_EQ(again->layer, spec.layer);
  EXPECT_EQ(again->tree, spec.tree);
}

TEST(ViewSpec, OfACloneComesBackAsItWas) {
  ViewSpec spec;
  spec.kind = ViewSpec::Kind::clone;
  spec.clone = "web-1";
  spec.layer = 9;
  spec.tree = 12;
  const auto again = ViewSpec::decode(spec.encode());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->kind, ViewSpec::Kind::clone);
  EXPECT_EQ(again->clone, "web-1");
  EXPECT_EQ(again->layer, 9u);
  EXPECT_EQ(again->tree, 12u);
}

TEST(ViewSpec, OfTheWholeStoreComesBackAsItWas) {
  ViewSpec spec;
  spec.kind = ViewSpec::Kind::store;
  const auto again = ViewSpec::decode(spec.encode());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->kind, ViewSpec::Kind::store);
}

TEST(ViewSpec, RemembersThatPassthroughIsOff) {
  ViewSpec spec;
  spec.image = {"debian", "12"};
  EXPECT_TRUE(ViewSpec::decode(spec.encode())->passthrough);
  spec.passthrough = false;
  for (const auto kind : {ViewSpec::Kind::image, ViewSpec::Kind::store}) {
    spec.kind = kind;
    const auto again = ViewSpec::decode(spec.encode());
    ASSERT_TRUE(again);
    EXPECT_EQ(again->kind, kind);
    EXPECT_FALSE(again->passthrough);
  }
}

TEST(ViewSpec, RefusesEverythingElse) {
  for (const char* text :
       {"", "cached ", "cached cached store", "store ", "image", "image 1", "image 1 2", "image 1 2 ",
        "image x 2 debian:12", "image 1 99999999999 a:b", "image -1 2 a:b", "image 1 2 ../etc:b", "volume 1 2 a:b",
        "clone 1 2 ", "clone 1 2 a:b", "clone 1 2 .a", "clone 1 a"}) {
    const auto spec = ViewSpec::decode(text);
    EXPECT_FALSE(spec) << text;
  }
}

}  // namespace
}  // namespace stellarium::fs::fuse
