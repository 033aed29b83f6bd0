#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

#include "fs/fuse/abi.h"
#include "fs/fuse/filesystem.h"

namespace stellarium::test {

/// Answers everything with nothing and remembers the last call.
class QuietFilesystem final : public fs::fuse::Filesystem {
 public:
  std::uint64_t features() const override { return fs::fuse::abi::feature::kPassthrough; }
  void started(std::uint64_t features, bool resumed) override {
    agreed = features;
    was_resumed = resumed;
  }
  void lookup(const fs::fuse::Request&, std::string_view name, fs::fuse::Reply reply) override {
    last = name;
    reply.done();
  }
  void getattr(const fs::fuse::Request&, fs::fuse::Reply) override { throw std::runtime_error("a library throws"); }
  void statx(const fs::fuse::Request&, fs::fuse::Reply reply) override { reply.done(); }
  void readlink(const fs::fuse::Request&, fs::fuse::Reply) override {}  // forgets to answer
  void open(const fs::fuse::Request&, const fs::fuse::abi::OpenIn&, fs::fuse::Reply reply) override { reply.done(); }
  void read(const fs::fuse::Request&, const fs::fuse::abi::ReadIn& in, fs::fuse::Reply reply) override {
    reply.bytes(reply.scratch(in.size));
  }
  void lseek(const fs::fuse::Request&, const fs::fuse::abi::LseekIn&, fs::fuse::Reply reply) override { reply.done(); }
  void release(const fs::fuse::Request&, const fs::fuse::abi::ReleaseIn&, fs::fuse::Reply reply) override {
    reply.done();
  }
  void opendir(const fs::fuse::Request&, fs::fuse::Reply reply) override { reply.done(); }
  void readdir(const fs::fuse::Request&, const fs::fuse::abi::ReadIn&, bool, fs::fuse::Reply reply) override {
    reply.done();
  }
  void getxattr(const fs::fuse::Request&, std::string_view name, std::uint32_t, fs::fuse::Reply reply) override {
    last = name;
    reply.done();
  }
  void listxattr(const fs::fuse::Request&, std::uint32_t, fs::fuse::Reply reply) override { reply.done(); }
  void statfs(const fs::fuse::Request&, fs::fuse::Reply reply) override { reply.done(); }

  std::uint64_t agreed = 0;
  bool was_resumed = false;
  std::string last;
};

}  // namespace stellarium::test
