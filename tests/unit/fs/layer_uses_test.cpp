#include "fs/layer_uses.h"

#include <gtest/gtest.h>

#include <random>

#include "fs/families.h"
#include "fs/layer_store.h"
#include "fs/records.h"
#include "support/image_store.h"

namespace stellarium::fs {
namespace {

using Batch = cas::Database::Batch;
using test::must;

class LayerUsesTest : public testing::Test {
 protected:
  void write(Batch&& batch) {
    const auto changes = must(LayerUses::changes_of(*database_, batch));
    must(database_->write(std::move(batch), cas::Database::Sync::no));
    uses_.apply(changes);
  }
  static void put(Batch& batch, LayerId layer, LayerId parent) {
    put_layer(batch, layer,
              {.state = parent == 0 ? LayerRecord::State::building : LayerRecord::State::frozen,
               .tree = layer,
               .parent = parent,
               .next_ino = 2});
  }
  static void name(Batch& batch, const std::string& name, LayerId layer) {
    batch.put(kCloneFamily, name_key(name, {}), encode_name({.layer = layer, .created = {}, .source = {}}));
  }

  test::TempDir dir_;
  std::unique_ptr<cas::Database> database_ = test::open_database(dir_ / "db");
  LayerUses uses_ = must(LayerUses::count(*database_));
};

TEST_F(LayerUsesTest, ALayerIsUnusedUntilItIsNamedAndWhenItsNameIsGone) {
  Batch made;
  put(made, 1, 0);
  write(std::move(made));
  EXPECT_EQ(uses_.unused(), (std::set<LayerId>{1}));
  Batch named;
  name(named, "web", 1);
  write(std::move(named));
  EXPECT_TRUE(uses_.unused().empty());
  Batch gone;
  gone.erase(kCloneFamily, name_key("web", {}));
  write(std::move(gone));
  EXPECT_EQ(uses_.unused(), (std::set<LayerId>{1}));
}

TEST_F(LayerUsesTest, WhatABatchSaysTwiceCountsOnce) {
  Batch batch;
  put(batch, 1, 0);
  name(batch, "web", 1);
  name(batch, "web", 1);
  batch.erase(kCloneFamily, name_key("web", {}));
  write(std::move(batch));
  EXPECT_EQ(uses_.unused(), (std::set<LayerId>{1}));
}

TEST_F(LayerUsesTest, AgreesWithACountAfterAnyChanges) {
  std::mt19937 random{7};
  const auto pick = [&](unsigned below) { return static_cast<unsigned>(random() % below); };
  const auto exists = [&](LayerId layer) { return must(read_layer(*database_, layer)).has_value(); };
  constexpr LayerId kLayers = 12;
  for (int round = 0; round < 2000; ++round) {
    Batch batch;
    for (unsigned changes = 1 + pick(4); changes != 0; --changes) {
      const LayerId layer = 1 + pick(kLayers), parent = pick(layer);
      switch (pick(4)) {
        case 0:
        case 1:
          if (parent == 0 || exists(parent)) put(batch, layer, parent);
          break;
        case 2:
          if (exists(layer)) name(batch, "clone" + std::to_string(pick(6)), layer);
          break;
        default:
          batch.erase(kCloneFamily, name_key("clone" + std::to_string(pick(6)), {}));
      }
    }
    write(std::move(batch));
    if (pick(3) == 0 && !uses_.unused().empty()) {
      Batch erased;  // only what nothing leads to
      erased.erase(kLayerFamily, layer_prefix(*uses_.unused().begin()));
      write(std::move(erased));
    }
    const LayerUses counted = must(LayerUses::count(*database_));
    for (const auto& [layer, record] : must(read_layers(*database_))) {
      ASSERT_EQ(uses_.unused().contains(layer), counted.unused().contains(layer)) << layer << " in round " << round;
      ASSERT_EQ(uses_.only_child(layer), counted.only_child(layer)) << layer << " in round " << round;
    }
  }
}

}  // namespace
}  // namespace stellarium::fs
