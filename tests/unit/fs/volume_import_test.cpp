#include <gtest/gtest.h>

#include <random>

#include "fs/disk_stream.h"
#include "fs/volumes.h"
#include "support/volume_fixture.h"

namespace stellarium::fs {
namespace {

using test::content;
using test::must;
using test::random_text;
using test::write;

/// Volumes that come as disks and as manifests.
class VolumeImportTest : public test::VolumeFixture {
 protected:
  TinyVol manifest(const std::string& name) {
    const auto session = store_.contents->begin_session();
    return must(must(volumes_->open(name))->manifest(*session, {}));
  }
  Error refusal(const TinyVol& manifest) {
    const auto adopted = volumes_->adopt("refused", manifest, {}, {});
    EXPECT_FALSE(adopted) << "accepted";
    EXPECT_EQ(volumes_->open("refused").error().code, Errc::not_found);
    return adopted ? Error{} : adopted.error();
  }
  std::string stream_of(const std::string& bytes) {
    test::TextOutput out;
    auto disk = must(DiskStreamWriter::begin(out, bytes.size()));
    for (std::size_t at = 0; at < bytes.size(); at += kVolumeBlock)
      must(disk.write(at, as_bytes(std::string_view{bytes}.substr(at, kVolumeBlock))));
    must(disk.finish());
    return out.text;
  }
  std::mt19937_64 random_{3};
};

TEST_F(VolumeImportTest, ADiskIsReadAsItWas) {
  std::string bytes = random_text(random_, 5 * kVolumeBlock + 77);
  bytes.replace(kVolumeBlock, 2 * kVolumeBlock, std::string(2 * kVolumeBlock, '\0'));
  test::TextInput input{stream_of(bytes)};
  const auto imported = must(volumes_->import("disk", input, "disk.raw", {}));
  EXPECT_EQ(imported.size, bytes.size());
  EXPECT_EQ(imported.mapped, 3 * kVolumeBlock + 77);
  collect();
  EXPECT_EQ(content(*must(volumes_->open("disk"))), bytes);
}

TEST_F(VolumeImportTest, ADiskThatBreaksOffLeavesNothingButAMapToSweep) {
  const std::string stream = stream_of(random_text(random_, 3 * kVolumeBlock));
  test::TextInput cut{stream.substr(0, stream.size() - 1)};
  EXPECT_EQ(volumes_->import("disk", cut, {}, {}).error().code, Errc::corrupt);
  EXPECT_EQ(volumes_->open("disk").error().code, Errc::not_found);
  EXPECT_EQ(must(volumes_->sweep()), 1u);
}

TEST_F(VolumeImportTest, AManifestBecomesTheVolumeThatItWasMadeOf) {
  auto source = make("source", 9 * kVolumeBlock + 500);
  write(*source, kVolumeBlock + 5, random_text(random_, 3 * kVolumeBlock));
  write(*source, 9 * kVolumeBlock, random_text(random_, 500));
  const TinyVol before = manifest("source");
  const auto adopted = must(volumes_->adopt("copy", before, "a manifest", {}));
  EXPECT_EQ(adopted.size, 9 * kVolumeBlock + 500);
  EXPECT_EQ(adopted.mapped, 4 * kVolumeBlock + 500);
  EXPECT_EQ(manifest("copy"), before);
  const std::string bytes = content(*source);
  write(*source, 0, std::string(9 * kVolumeBlock, 'x'));
  must(source->settle({}));
  source.reset();
  must(volumes_->remove("source"));
  collect();
  EXPECT_EQ(content(*must(volumes_->open("copy"))), bytes) << "its blocks are kept for it alone";
}

TEST_F(VolumeImportTest, AManifestOfBlocksThatAreNotThereIsRefused) {
  write(*make("source", 4 * kVolumeBlock), 0, random_text(random_, 2 * kVolumeBlock));
  TinyVol volume = manifest("source");
  volume.blocks[1].id.bytes[0] ^= std::byte{1};
  volume.blocks.push_back({volume.blocks[1].id, 3 * kVolumeBlock, false});
  const Error error = refusal(volume);
  EXPECT_EQ(error.code, Errc::unavailable);
  EXPECT_NE(error.context.find("2 of 3 blocks"), std::string::npos) << error.context;
  EXPECT_NE(error.context.find(volume.blocks[1].id.hex() + " of offset 65536"), std::string::npos) << error.context;
  EXPECT_GE(must(volumes_->sweep()), 1u);
}

TEST_F(VolumeImportTest, AManifestWhoseBlockIsShorterThanItsPlaceIsRefused) {
  write(*make("source", kVolumeBlock + 100), kVolumeBlock, random_text(random_, 100));
  TinyVol volume = manifest("source");
  volume.size = 2 * kVolumeBlock;
  EXPECT_EQ(refusal(volume).code, Errc::corrupt);
}

TEST_F(VolumeImportTest, AManifestOverABaseIsRefused) {
  TinyVol volume{.base = {}, .size = kVolumeBlock, .blocks = {}};
  volume.base.bytes[0] = std::byte{1};
  EXPECT_EQ(refusal(volume).code, Errc::not_supported);
  EXPECT_EQ(refusal(TinyVol{}).code, Errc::invalid_argument) << "no bytes at all";
}

}  // namespace
}  // namespace stellarium::fs
