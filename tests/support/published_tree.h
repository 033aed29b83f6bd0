#pragma once
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>

#include "cdn/folder_objects.h"
#include "cdn/publisher.h"
#include "cdn/puller.h"
#include "support/image_store.h"
#include "support/random_bytes.h"
#include "support/tar_maker.h"
#include "support/temp_dir.h"

namespace stellarium::test {

inline std::string random_text(std::uint64_t seed, std::size_t size) {
  return std::string{as_text(random_bytes(seed, size))};
}

/// A tree with everything that is published in its own way: packs, blobs, chunk lists, runs of zeros, equal contents.
inline std::string published_tar(bool with_addition = false) {
  TarMaker tar;
  tar.directory("usr").directory("usr/bin").directory("usr/share");
  tar.file("usr/bin/tool",
           "\x7f"
           "ELF" +
               random_text(1, 300'000),
           0755);
  tar.file("usr/bin/small", "#!/bin/sh\n" + random_text(2, 500), 0755);
  for (std::size_t i = 0; i < 200; ++i)
    tar.file("usr/share/doc" + std::to_string(i), "document " + random_text(100 + i, 400 + 37 * i));
  tar.file("usr/share/large", random_text(3, 2'000'000));
  tar.file("usr/share/again", random_text(3, 2'000'000));
  tar.file("usr/share/zeros", std::string(1'000'000, '\0') + random_text(4, 100'000));
  tar.file("usr/share/tiny", "inline").file("usr/share/empty", "");
  tar.link("usr/share/linked", "usr/share/large").symlink("lib", "usr/lib");
  if (with_addition) tar.file("usr/share/new", random_text(5, 150'000));
  return tar.whole();
}

/// A folder where images are published, and what can happen to it.
class PublishedFolder {
 public:
  PublishedFolder() { std::filesystem::create_directories(path()); }
  std::filesystem::path path() const { return dir_ / "www"; }
  std::unique_ptr<cdn::FolderObjects> open() const { return must(cdn::FolderObjects::open(path())); }

  cdn::Publisher::Report publish(ImageStore& store, const std::string& name) const {
    const auto target = open();
    cdn::Publisher publisher{*store.contents, *store.contents, *target, {.level = 3}};
    const fs::Image image = must(store.catalog->find(must(fs::ImageName::parse(name))));
    return must(publisher.publish(image, fs::LayerReader{*store.database, image.layer}, {}));
  }
  /// Changes bytes of an object, or cuts it.
  void damage(const std::string& object, bool cut) const {
    const std::filesystem::path file = path() / object;
    const auto half = std::filesystem::file_size(file) / 2;
    if (cut) return std::filesystem::resize_file(file, half);
    std::fstream stream{file, std::ios::in | std::ios::out | std::ios::binary};
    stream.seekp(static_cast<std::streamoff>(half));
    stream.put('!').put('?').put('#');
  }
  cdn::Manifest manifest(const cas::Hash& id) const {
    return must(cdn::parse_manifest(must(open()->read(cdn::manifest_path(id), cdn::kMaxManifest)).value()));
  }

 private:
  TempDir dir_;
};

}  // namespace stellarium::test
