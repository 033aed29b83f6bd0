#pragma once
#include <memory>
#include <string>
#include <vector>

#include "fs/fuse/dev_fuse.h"
#include "fs/fuse/read_only_view.h"
#include "fs/fuse/session.h"
#include "fs/fuse/store_view.h"
#include "support/fuse_image.h"
#include "support/fuse_messages.h"

namespace stellarium::test {

class NoBackingPort final : public fs::fuse::BackingPort {
 public:
  Result<std::uint32_t> open(int) override { return ++last_; }
  Result<std::uint32_t> open_for_writing(int) override { return ++last_; }
  void close(std::uint32_t) override {}

 private:
  std::uint32_t last_ = 0;
};

/// A view of a FuseImage behind a session, asked by messages as the kernel would ask.
class FuseView {
 public:
  FuseView(FuseImage& image, bool whole_store) : reader_{image.tier} {
    auto table = fs::fuse::HandleTable::open(std::move(*fs::fuse::HandleTable::make()), 1);
    open_files_ = std::make_shared<fs::fuse::OpenFiles>(std::move(*table), port_, image.tier, true);
    const fs::fuse::ViewParts parts{image.catalog, *image.contents, image.tier, reader_,
                                    unhandled_,    readahead_,      inodes_};
    std::unique_ptr<fs::fuse::Filesystem> view;
    if (whole_store) {
      auto trees = std::make_shared<fs::fuse::StoreTrees>(*image.database, image.catalog);
      view = std::make_unique<fs::fuse::StoreView>(parts, std::move(trees), open_files_, true);
    } else {
      auto tree = std::make_shared<fs::fuse::OneTree>(
          fs::fuse::ImageTree{FuseImage::kTree, fs::LayerReader{*image.database, FuseImage::kLayer}, nullptr});
      view = std::make_unique<fs::fuse::ReadOnlyView>(parts, std::move(tree), open_files_, FuseImage::kTree, true);
    }
    session_ = std::make_unique<fs::fuse::Session>(std::move(view));
    begin();
  }

  /// A conversation with a kernel that offers everything; forgets what an earlier one left open.
  void begin() {
    fs::fuse::abi::InitIn in{};
    in.major = fs::fuse::abi::kMajor;
    in.minor = fs::fuse::abi::kMinor;
    in.flags = in.flags2 = ~0u;
    ask(fs::fuse::abi::Opcode::init, 0, bytes_of(in));
  }

  /// As after the death of an earlier server, which had agreed on everything.
  void resume() { session_->resume(~std::uint64_t{0}); }

  Answer ask(fs::fuse::abi::Opcode opcode, std::uint64_t node, const std::string& arguments = {}) {
    send(make_request(opcode, node, unique_ += 2, arguments));
    return sink->only();
  }
  void send(std::string_view message) { session_->handle(as_bytes(message), sink, scratch_); }

  fs::fuse::abi::EntryOut lookup(std::uint64_t node, const std::string& name) {
    return ask(fs::fuse::abi::Opcode::lookup, node, make_name(name)).as<fs::fuse::abi::EntryOut>();
  }
  Answer read(fs::fuse::abi::Opcode opcode, std::uint64_t node, std::uint64_t offset, std::uint32_t size) {
    fs::fuse::abi::ReadIn in{};
    in.offset = offset;
    in.size = size;
    return ask(opcode, node, bytes_of(in));
  }

  std::shared_ptr<RecordingSink> sink = std::make_shared<RecordingSink>();

 private:
  NoBackingPort port_;
  fs::fuse::ContentReader reader_;
  fs::fuse::NodeSet unhandled_;
  fs::fuse::TreeReadahead readahead_;
  fs::fuse::InodeCache inodes_;
  std::shared_ptr<fs::fuse::OpenFiles> open_files_;
  std::unique_ptr<fs::fuse::Session> session_;
  std::vector<std::byte> scratch_ = std::vector<std::byte>(fs::fuse::kMaxPayload);
  std::uint64_t unique_ = 0;
};

struct ListedEntry {
  std::string name;
  std::uint64_t ino, offset, node;
};

/// The entries of a READDIR or READDIRPLUS payload.
inline std::vector<ListedEntry> entries_of(const std::string& payload, bool plus) {
  std::vector<ListedEntry> entries;
  for (std::size_t at = 0; at < payload.size();) {
    std::uint64_t node = 0;
    if (plus) {
      std::memcpy(&node, payload.data() + at, sizeof node);
      at += sizeof(fs::fuse::abi::EntryOut);
    }
    fs::fuse::abi::Dirent dirent;
    std::memcpy(&dirent, payload.data() + at, sizeof dirent);
    at += sizeof dirent;
    entries.push_back({payload.substr(at, dirent.name_size), dirent.ino, dirent.offset, node});
    at = (at + dirent.name_size + 7) / 8 * 8;
  }
  return entries;
}

}  // namespace stellarium::test
