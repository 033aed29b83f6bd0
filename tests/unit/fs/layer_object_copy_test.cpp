#include "fs/layer_object_copy.h"

#include <gtest/gtest.h>

#include "support/golden.h"
#include "support/image_store.h"
#include "support/tar_maker.h"

namespace stellarium::fs {
namespace {

using test::must;
using test::TarMaker;

/// The id that a layer object gets when it is written from the records.
cas::ContentId id_from_records(test::ImageStore& store, const std::string& name) {
  const auto session = store.contents->begin_session();
  const auto writer = session->begin(cas::Placement::metadata);
  must(write_layer_object(*store.database, store.reader(name).layer(), *writer));
  return must(writer->finish());
}

cas::ContentId manifest(test::ImageStore& store, const std::string& name) {
  return must(store.catalog->find(must(ImageName::parse(name)))).manifest;
}

TEST(LayerObjectCopy, OfARichTreeIsTheObjectOfItsImport) {
  test::ImageStore store;
  must(store.import("rich", test::golden("import-stream-v1.tar")));
  EXPECT_EQ(id_from_records(store, "rich"), manifest(store, "rich"));
}

TEST(LayerObjectCopy, KeepsHardLinksAcrossDirectoriesAndManyEntries) {
  TarMaker tar;
  tar.directory("a").directory("b").directory("b/c").file("b/c/target", "bytes").link("a/link", "b/c/target");
  for (int i = 0; i < 3000; ++i) tar.file("b/entry" + std::to_string(i), i % 3 == 0 ? "x" : "");
  test::ImageStore store;
  must(store.import("many", tar.whole()));
  EXPECT_EQ(id_from_records(store, "many"), manifest(store, "many"));
}

TEST(LayerObjectCopy, OfALayerWithoutRecordsIsRefused) {
  test::ImageStore store;
  const auto session = store.contents->begin_session();
  const auto writer = session->begin(cas::Placement::metadata);
  EXPECT_EQ(write_layer_object(*store.database, 99, *writer).error().code, Errc::corrupt);
}

}  // namespace
}  // namespace stellarium::fs
