
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "support/fuse_view.h"
#include "support/temp_dir.h"

// Any bytes as a sequence of FUSE requests (u16 length, then that many bytes) to the views of a small image, and to one
// that takes everything that writes. Whatever they are: no crash, no answer larger than asked for, at most one answer
// for each request, and no argument of another shape than Filesystem promises.
namespace {

using namespace stellarium;

namespace abi = fs::fuse::abi;
using fs::fuse::NodeId;
using fs::fuse::Reply;
using fs::fuse::Request;

void expect(bool holds) {
  if (!holds) std::abort();
}

/// Reads every byte that it is given, so that a sanitizer sees one too many.
class TouchingFilesystem final : public fs::fuse::Filesystem {
 public:
  std::uint64_t features() const override { return abi::feature::kSetxattrExt; }
  std::uint32_t max_write() const override { return 32u << 10; }  // less than a request of this target can hold
  void started(std::uint64_t, bool) override {}

  void lookup(const Request&, std::string_view name, Reply reply) override {
    touch_name(name);
    reply.done();
  }
  void getattr(const Request&, Reply reply) override { reply.done(); }
  void statx(const Request&, Reply reply) override { reply.done(); }
  void readlink(const Request&, Reply reply) override { reply.done(); }
  void open(const Request&, const abi::OpenIn& in, Reply reply) override { done(reply, in); }
  void read(const Request&, const abi::ReadIn& in, Reply reply) override { done(reply, in); }
  void lseek(const Request&, const abi::LseekIn& in, Reply reply) override { done(reply, in); }
  void release(const Request&, const abi::ReleaseIn& in, Reply reply) override { done(reply, in); }
  void opendir(const Request&, Reply reply) override { reply.done(); }
  void readdir(const Request&, const abi::ReadIn& in, bool, Reply reply) override { done(reply, in); }
  void getxattr(const Request&, std::string_view name, std::uint32_t size, Reply reply) override {
    touch_text(name, abi::kMaxXattrName);
    done(reply, size);
  }
  void listxattr(const Request&, std::uint32_t size, Reply reply) override { done(reply, size); }
  void statfs(const Request&, Reply reply) override { reply.done(); }
  void forget(NodeId node) override { touch(node.value()); }

