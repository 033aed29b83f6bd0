#pragma once
#include <string>
#include <vector>

#include "cdn/oci/archive_writer.h"
#include "cdn/oci/digest_input.h"
#include "cdn/oci/documents.h"
#include "cdn/oci/image_stream.h"
#include "fs/gzip_output.h"
#include "support/byte_streams.h"
#include "support/image_store.h"

namespace stellarium::test {

inline cdn::oci::Digest sha256(std::string_view text) {
  return cdn::oci::Sha256::of(as_bytes(text));
}

/// An image made of tars, as the stream that an import reads; every part can be made wrong before `stream`.
struct OciImage {
  enum class Compressed { no, gzip };
  explicit OciImage(const std::vector<std::string>& tars, Compressed compressed = Compressed::no) {
    std::string diff_ids;
    for (const std::string& tar : tars) {
      diff_ids += (diff_ids.empty() ? "\"" : ",\"") + sha256(tar).text() + "\"";
      blobs.push_back(compressed == Compressed::gzip ? gzip(tar) : tar);
    }
    config = R"({"architecture":"amd64","os":"linux","config":{"Env":["A=1"]},"rootfs":{"type":"layers","diff_ids":[)" +
             diff_ids + "]}}";
    const std::string type =
        std::string{"application/vnd.oci.image.layer.v1.tar"} + (compressed == Compressed::gzip ? "+gzip" : "");
    cdn::oci::ImageManifest described{.config = {.media_type = "application/vnd.oci.image.config.v1+json",
                                                 .digest = sha256(config),
                                                 .size = config.size()},
                                      .layers = {}};
    for (const std::string& blob : blobs)
      described.layers.push_back({.media_type = type, .digest = sha256(blob), .size = blob.size()});
    manifest = cdn::oci::make_manifest(described);
  }

  std::string stream(bool with_manifest = true) const {
    TextOutput out;
    cdn::oci::ArchiveWriter archive{out};
    if (with_manifest) must(archive.add(cdn::oci::kStreamManifest, manifest));
    must(archive.add(cdn::oci::kStreamConfig, config));
    for (const std::string& blob : blobs) must(archive.add(cdn::oci::kStreamLayer, blob));
    must(archive.finish());
    return out.text;
  }

  static std::string gzip(const std::string& text) {
    TextOutput out;
    fs::GzipOutput compressed{out};
    must(compressed.write(as_bytes(text)));
    must(compressed.finish());
    return out.text;
  }

  std::string manifest, config;
  std::vector<std::string> blobs;
};

}  // namespace stellarium::test
