#pragma once
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/io.h"
#include "cas/content_store.h"
#include "fs/catalog.h"
#include "fs/content_input.h"
#include "fs/layer_reader.h"
#include "fs/tar_import.h"
#include "support/byte_streams.h"
#include "support/fs_layers.h"
#include "support/temp_dir.h"

namespace stellarium::test {

/// Remembers what an import says.
class ImportNotes : public fs::ImportObserver {
 public:
  void note(const std::string& line) override { notes.push_back(line); }
  void content(std::string_view path, const cas::ContentId& id, std::uint64_t) override {
    contents[std::string{path}] = id;
  }
  std::vector<std::string> notes;
  std::map<std::string, cas::ContentId> contents;
};

template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(to_string(result.error()));
  if constexpr (!std::is_void_v<T>) return std::move(*result);
}

/// A whole store in a folder of its own: database, contents, catalog. It can be closed and opened again, with the
/// database lost if need be.
class ImageStore {
 public:
  ImageStore() { open(); }

  void open() {
    std::filesystem::create_directories(scratch());
    database = open_database(dir_ / "db");
    contents = must(cas::ContentStore::open(*database, system_io(), dir_ / "segments",
                                            {.workers = 1, .segment_bytes = 1u << 20, .store = {}}));
    catalog = must(fs::Catalog::open(*database, system_io(), journal()));
  }
  void close() {
    catalog.reset();
    if (contents) must(contents->close());
    contents.reset();
    database.reset();
  }
  void lose_database() {
    close();
    std::filesystem::remove_all(dir_ / "db");
  }

  Result<fs::ImportReport> import(const std::string& name, const std::string& tar) {
    TextInput input{tar};
    return fs::import_tar(*database, *contents, *catalog, scratch(), input, must(fs::ImageName::parse(name)),
                          "test.tar", notes);
  }
  fs::LayerReader reader(const std::string& name) const {
    return fs::LayerReader{*database, must(catalog->find(must(fs::ImageName::parse(name)))).layer};
  }
  fs::Inode stat(const std::string& name, const std::string& path) const {
    return must(reader(name).resolve(path, false)).inode;
  }
  std::string content(const fs::Inode& inode) const {
    if (inode.body != fs::Body::content) return inode.inline_bytes;
    fs::ContentInput input{*contents, inode.content, inode.size};
    std::string bytes(static_cast<std::size_t>(inode.size), '\0');
    for (std::size_t at = 0; at < bytes.size();) {
      at += must(input.read(std::as_writable_bytes(std::span{bytes}).subspan(at)));
    }
    return bytes;
  }

  std::filesystem::path scratch() const { return dir_ / "tmp"; }
  std::filesystem::path journal() const { return dir_ / "names.journal"; }
  const std::filesystem::path& path() const { return dir_.path(); }

  ImportNotes notes;

 private:
  TempDir dir_;

 public:
  std::unique_ptr<cas::Database> database;
  std::unique_ptr<cas::ContentStore> contents;
  std::unique_ptr<fs::Catalog> catalog;
};

}  // namespace stellarium::test