  void setattr(const Request&, const abi::SetattrIn& in, Reply reply) override { done(reply, in); }
  void symlink(const Request&, std::string_view name, std::string_view target, Reply reply) override {
    touch_text(target, abi::kMaxTarget);
    done_entry(reply, name);
  }
  void mknod(const Request&, const abi::MknodIn& in, std::string_view name, Reply reply) override {
    touch(in);
    done_entry(reply, name);
  }
  void mkdir(const Request&, const abi::MkdirIn& in, std::string_view name, Reply reply) override {
    touch(in);
    done_entry(reply, name);
  }
  void unlink(const Request&, std::string_view name, Reply reply) override { done_entry(reply, name); }
  void rmdir(const Request&, std::string_view name, Reply reply) override { done_entry(reply, name); }
  void rename(const Request&, NodeId new_parent, std::uint32_t flags, std::string_view old_name,
              std::string_view new_name, Reply reply) override {
    touch(new_parent.value() + flags);
    touch_entry(old_name);
    done_entry(reply, new_name);
  }
  void link(const Request&, NodeId target, std::string_view name, Reply reply) override {
    touch(target.value());
    done_entry(reply, name);
  }
  void create(const Request&, const abi::CreateIn& in, std::string_view name, Reply reply) override {
    touch(in);
    done_entry(reply, name);
  }
  void tmpfile(const Request&, const abi::CreateIn& in, Reply reply) override { done(reply, in); }
  void write(const Request&, const abi::WriteIn& in, ByteParts data, Reply reply) override {
    expect(in.size == size_of(data) && in.size <= max_write());
    for (const ByteSpan part : data) touch_bytes(part);
    done(reply, in);
  }
  void fallocate(const Request&, const abi::FallocateIn& in, Reply reply) override { done(reply, in); }
  void copy_file_range(const Request&, const abi::CopyFileRangeIn& in, bool wide, Reply reply) override {
    expect(wide || in.length <= 0xffff'f000);
    done(reply, in);
  }
  void setxattr(const Request& request, const abi::SetxattrIn& in, std::string_view name, ByteSpan value,
                Reply reply) override {
    expect(in.size == value.size() && value.size() <= abi::kMaxXattrValue);
    expect(request.has(abi::feature::kSetxattrExt) || in.setxattr_flags == 0);
    touch_text(name, abi::kMaxXattrName);
    touch_bytes(value);
    done(reply, in);
  }
  void removexattr(const Request&, std::string_view name, Reply reply) override {
    touch_text(name, abi::kMaxXattrName);
    reply.done();
  }
  void flush(const Request&, const abi::FlushIn& in, Reply reply) override { done(reply, in); }
  void fsync(const Request&, const abi::FsyncIn& in, Reply reply) override { done(reply, in); }
  void fsyncdir(const Request&, const abi::FsyncIn& in, Reply reply) override { done(reply, in); }
  void syncfs(const Request&, Reply reply) override { reply.done(); }

 private:
  void touch_bytes(ByteSpan bytes) {
    for (const std::byte byte : bytes) sum_ = sum_ + std::to_integer<unsigned>(byte);
  }
  template <typename T>
  void touch(const T& value) {
    touch_bytes(std::as_bytes(std::span{&value, 1}));
  }
  void touch_text(std::string_view text, std::size_t max) {
    expect(!text.empty() && text.size() <= max && text.find('\0') == std::string_view::npos);
    touch_bytes(as_bytes(text));
  }
  void touch_name(std::string_view name) {
    touch_text(name, abi::kMaxName);
    expect(name.find('/') == std::string_view::npos);
  }
  void touch_entry(std::string_view name) {
    touch_name(name);
    expect(name != "." && name != "..");
  }
  template <typename T>
  void done(Reply& reply, const T& in) {
    touch(in);
    reply.done();
  }
  void done_entry(Reply& reply, std::string_view name) {
    touch_entry(name);
    reply.done();
  }
  volatile unsigned sum_ = 0;
};

/// A session with it, asked like a FuseView.
class WritableView {
 public:
  void begin() {
    abi::InitIn in{};
    in.major = abi::kMajor;
    in.minor = abi::kMinor;
    in.flags = in.flags2 = ~0u;
    send(test::make_request(abi::Opcode::init, 0, 2, test::bytes_of(in)));
    sink->take();
  }
  void send(std::string_view message) { session_.handle(as_bytes(message), sink, scratch_); }

  std::shared_ptr<test::RecordingSink> sink = std::make_shared<test::RecordingSink>();

 private:
  std::vector<std::byte> scratch_ = std::vector<std::byte>(4096);
  fs::fuse::Session session_{std::make_unique<TouchingFilesystem>()};
};

struct World {
  World() {
    image.begin();
    const fs::Ino etc = image.add_directory(fs::kRootIno, "etc");  // node (5, 2)
    image.add_file(etc, "hosts", "localhost\n");
    image.add_file(fs::kRootIno, "program", std::string(20'000, 'p'), true);
    image.add(fs::kRootIno, "link", test::make_symlink("etc/hosts"));
    fs::Inode inode = test::make_directory(fs::kRootIno);
    inode.has_xattrs = true;
    image.set_xattr(image.add(fs::kRootIno, "attributed", inode), "user.one", "1");
    image.publish("debian");
  }
  test::TempDir dir;
  test::FuseImage image{dir.path()};
  test::FuseView one{image, false};
  test::FuseView store{image, true};
  WritableView writable;
};

template <typename View>
void run(View& view, ByteSpan data) {
  view.begin();
  ByteReader reader{data};
  while (reader.left() > 2) {
    const auto length = std::min<std::size_t>(reader.le<std::uint16_t>(), reader.left());
    const ByteSpan message = reader.take(length);
    const std::vector<std::byte> copy(message.begin(), message.end());  // reading past its end is seen
    view.send(as_text(copy));
    const auto answers = view.sink->take();
    if (answers.size() > 1) std::abort();
    for (const auto& answer : answers) {
      if (answer.payload.size() > fs::fuse::kMaxPayload || answer.error < 0 || answer.error >= 4096) std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  stellarium::log::set_level(stellarium::log::Level::off);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World world;
  const ByteSpan bytes = std::as_bytes(std::span{data, size});
  run(world.one, bytes);
  run(world.store, bytes);
  run(world.writable, bytes);
  return 0;
}
