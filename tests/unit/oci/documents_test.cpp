#include "cdn/oci/documents.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace stellarium::cdn::oci {
namespace {

const std::string kDigest = "sha256:" + std::string(64, 'a');

std::string descriptor(const std::string& type, const std::string& digest = kDigest, const std::string& size = "5") {
  return R"({"mediaType":")" + type + R"(","digest":")" + digest + R"(","size":)" + size + "}";
}

std::string manifest(const std::string& layers,
                     const std::string& config = descriptor("application/vnd.oci.image.config.v1+json")) {
  return R"({"schemaVersion":2,"config":)" + config + R"(,"layers":[)" + layers + "]}";
}

const std::string kLayer = "application/vnd.oci.image.layer.v1.tar+gzip";

TEST(OciDocuments, ReadsAManifest) {
  const auto read = parse_manifest(manifest(descriptor(kLayer) + "," + descriptor(kLayer)));
  ASSERT_TRUE(read) << read.error().context;
  EXPECT_EQ(read->layers.size(), 2u);
  EXPECT_EQ(read->layers[0].digest.text(), kDigest);
  EXPECT_EQ(read->layers[0].size, 5u);
}

TEST(OciDocuments, RefusesManifestsThatSayOtherThings) {
  for (const std::string& text :
       {std::string{}, std::string{"[]"}, std::string{"{}"}, manifest(descriptor(kLayer, "sha256:../../etc/passwd")),
        manifest(descriptor(kLayer, "sha512:" + std::string(128, 'a'))), manifest(descriptor(kLayer, kDigest, "-1")),
        manifest(descriptor(kLayer, kDigest, "1e300")), manifest(descriptor(kLayer, kDigest, "9223372036854775807")),
        manifest(descriptor("text/plain")), manifest(descriptor(kLayer + "+encrypted")),
        manifest("", descriptor("application/vnd.example")), manifest("5"), manifest(descriptor(kLayer)) + "x"}) {
    EXPECT_FALSE(parse_manifest(text)) << text;
  }
  std::string many = descriptor(kLayer);
  for (int i = 0; i < 1024; ++i) many += "," + descriptor(kLayer);
  EXPECT_FALSE(parse_manifest(manifest(many)));
  EXPECT_FALSE(parse_manifest(manifest(descriptor(kLayer)) + std::string(kMaxDocument, ' ')));
}

TEST(OciDocuments, MakesAManifestThatItReads) {
  const auto read = parse_manifest(manifest(descriptor(kLayer)));
  ASSERT_TRUE(read);
  const auto again = parse_manifest(make_manifest(*read));
  ASSERT_TRUE(again) << again.error().context;
  EXPECT_EQ(again->layers[0].digest, read->layers[0].digest);
  EXPECT_EQ(make_manifest(*again), make_manifest(*read));
}

TEST(OciDocuments, ReadsAnIndexWithPlatformsAndRefs) {
  const std::string manifests = "application/vnd.oci.image.manifest.v1+json";
  const std::string index = "application/vnd.oci.image.index.v1+json";
  const auto with = [](std::string text, const std::string& more) { return text.insert(text.size() - 1, more); };
  const auto read =
      parse_index(R"({"schemaVersion":2,"manifests":[)" +
                  with(descriptor(manifests), R"(,"platform":{"os":"linux","architecture":"arm64","variant":"v8"})") +
                  "," + with(descriptor(index), R"(,"annotations":{"org.opencontainers.image.ref.name":"latest"})") +
                  "," + descriptor("application/other") + "]}");
  ASSERT_TRUE(read) << read.error().context;
  ASSERT_EQ(read->size(), 2u);
  ASSERT_TRUE((*read)[0].platform);
  EXPECT_EQ((*read)[0].platform->text(), "linux/arm64/v8");
  EXPECT_TRUE((*read)[1].is_index);
  EXPECT_EQ((*read)[1].ref, "latest");
}

TEST(OciDocuments, ComparesPlatforms) {
  const auto wanted = Platform::parse("linux/arm");
  ASSERT_TRUE(wanted);
  EXPECT_TRUE(wanted->takes({.os = "linux", .architecture = "arm", .variant = "v7"}));
  EXPECT_FALSE(Platform::parse("linux/arm/v6")->takes({.os = "linux", .architecture = "arm", .variant = "v7"}));
  EXPECT_FALSE(wanted->takes({.os = "windows", .architecture = "arm", .variant = {}}));
  EXPECT_FALSE(Platform::parse("linux"));
  EXPECT_FALSE(Platform::parse("/amd64"));
}

TEST(OciDocuments, ReadsAConfiguration) {
  const auto read = parse_config(
      R"({"os":"linux","architecture":"amd64","config":{"Env":["A=b"]},"rootfs":{"type":"layers","diff_ids":[")" +
      kDigest + R"("]}})");
  ASSERT_TRUE(read) << read.error().context;
  EXPECT_EQ(read->diff_ids.size(), 1u);
  EXPECT_FALSE(parse_config(R"({"rootfs":{"diff_ids":["sha256:AA"]}})"));
  EXPECT_FALSE(parse_config(R"({"rootfs":{"diff_ids":[5]}})"));
  EXPECT_FALSE(parse_config(R"({"rootfs":5})"));
}

TEST(OciDocuments, ReadsTheManifestOfAnArchiveOfDockers) {
  const auto read = parse_docker_manifest(
      R"([{"Config":"a.json","RepoTags":["x:1"],"Layers":["l/layer.tar"]},{"Config":"b","RepoTags":null,"Layers":[]}])");
  ASSERT_TRUE(read) << read.error().context;
  EXPECT_THAT((*read)[0].tags, testing::ElementsAre("x:1"));
  EXPECT_THAT((*read)[0].layers, testing::ElementsAre("l/layer.tar"));
  EXPECT_FALSE(parse_docker_manifest(R"({"Config":"a"})"));
  EXPECT_FALSE(parse_docker_manifest(R"([{"Config":"a","Layers":[7]}])"));
}

TEST(OciDocuments, KnowsOneVersionOfTheLayout) {
  EXPECT_TRUE(check_layout_version(R"({"imageLayoutVersion":"1.0.0"})"));
  EXPECT_FALSE(check_layout_version(R"({"imageLayoutVersion":"2.0.0"})"));
  EXPECT_FALSE(check_layout_version("{}"));
}

}  // namespace
}  // namespace stellarium::cdn::oci
