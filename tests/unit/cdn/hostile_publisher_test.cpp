#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "cdn/folder_objects.h"
#include "cdn/publisher.h"
#include "cdn/puller.h"
#include "fs/layer_object.h"
#include "support/file_text.h"
#include "support/frame_bytes.h"
#include "support/image_store.h"
#include "support/random_bytes.h"
#include "support/tar_maker.h"
#include "support/temp_dir.h"

// Images whose every object is named by its bytes, and which still lie: what only somebody can make whose manifest ids
// are followed.
namespace stellarium::cdn {
namespace {

using test::ImageStore;
using test::must;
using testing::HasSubstr;

/// What is written to it.
class ObjectBytes final : public cas::ContentWriter {
 public:
  Result<void> append(ByteSpan data) override {
    put_bytes(text, data);
    return {};
  }
  Result<void> append_zeros(std::uint64_t count) override {
    text.append(count, '\0');
    return {};
  }
  Result<cas::ContentId> finish() override { return cas::hash_of(as_bytes(text)); }
  std::string text;
};

class HostilePublisher : public testing::Test {
 protected:
  HostilePublisher() {
    const auto some = [](std::uint64_t seed, std::size_t size) {
      return std::string{as_text(test::random_bytes(seed, size))};
    };
    test::TarMaker tar;
    tar.file("large", some(1, 300'000)).file("other", some(2, 300'000));
    tar.file("middle", some(3, 20'000)).file("same", some(3, 20'000)).file("small", some(4, 500));
    must(from_.import("a", tar.whole()));
    objects_ = must(FolderObjects::open(dir_.path()));
    const fs::Image image = must(from_.catalog->find({"a"}));
    const fs::LayerReader reader{*from_.database, image.layer};
    Publisher publisher{*from_.contents, *from_.contents, *objects_, {.level = 1}};
    honest_ = must(publisher.publish(image, reader, {})).manifest;
    manifest_ = must(parse_manifest(test::file_text(dir_ / manifest_path(honest_))));
    layer_ = content_of(manifest_.layer);
    const std::string index = content_of(manifest_.index);
    parsed_ = must(parse_index(as_bytes(index), must(contents_of(reader))));
  }
  std::string content_of(const Manifest::Content& content) const {
    std::string bytes;
    for (const Manifest::Part& part : content.chunks) bytes += test::file_text(dir_ / blob_path(part.id));
    return bytes;
  }
  /// The layer object with its entries as `change` leaves them.
  void change_layer(const std::function<void(fs::LayerEntry&)>& change) {
    test::TextInput input{layer_};
    fs::LayerObjectReader reader{input};
    std::vector<fs::LayerEntry> entries;
    std::uint64_t inodes = 0;
    while (auto entry = must(reader.next())) {
      change(*entry);
      inodes += entry->first ? 1 : 0;
      entries.push_back(*std::move(entry));
    }
    ObjectBytes out;
    fs::LayerObjectWriter writer{out, entries.size(), inodes};
    for (const fs::LayerEntry& entry : entries) must(writer.add(entry));
    must(writer.flush());
    layer_ = out.text;
  }
  static Manifest::Content in_chunks(std::string_view bytes) {
    Manifest::Content content{cas::hash_of(as_bytes(bytes)), bytes.size(), {}};
    for (; !bytes.empty(); bytes.remove_prefix(std::min<std::size_t>(bytes.size(), 50'000))) {
      const std::string_view part = bytes.substr(0, 50'000);
      content.chunks.push_back({cas::hash_of(as_bytes(part)), static_cast<std::uint32_t>(part.size())});
    }
    return content;
  }
  /// Publishes what has become of layer, index and manifest; `change` sees the manifest last.
  cas::Hash publish(const std::function<void(Manifest&)>& change = {}) {
    const std::string index = encode_index(parsed_.index);
    manifest_.layer = in_chunks(layer_);
    manifest_.index = in_chunks(index);
    manifest_.metadata_frames.clear();
    std::string bundle;
    cas::Compressor compressor{1};
    for (const std::string_view whole : {std::string_view{layer_}, std::string_view{index}}) {
      for (std::size_t at = 0; at < whole.size(); at += 50'000) {
        const ByteSpan part = as_bytes(whole.substr(at, 50'000));
        cas::FrameBuilder builder{cas::FrameKind::chunks};
        builder.add(cas::hash_of(part), part);
        const auto container = test::container_of(builder, compressor);
        bundle += as_text(container);
        manifest_.metadata_frames.push_back({static_cast<std::uint32_t>(container.size()), 1});
      }
    }
    manifest_.metadata = {cas::hash_of(as_bytes(bundle)), bundle.size()};
    if (change) change(manifest_);
    put(blob_path(manifest_.metadata.id), bundle);
    const std::string text = encode_manifest(manifest_);
    const cas::Hash id = cas::hash_of(as_bytes(text));
    put(manifest_path(id), text);
    return id;
  }
  void put(const std::string& path, const std::string& bytes) {
    must(objects_->write(path, as_bytes(bytes), ObjectTarget::Existing::keep));
  }
  Result<Puller::Report> pull(const cas::Hash& manifest) {
    Puller puller{{*to_.database, *to_.contents, *to_.catalog, to_.scratch()}, *objects_, {}};
    return puller.pull(manifest, must(fs::ImageName::parse("b")), "test", {});
  }
  /// Nothing of it is seen, and the store takes the true image afterwards.
  void expect_refused(const cas::Hash& manifest, const std::string& why) {
    const auto pulled = pull(manifest);
    ASSERT_FALSE(pulled) << why;
    EXPECT_EQ(pulled.error().code, Errc::corrupt) << pulled.error().context;
    EXPECT_THAT(pulled.error().context, HasSubstr(why));
    EXPECT_TRUE(must(to_.catalog->list()).empty());
    EXPECT_EQ(must(to_.contents->check(true, {})).damage.size(), 0u);
    EXPECT_TRUE(pull(honest_));
    EXPECT_EQ(to_.content(to_.stat("b", "/large")), from_.content(from_.stat("a", "/large")));
  }

  test::TempDir dir_;
  ImageStore from_, to_;
  std::unique_ptr<FolderObjects> objects_;
  cas::Hash honest_;
  Manifest manifest_;
  std::string layer_;
  ParsedIndex parsed_;
};

TEST_F(HostilePublisher, WhoChangesNothingIsBelieved) {
  EXPECT_TRUE(pull(publish()));
  EXPECT_EQ(to_.content(to_.stat("b", "/large")), from_.content(from_.stat("a", "/large")));
}

TEST_F(HostilePublisher, CannotPutAContentTogetherFromTrueChunksInAnotherOrder) {
  cas::Recipe& recipe = parsed_.index.recipes[0];
  ASSERT_GE(recipe.entries.size(), 3u);
  // Not the first one: numbers count first uses, and with it all of them would change.
  const auto before = parsed_.order.chunks();
  std::swap(recipe.entries[1], recipe.entries[2]);
  std::unordered_map<cas::ChunkId, ChunkNumber, cas::HashOfHash> numbers;
  for (ChunkNumber number = 0; number < before.size(); ++number) numbers[before[number].id] = number;
  std::swap(numbers[recipe.entries[1].id], numbers[recipe.entries[2].id]);
  for (ImageIndex::Bundle& bundle : parsed_.index.bundles)
    for (ImageIndex::Frame& frame : bundle)
      for (ChunkNumber& number : frame.chunks) number = numbers[before[number].id];
  expect_refused(publish(), "puts content " + recipe.content.hex() + " together from other chunks");
}

TEST_F(HostilePublisher, CannotGiveAContentTwoSizes) {
  change_layer([](fs::LayerEntry& entry) {
    if (entry.name == "same") entry.inode.size = 20'300;
  });
  expect_refused(publish(), "two sizes");
}

TEST_F(HostilePublisher, CannotLieAboutASize) {
  change_layer([](fs::LayerEntry& entry) {
    if (entry.name == "small") entry.inode.size = 501;
  });
  expect_refused(publish(), "other chunks than the index says");
}

TEST_F(HostilePublisher, CannotMakeALargeContentLonger) {
  change_layer([](fs::LayerEntry& entry) {
    if (entry.name == "large") entry.inode.size = 300'001;
  });
  expect_refused(publish(), "have 300000 bytes, not 300001");
}

TEST_F(HostilePublisher, CannotNameAContentThatTheIndexDoesNotHave) {
  change_layer([](fs::LayerEntry& entry) {
    if (entry.name == "small") entry.inode.content = cas::hash_of(as_bytes("something else"));
  });
  expect_refused(publish(), "other chunks than the index says");
}

TEST_F(HostilePublisher, CannotPassOffBytesAsATree) {
  layer_[layer_.size() / 2] = static_cast<char>(layer_[layer_.size() / 2] ^ 0xff);
  layer_.resize(layer_.size() - 1);
  expect_refused(publish(), "layer object");
}

TEST_F(HostilePublisher, CannotNameMoreOrFewerBundlesThanThereAre) {
  expect_refused(publish([](Manifest& manifest) { manifest.bundles.push_back(manifest.bundles[0]); }),
                 "the manifest names 2 bundles, the index 1");
}

TEST_F(HostilePublisher, CannotGiveABundleAnotherSize) {
  expect_refused(publish([](Manifest& manifest) { ++manifest.bundles[0].size; }), "the manifest says");
}

TEST_F(HostilePublisher, CannotGiveMetadataAnotherId) {
  expect_refused(publish([](Manifest& manifest) { manifest.layer.id = cas::hash_of(as_bytes("another tree")); }),
                 "are not that content");
}

}  // namespace
}  // namespace stellarium::cdn
