#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>

#include "fs/volume.h"
#include "fs/volumes.h"
#include "support/byte_streams.h"
#include "support/image_store.h"

namespace stellarium::test {

/// A store with its volumes, which can be closed and opened again, as after the death of the server.
class VolumeFixture : public testing::Test {
 protected:
  VolumeFixture() { open(); }
  ~VolumeFixture() override { close(); }
  void open() {
    staging_ = must(fs::Staging::open(system_io(), store_.path() / "staged"));
    tier_ = must(tier::Tier::open(*store_.contents, system_io(), store_.path() / "hot", {.private_mount = false}));
    volumes_ = std::make_unique<fs::Volumes>(fs::Volume::Parts{*store_.database, *store_.contents, *tier_, *staging_});
  }
  void close() {
    volumes_.reset();
    tier_.reset();
    staging_.reset();
  }
  void reopen() {
    close();
    store_.close();
    store_.open();
    open();
  }
  std::shared_ptr<fs::Volume> make(const std::string& name, std::uint64_t size) {
    must(volumes_->create(name, size, {}));
    return must(volumes_->open(name));
  }
  void collect() {
    must(volumes_->sweep());
    must(store_.contents->collect(store_.catalog->live_contents(), false, true, {}));
  }

  ImageStore store_;
  std::unique_ptr<fs::Staging> staging_;
  std::unique_ptr<tier::Tier> tier_;
  std::unique_ptr<fs::Volumes> volumes_;
};

inline std::string content(const fs::Volume& volume, std::uint64_t offset = 0, std::size_t length = 1u << 21) {
  std::string bytes(length, '?');
  bytes.resize(must(volume.read(offset, std::as_writable_bytes(std::span{bytes}))));
  return bytes;
}
inline void write(fs::Volume& volume, std::uint64_t offset, std::string_view bytes) {
  ASSERT_EQ(must(volume.write(offset, as_bytes(bytes))), bytes.size());
}
inline std::string random_text(std::mt19937_64& random, std::size_t length) {
  std::string text(length, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

}  // namespace stellarium::test
