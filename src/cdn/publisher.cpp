#include "cdn/publisher.h"

#include <numeric>
#include <unordered_set>

#include "cas/chunker.h"
#include "cas/frame_format.h"
#include "cdn/latch.h"
#include "fs/records.h"

namespace stellarium::cdn {
namespace {

constexpr std::uint64_t kFramesInMemory = 32u << 20;  // bytes: a tree in order uses each stored frame several times

std::uint64_t raw_size(const std::vector<ChunkOrder::Chunk>& chunks, const FramePlan& plan) {
  return std::accumulate(plan.begin(), plan.end(), std::uint64_t{0},
                         [&](std::uint64_t sum, ChunkNumber number) { return sum + chunks[number].size; });
}

std::vector<ChunkNumber> all_of(std::size_t count) {
  std::vector<ChunkNumber> numbers(count);
  std::iota(numbers.begin(), numbers.end(), ChunkNumber{0});
  return numbers;
}

}  // namespace

Result<std::vector<ImageContent>> contents_of(const fs::LayerReader& reader) {
  std::vector<ImageContent> contents;
  std::unordered_set<cas::ContentId, cas::HashOfHash> seen;
  auto scan = reader.scan_inodes();
  while (true) {
    const auto found = scan.next();
    if (!found) return fail(found.error());
    if (!*found) return contents;
    const fs::Inode& inode = (*found)->second;
    if (const auto content = fs::content_of(inode); content && seen.insert(content->id).second)
      contents.push_back({*content, inode.program});
  }
}

Publisher::Publisher(cas::ContentStore& contents, cas::ChunkSource& source, ObjectTarget& target,
                     const Options& options)
    : contents_{contents},
      options_{options},
      frames_{source, kFramesInMemory},
      uploader_{target, options.upload},
      compressor_{options.level},
      workers_{std::max(1u, options.workers)} {}

Result<Publisher::Report> Publisher::publish(const fs::Image& image, const fs::LayerReader& reader,
                                             const Progress& progress) {
  order_ = {}, index_ = {}, manifest_ = {}, report_ = {};
  made_.clear();
  if (auto added = add_contents(reader); !added) return fail(std::move(added).error());
  const Chunks& chunks = order_.chunks();
  report_.chunks = chunks.size();
  if (auto sent = send_bundles(plan_bundles(chunks, all_of(chunks.size())), progress); !sent) return fail(sent.error());
  if (auto sent = send_packs(); !sent) return fail(sent.error());
  if (auto sent = send_metadata(image); !sent) return fail(sent.error());
  if (auto sent = uploader_.finish(); !sent) return fail(sent.error());

  const std::string manifest = encode_manifest(manifest_);
  report_.manifest = cas::hash_of(as_bytes(manifest));
  if (auto sent = uploader_.offer(manifest_path(report_.manifest), manifest); !sent) return fail(sent.error());
  if (auto sent = uploader_.finish(); !sent) return fail(sent.error());
  report_.uploads = uploader_.totals();
  return report_;
}

Result<void> Publisher::add_contents(const fs::LayerReader& reader) {
  const auto contents = contents_of(reader);
  if (!contents) return fail(contents.error());
  for (const ImageContent& content : *contents) {
    auto recipe = contents_.recipe(content.ref.id, content.ref.size);
    if (!recipe) return fail(std::move(recipe).error());
    if (!order_.add(content, *recipe))
      return fail(Errc::corrupt, "the chunk list of content " + content.ref.id.hex() + " has a chunk of another size");
    if (content.ref.size > cas::kMaxChunk) index_.recipes.push_back(*std::move(recipe));
  }
  return {};
}

Result<std::string> Publisher::bytes_of(const ChunkOrder::Chunk& chunk) {
  if (const auto made = made_.find(chunk.id); made != made_.end()) return made->second;
  const auto found = frames_.get(chunk.id);
  if (!found) return fail(found.error());
  if (found->entry->size != chunk.size)
    return fail(Errc::corrupt, "chunk " + chunk.id.hex() + " has " + std::to_string(found->entry->size) +
                                   " bytes, its recipe says " + std::to_string(chunk.size));
  return std::string{as_text(found->data())};
}

Result<std::vector<std::string>> Publisher::encode_frames(const Chunks& chunks, const BundlePlan& plan,
                                                          cas::FrameKind kind) {
  std::vector<std::string> containers(plan.size());
  std::vector<cas::FrameBuilder> builders;
  const auto buffers = std::make_shared<cas::FrameBuffers>(cas::kMaxContainer);
  builders.reserve(plan.size());
  for (const FramePlan& frame : plan) {
    cas::FrameBuilder& builder = builders.emplace_back(kind, buffers);
    for (const ChunkNumber number : frame) {
      const auto bytes = bytes_of(chunks[number]);
      if (!bytes) return fail(bytes.error());
      builder.add(chunks[number].id, as_bytes(*bytes));
    }
  }
  Latch latch{plan.size()};
  for (std::size_t at = 0; at < plan.size(); ++at) {
    workers_.submit([this, &builder = builders[at], &container = containers[at], &latch] {
      container = as_text(builder.encode(compressor_).bytes());
      builder.clear();
      latch.count_down();
    });
  }
  latch.wait();
  return containers;
}

Result<void> Publisher::send_bundles(const std::vector<BundlePlan>& plans, const Progress& progress) {
  const Chunks& chunks = order_.chunks();
  const std::uint64_t total = raw_size(chunks, all_of(chunks.size()));
  for (const BundlePlan& plan : plans) {
    auto containers = encode_frames(chunks, plan, cas::FrameKind::chunks);
    if (!containers) return fail(std::move(containers).error());
    std::string object;
    ImageIndex::Bundle& bundle = index_.bundles.emplace_back();
    for (std::size_t at = 0; at < plan.size(); ++at) {
      object += (*containers)[at];
      bundle.push_back({static_cast<std::uint32_t>((*containers)[at].size()), plan[at]});
      report_.content_bytes += raw_size(chunks, plan[at]);
    }
    const cas::Hash id = cas::hash_of(as_bytes(object));
    manifest_.bundles.push_back({id, object.size()});
    ++report_.bundles;
    report_.bundle_bytes += object.size();
    if (auto sent = send(id, std::move(object)); !sent) return sent;
    for (const FramePlan& frame : plan) {
      for (const ChunkNumber number : frame) {
        if (chunks[number].packed) continue;
        auto bytes = bytes_of(chunks[number]);
        if (!bytes) return fail(std::move(bytes).error());
        if (auto sent = send(chunks[number].id, *std::move(bytes)); !sent) return sent;
      }
    }
    if (progress && !progress(report_.content_bytes, total)) return fail(Errc::cancelled, "the publish was stopped");
  }
  return {};
}

Result<void> Publisher::send_packs() {
  constexpr std::size_t kAtOnce = 64;
  const auto plans = plan_packs(order_.chunks());
  for (std::size_t begin = 0; begin < plans.size(); begin += kAtOnce) {
    const std::size_t end = std::min(plans.size(), begin + kAtOnce);
    const BundlePlan some{plans.begin() + static_cast<std::ptrdiff_t>(begin),
                          plans.begin() + static_cast<std::ptrdiff_t>(end)};
    auto containers = encode_frames(order_.chunks(), some, cas::FrameKind::pack);
    if (!containers) return fail(std::move(containers).error());
    for (std::size_t at = 0; at < some.size(); ++at) {
      const cas::Hash id = cas::hash_of(as_bytes((*containers)[at]));
      index_.packs.push_back({id, static_cast<std::uint32_t>((*containers)[at].size()), some[at]});
      ++report_.packs;
      if (auto sent = send(id, std::move((*containers)[at])); !sent) return sent;
    }
  }
  return {};
}

Result<Manifest::Content> Publisher::layer_content(const fs::Image& image) {
  const auto recipe = contents_.recipe(image.manifest, image.manifest_size);
  if (!recipe) return fail(recipe.error(), "the layer object of " + image.name.text());
  Manifest::Content content{image.manifest, image.manifest_size, {}};
  for (const cas::Recipe::Entry& entry : recipe->entries)
    for (std::uint32_t times = 0; times < entry.repeat; ++times) content.chunks.push_back({entry.id, entry.size});
  return content;
}

Manifest::Content Publisher::index_content(const std::string& index) {
  Manifest::Content content{cas::hash_of(as_bytes(index)), index.size(), {}};
  cas::Chunker chunker;
  for (ByteSpan rest = as_bytes(index); !rest.empty();) {
    const std::size_t size = index.size() <= cas::kMaxChunk ? rest.size() : chunker.next(rest).taken;
    const cas::ChunkId id = cas::hash_of(rest.first(size));
    made_.emplace(id, as_text(rest.first(size)));
    content.chunks.push_back({id, static_cast<std::uint32_t>(size)});
    rest = rest.subspan(size);
  }
  return content;
}

Result<void> Publisher::send_metadata(const fs::Image& image) {
  auto layer = layer_content(image);
  if (!layer) return fail(std::move(layer).error());
  manifest_.layer = *std::move(layer);
  manifest_.index = index_content(encode_index(index_));
  manifest_.inodes = image.files;
  manifest_.bytes = image.bytes;

  Chunks chunks;
  for (const Manifest::Part& part : manifest_.metadata_chunks()) chunks.push_back({part.id, part.size, false});
  BundlePlan plan;
  for (BundlePlan& part : plan_bundles(chunks, all_of(chunks.size())))
    std::move(part.begin(), part.end(), std::back_inserter(plan));
  auto containers = encode_frames(chunks, plan, cas::FrameKind::chunks);
  if (!containers) return fail(std::move(containers).error());
  std::string object;
  for (std::size_t at = 0; at < plan.size(); ++at) {
    object += (*containers)[at];
    manifest_.metadata_frames.push_back(
        {static_cast<std::uint32_t>((*containers)[at].size()), static_cast<std::uint32_t>(plan[at].size())});
  }
  manifest_.metadata = {cas::hash_of(as_bytes(object)), object.size()};
  report_.metadata_bytes = object.size();
  if (auto sent = send(manifest_.metadata.id, std::move(object)); !sent) return sent;
  for (const ChunkOrder::Chunk& chunk : chunks) {
    auto bytes = bytes_of(chunk);
    if (!bytes) return fail(std::move(bytes).error());
    if (auto sent = send(chunk.id, *std::move(bytes)); !sent) return sent;
  }
  return {};
}

}  // namespace stellarium::cdn
