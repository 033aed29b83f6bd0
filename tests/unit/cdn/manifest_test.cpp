#include "cdn/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "support/golden.h"
#include "support/manifest_example.h"

namespace stellarium::cdn {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json example_manifest() {
  return json::parse(encode_manifest(test::manifest_example()));
}
Error manifest_refusal(const json& value) {
  const auto parsed = parse_manifest(value.dump());
  EXPECT_FALSE(parsed) << "accepted: " << value.dump();
  return parsed ? Error{} : parsed.error();
}

TEST(Manifest, OfTheFirstVersionIsReadForEver) {
  const std::string text = encode_manifest(test::manifest_example());
  EXPECT_EQ(test::golden_or_write("cdn-manifest-v1.json", text), text);
  EXPECT_EQ(parse_manifest(text), test::manifest_example());
}

TEST(Manifest, ListsEachChunkOfTheMetadataOnce) {
  Manifest manifest = test::manifest_example();
  manifest.layer.chunks.push_back(manifest.layer.chunks[0]);
  manifest.index.chunks.insert(manifest.index.chunks.begin(), manifest.layer.chunks[1]);
  const auto parts = manifest.metadata_chunks();
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[0], manifest.layer.chunks[0]);
  EXPECT_EQ(parts[1], manifest.layer.chunks[1]);
  EXPECT_EQ(parts[2], manifest.index.chunks[1]);
}

TEST(Manifest, OfAnotherVersionIsRefusedByName) {
  json value = example_manifest();
  value["stellarium"] = 2;
  const Error error = manifest_refusal(value);
  EXPECT_EQ(error.code, Errc::version);
  EXPECT_THAT(error.context, HasSubstr("schema 2, this program knows 1"));
}

TEST(Manifest, OfAnotherVersionNeedNotHaveTheSameMembers) {
  EXPECT_EQ(parse_manifest(R"({"stellarium":2,"all":"new"})").error().code, Errc::version);
}

TEST(Manifest, MayHaveMembersThatItsReaderDoesNotKnow) {
  json value = example_manifest();
  value["annotations"] = {{"made by", "somebody"}};
  EXPECT_EQ(parse_manifest(value.dump(2)), test::manifest_example());
}

TEST(Manifest, CutAnywhereIsRefused) {
  const std::string whole = encode_manifest(test::manifest_example());
  for (std::size_t size = 0; size + 1 < whole.size(); ++size)
    EXPECT_FALSE(parse_manifest(whole.substr(0, size))) << size;
}

TEST(Manifest, WithoutAMemberIsRefused) {
  const json whole = example_manifest();
  for (const auto& [name, member] : whole.items()) {
    json value = whole;
    value.erase(name);
    EXPECT_THAT(manifest_refusal(value).context, HasSubstr(name));
    if (!member.is_object()) continue;
    for (const auto& [inner, ignored] : member.items()) {
      json without = whole;
      without[name].erase(inner);
      EXPECT_EQ(manifest_refusal(without).code, Errc::corrupt) << name << " " << inner;
    }
  }
}

TEST(Manifest, WithAnotherKindOfMemberIsRefused) {
  const std::vector<json> others{nullptr, true, -1, 1.5, "text", json::array(), json::object(), json::array({nullptr})};
  const json whole = example_manifest();
  for (const std::string pointer :
       {"/stellarium", "/tree", "/tree/inodes", "/layer", "/layer/id", "/layer/size", "/layer/chunks/0",
        "/layer/chunks/0/0", "/layer/chunks/0/1", "/index/chunks", "/metadata", "/metadata/size", "/metadata/frames/0",
        "/metadata/frames/0/0", "/metadata/frames/1/1", "/bundles/0", "/bundles/0/0", "/bundles/1/1"}) {
    for (const json& other : others) {
      json value = whole;
      value[json::json_pointer{pointer}] = other;
      EXPECT_FALSE(parse_manifest(value.dump())) << pointer << " " << other;
    }
  }
}

TEST(Manifest, WhoseSizesDoNotAddUpIsRefused) {
  json layer = example_manifest(), frames = example_manifest(), metadata = example_manifest();
  layer["layer"]["size"] = 70'001;
  EXPECT_THAT(manifest_refusal(layer).context, HasSubstr("whose chunks have 70000"));
  frames["metadata"]["frames"][0][1] = 1;
  EXPECT_THAT(manifest_refusal(frames).context, HasSubstr("are not its bundle"));
  frames["metadata"]["frames"][0][1] = 1000;
  EXPECT_THAT(manifest_refusal(frames).context, HasSubstr("more chunks than the metadata has"));
  metadata["metadata"]["size"] = 31'001;
  EXPECT_THAT(manifest_refusal(metadata).context, HasSubstr("are not its bundle"));
}

TEST(Manifest, WithIdsInAnotherFormIsRefused) {
  const std::string good(64, 'a');
  for (const std::string& id : {std::string(64, 'A'), std::string(63, 'a'), std::string(65, 'a'), good + " ",
                                "../" + std::string(61, 'a'), std::string{}}) {
    json value = example_manifest();
    value["bundles"][0][0] = id;
    EXPECT_EQ(manifest_refusal(value).code, Errc::corrupt) << id;
    value = example_manifest();
    value["layer"]["id"] = id;
    EXPECT_EQ(manifest_refusal(value).code, Errc::corrupt) << id;
  }
}

TEST(Manifest, WithSizesOutOfBoundsIsRefused) {
  const json whole = example_manifest();
  for (const std::string pointer :
       {"/layer/chunks/0/1", "/metadata/frames/0/0", "/metadata/frames/0/1", "/bundles/0/1"}) {
    json value = whole;
    value[json::json_pointer{pointer}] = 0;
    EXPECT_FALSE(parse_manifest(value.dump())) << pointer;
    value[json::json_pointer{pointer}] = ~std::uint64_t{0};
    EXPECT_FALSE(parse_manifest(value.dump())) << pointer;
  }
  json chunk = whole;
  chunk["layer"]["chunks"] =
      json::array({json::array({std::string(64, '1'), 65'537}), json::array({std::string(64, '2'), 4'463})});
  EXPECT_THAT(manifest_refusal(chunk).context, HasSubstr("[id, size]"));
}

}  // namespace
}  // namespace stellarium::cdn
