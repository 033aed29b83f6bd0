#include "fs/fuse/operations.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <utility>

#include "fs/fuse/session.h"
#include "support/fuse_messages.h"

namespace stellarium::fs::fuse {
namespace {

using abi::Opcode;
using test::bytes_of;
using test::make_name;
using test::make_request;

std::string text_of(ByteParts parts) {
  std::string text(size_of(parts), '?');
  gather(parts, std::as_writable_bytes(std::span{text}));
  return text;
}

/// Leaves everything that writes to the defaults.
class ReadingFilesystem : public Filesystem {
 public:
  std::uint64_t features() const override { return abi::feature::kSetxattrExt; }
  void started(std::uint64_t, bool) override {}
  void lookup(const Request&, std::string_view, Reply reply) override { reply.done(); }
  void getattr(const Request&, Reply reply) override { reply.done(); }
  void statx(const Request&, Reply reply) override { reply.done(); }
  void readlink(const Request&, Reply reply) override { reply.done(); }
  void open(const Request&, const abi::OpenIn&, Reply reply) override { reply.done(); }
  void read(const Request&, const abi::ReadIn&, Reply reply) override { reply.done(); }
  void lseek(const Request&, const abi::LseekIn&, Reply reply) override { reply.done(); }
  void release(const Request&, const abi::ReleaseIn&, Reply reply) override { reply.done(); }
  void opendir(const Request&, Reply reply) override { reply.done(); }
  void readdir(const Request&, const abi::ReadIn&, bool, Reply reply) override { reply.done(); }
  void getxattr(const Request&, std::string_view, std::uint32_t, Reply reply) override { reply.done(); }
  void listxattr(const Request&, std::uint32_t, Reply reply) override { reply.done(); }
  void statfs(const Request&, Reply reply) override { reply.done(); }
};

/// Writes down each call with its arguments.
class WritingFilesystem final : public ReadingFilesystem {
 public:
  std::uint32_t max_write() const override { return max_write_; }
  void forget(NodeId node) override { calls += fmt::format("forget {};", node.value()); }
  void setattr(const Request& request, const abi::SetattrIn& in, Reply reply) override {
    note(request, reply, "setattr {} {} {} {} {}", in.valid, in.fh, in.size, in.mode, in.gid);
  }
  void symlink(const Request& request, std::string_view name, std::string_view target, Reply reply) override {
    note(request, reply, "symlink {} {}", name, target);
  }
  void mknod(const Request& request, const abi::MknodIn& in, std::string_view name, Reply reply) override {
    note(request, reply, "mknod {} {} {} {}", in.mode, in.rdev, in.umask, name);
  }
  void mkdir(const Request& request, const abi::MkdirIn& in, std::string_view name, Reply reply) override {
    note(request, reply, "mkdir {} {} {}", in.mode, in.umask, name);
  }
  void unlink(const Request& request, std::string_view name, Reply reply) override {
    note(request, reply, "unlink {}", name);
  }
  void rmdir(const Request& request, std::string_view name, Reply reply) override {
    note(request, reply, "rmdir {}", name);
  }
  void rename(const Request& request, NodeId new_parent, std::uint32_t flags, std::string_view old_name,
              std::string_view new_name, Reply reply) override {
    note(request, reply, "rename {} {} {} {}", new_parent.value(), flags, old_name, new_name);
  }
  void link(const Request& request, NodeId target, std::string_view name, Reply reply) override {
    note(request, reply, "link {} {}", target.value(), name);
  }
  void create(const Request& request, const abi::CreateIn& in, std::string_view name, Reply reply) override {
    note(request, reply, "create {} {} {} {} {}", in.flags, in.mode, in.umask, in.open_flags, name);
  }
  void tmpfile(const Request& request, const abi::CreateIn& in, Reply reply) override {
    note(request, reply, "tmpfile {} {} {}", in.flags, in.mode, in.umask);
  }
  void write(const Request& request, const abi::WriteIn& in, ByteParts data, Reply reply) override {
    note(request, reply, "write {} {} {} {}", in.fh, in.offset, in.write_flags, text_of(data).substr(0, 9));
  }
  void fallocate(const Request& request, const abi::FallocateIn& in, Reply reply) override {
    note(request, reply, "fallocate {} {} {} {}", in.fh, in.offset, in.length, in.mode);
  }
  void copy_file_range(const Request& request, const abi::CopyFileRangeIn& in, bool wide, Reply reply) override {
    note(request, reply, "copy {} {} {} {} {} {:#x} {} {}", in.fh_in, in.offset_in, in.node_out, in.fh_out,
         in.offset_out, in.length, in.flags, wide);
  }
  void setxattr(const Request& request, const abi::SetxattrIn& in, std::string_view name, ByteSpan value,
                Reply reply) override {
    note(request, reply, "setxattr {} {} {} {}", in.flags, in.setxattr_flags, name, as_text(value).substr(0, 9));
  }
  void removexattr(const Request& request, std::string_view name, Reply reply) override {
    note(request, reply, "removexattr {}", name);
  }
  void flush(const Request& request, const abi::FlushIn& in, Reply reply) override {
    note(request, reply, "flush {} {}", in.fh, in.lock_owner);
  }
  void fsync(const Request& request, const abi::FsyncIn& in, Reply reply) override {
    note(request, reply, "fsync {} {}", in.fh, in.fsync_flags);
  }
  void fsyncdir(const Request& request, const abi::FsyncIn& in, Reply reply) override {
    note(request, reply, "fsyncdir {} {}", in.fh, in.fsync_flags);
  }
  void syncfs(const Request& request, Reply reply) override { note(request, reply, "syncfs"); }

  std::string calls;
  std::uint32_t max_write_ = 1u << 20;

 private:
  template <typename... Args>
  void note(const Request& request, Reply& reply, fmt::format_string<Args...> format, Args&&... args) {
    calls += fmt::format("{}: ", request.node().value()) + fmt::format(format, std::forward<Args>(args)...) + ";";
    reply.done();
  }
};

/// A conversation with one file system.
template <typename View>
class Conversation {
 public:
  explicit Conversation(std::uint64_t features = abi::feature::kSetxattrExt) { session_.resume(features); }
  int ask(Opcode opcode, const std::string& arguments) {
    session_.handle(as_bytes(make_request(opcode, 5, 4, arguments)), sink_, scratch_);
    return sink_->only().error;
  }
  /// One that must take no answer.
  void tell(Opcode opcode, const std::string& arguments) {
    session_.handle(as_bytes(make_request(opcode, 5, 4, arguments)), sink_, scratch_);
    EXPECT_TRUE(sink_->take().empty());
  }
  std::string calls() { return std::exchange(view_->calls, {}); }
  View& view() { return *view_; }

 private:
  std::shared_ptr<test::RecordingSink> sink_ = std::make_shared<test::RecordingSink>();
  std::vector<std::byte> scratch_ = std::vector<std::byte>(4096);
  View* view_ = new View;
  Session session_{std::unique_ptr<Filesystem>{view_}};
};

std::string write_of(std::uint32_t size, const std::string& data) {
  return bytes_of(abi::WriteIn{
             .fh = 1, .offset = 2, .size = size, .write_flags = 4, .lock_owner = 0, .flags = 0, .padding = 0}) +
         data;
}
std::string setxattr_of(std::uint32_t size, const std::string& name, const std::string& value) {
  return bytes_of(abi::SetxattrIn{size, 1, 2, 0}) + name + value;
}
std::string forget_of(std::uint32_t count, std::initializer_list<std::uint64_t> nodes) {
  std::string bytes = bytes_of(abi::BatchForgetIn{count, 0});
  for (const std::uint64_t node : nodes) bytes += bytes_of(abi::ForgetOne{node, 1});
  return bytes;
}

struct Writing {
  Opcode opcode;
  std::string arguments, call;
  int refusal = EROFS;  ///< of a view that does not write
};

/// Every request that writes, well-formed.
std::vector<Writing> well_formed() {
  abi::SetattrIn setattr{};
  setattr.valid = abi::setattr::kSize;
  setattr.fh = 1;
  setattr.size = 2;
  setattr.mode = 3;
  setattr.gid = 4;
  const std::string copy = bytes_of(abi::CopyFileRangeIn{1, 2, 3, 4, 5, 0x1'2345'6789, 7});
  return {
      {Opcode::setattr, bytes_of(setattr), "setattr 8 1 2 3 4"},
      {Opcode::symlink, make_name("n") + make_name("../t"), "symlink n ../t"},
      {Opcode::mknod, bytes_of(abi::MknodIn{1, 2, 3, 0}) + make_name("n"), "mknod 1 2 3 n"},
      {Opcode::mkdir, bytes_of(abi::MkdirIn{1, 2}) + make_name("n"), "mkdir 1 2 n"},
      {Opcode::unlink, make_name("n"), "unlink n"},
      {Opcode::rmdir, make_name("n"), "rmdir n"},
      {Opcode::rename, bytes_of(abi::RenameIn{9}) + make_name("old") + make_name("new"), "rename 9 0 old new"},
      {Opcode::rename2, bytes_of(abi::Rename2In{9, 3, 0}) + make_name("old") + make_name("new"), "rename 9 3 old new"},
      {Opcode::link, bytes_of(abi::LinkIn{9}) + make_name("n"), "link 9 n"},
      {Opcode::create, bytes_of(abi::CreateIn{1, 2, 3, 4}) + make_name("n"), "create 1 2 3 4 n"},
      {Opcode::tmpfile, bytes_of(abi::CreateIn{1, 2, 3, 0}) + make_name("/"), "tmpfile 1 2 3"},
      {Opcode::write, write_of(4, "data"), "write 1 2 4 data"},
      {Opcode::write, write_of(0, ""), "write 1 2 4 "},
      {Opcode::fallocate, bytes_of(abi::FallocateIn{1, 2, 3, 4, 0}), "fallocate 1 2 3 4"},
      {Opcode::copy_file_range, copy, "copy 1 2 3 4 5 0xfffff000 7 false"},
      {Opcode::copy_file_range_64, copy, "copy 1 2 3 4 5 0x123456789 7 true"},
      {Opcode::setxattr, setxattr_of(5, make_name("user.a"), "value"), "setxattr 1 2 user.a value"},
      {Opcode::setxattr, setxattr_of(0, make_name("user.a"), ""), "setxattr 1 2 user.a "},
      {Opcode::removexattr, make_name("user.a"), "removexattr user.a"},
      {Opcode::flush, bytes_of(abi::FlushIn{1, 0, 0, 2}), "flush 1 2", ENOSYS},
      {Opcode::fsync, bytes_of(abi::FsyncIn{1, 1, 0}), "fsync 1 1", ENOSYS},
      {Opcode::fsyncdir, bytes_of(abi::FsyncIn{1, 0, 0}), "fsyncdir 1 0", ENOSYS},
      {Opcode::syncfs, bytes_of(abi::SyncfsIn{}), "syncfs", ENOSYS},
  };
}

TEST(Operations, EveryRequestThatWritesReachesItsMethod) {
  Conversation<WritingFilesystem> conversation;
  for (const Writing& one : well_formed()) {
    EXPECT_EQ(conversation.ask(one.opcode, one.arguments), 0) << one.call;
    EXPECT_EQ(conversation.calls(), "5: " + one.call + ";");
  }
}

TEST(Operations, AViewThatDoesNotWriteRefusesThemAll) {
  Conversation<ReadingFilesystem> conversation;
  for (const Writing& one : well_formed()) {
    EXPECT_EQ(conversation.ask(one.opcode, one.arguments), one.refusal) << one.call;
  }
}

TEST(Operations, NothingThatIsCutShortReachesAMethod) {
  Conversation<WritingFilesystem> conversation;
  for (const Writing& one : well_formed()) {
    // The name of TMPFILE means nothing.
    const std::size_t whole = one.opcode == Opcode::tmpfile ? sizeof(abi::CreateIn) : one.arguments.size();
    for (std::size_t size = 0; size < whole; ++size) {
      EXPECT_EQ(conversation.ask(one.opcode, one.arguments.substr(0, size)), EINVAL) << one.call << " " << size;
    }
  }
  EXPECT_EQ(conversation.calls(), "");
}

TEST(Operations, NamesOfEntriesAreOneComponentAndNotADot) {
  Conversation<WritingFilesystem> conversation;
  struct Bad {
    std::string name;
    int error;
  };
  const std::string dot = make_name("."), dots = make_name("..");
  for (const Bad& bad :
       {Bad{make_name(""), EINVAL}, Bad{"n", EINVAL}, Bad{make_name("/"), EINVAL}, Bad{make_name("a/b"), EINVAL},
        Bad{dot, EINVAL}, Bad{dots, EINVAL}, Bad{make_name(std::string(256, 'n')), ENAMETOOLONG}}) {
    const std::string good = make_name("good"), renamed = bytes_of(abi::RenameIn{9}),
                      renamed2 = bytes_of(abi::Rename2In{9, 0, 0});
    for (const auto& [opcode, arguments] : std::initializer_list<std::pair<Opcode, std::string>>{
             {Opcode::symlink, bad.name + (bad.name == "n" ? "" : make_name("target"))},
             {Opcode::mknod, bytes_of(abi::MknodIn{}) + bad.name},
             {Opcode::mkdir, bytes_of(abi::MkdirIn{}) + bad.name},
             {Opcode::unlink, bad.name},
             {Opcode::rmdir, bad.name},
             {Opcode::rename, renamed + good + bad.name},
             {Opcode::rename, renamed + bad.name + (bad.name == "n" ? "" : good)},
             {Opcode::rename2, renamed2 + good + bad.name},
             {Opcode::rename2, renamed2 + bad.name + (bad.name == "n" ? "" : good)},
             {Opcode::link, bytes_of(abi::LinkIn{}) + bad.name},
             {Opcode::create, bytes_of(abi::CreateIn{}) + bad.name}}) {
      EXPECT_EQ(conversation.ask(opcode, arguments), bad.error) << static_cast<int>(opcode) << " " << bad.name;
    }
  }
  EXPECT_EQ(conversation.calls(), "");
  EXPECT_EQ(conversation.ask(Opcode::unlink, make_name("...")), 0);
  EXPECT_EQ(conversation.ask(Opcode::unlink, make_name(std::string(255, 'n'))), 0);
}

TEST(Operations, ASymlinksTargetIsAnyTextOfAtMost4095Bytes) {
  Conversation<WritingFilesystem> conversation;
  const std::string name = make_name("n");
  EXPECT_EQ(conversation.ask(Opcode::symlink, name + make_name("")), EINVAL);
  EXPECT_EQ(conversation.ask(Opcode::symlink, name + "no end"), EINVAL);
  EXPECT_EQ(conversation.ask(Opcode::symlink, name + make_name(std::string(4096, 't'))), ENAMETOOLONG);
  EXPECT_EQ(conversation.calls(), "");
  EXPECT_EQ(conversation.ask(Opcode::symlink, name + make_name(std::string(4095, 't'))), 0);
}

TEST(Operations, AWritesSizeIsThatOfItsDataAndNotAboveWhatTheViewTakes) {
  Conversation<WritingFilesystem> conversation;
  for (const std::uint32_t lie : {0u, 3u, 5u, 0x7fffffffu, 0xffffffffu}) {
    EXPECT_EQ(conversation.ask(Opcode::write, write_of(lie, "data")), EINVAL) << lie;
  }
  EXPECT_EQ(conversation.ask(Opcode::write, write_of(kMaxWrite + 1, std::string(kMaxWrite + 1, 'w'))), EINVAL);
  EXPECT_EQ(conversation.calls(), "");
  EXPECT_EQ(conversation.ask(Opcode::write, write_of(kMaxWrite, std::string(kMaxWrite, 'w'))), 0);
  conversation.view().max_write_ = 3;
  conversation.calls();
  EXPECT_EQ(conversation.ask(Opcode::write, write_of(4, "data")), EINVAL);
  EXPECT_EQ(conversation.calls(), "");
}

TEST(Operations, AnAttributesSizeIsThatOfItsValueAndAtMost64KiB) {
  Conversation<WritingFilesystem> conversation;
  const std::string name = make_name("user.a"), most(64u << 10, 'v');
  for (const std::uint32_t lie : {0u, 4u, 6u, 0xffffffffu}) {
    EXPECT_EQ(conversation.ask(Opcode::setxattr, setxattr_of(lie, name, "value")), EINVAL) << lie;
  }
  EXPECT_EQ(conversation.ask(Opcode::setxattr, setxattr_of((64u << 10) + 1, name, most + 'v')), E2BIG);
  EXPECT_EQ(conversation.ask(Opcode::setxattr, setxattr_of(0, make_name(""), "")), EINVAL);
  EXPECT_EQ(conversation.ask(Opcode::setxattr, setxattr_of(0, make_name(std::string(256, 'a')), "")), ERANGE);
  EXPECT_EQ(conversation.ask(Opcode::removexattr, "user.a"), EINVAL);
  EXPECT_EQ(conversation.ask(Opcode::removexattr, make_name(std::string(256, 'a'))), ERANGE);
  EXPECT_EQ(conversation.calls(), "");
  EXPECT_EQ(conversation.ask(Opcode::setxattr, setxattr_of(64u << 10, name, most)), 0);
}

TEST(Operations, SetxattrHasEightBytesBeforeTheNameUnlessMoreWereAgreedOn) {
  Conversation<WritingFilesystem> conversation{0};
  const std::string old = bytes_of(abi::SetxattrIn{5, 1, 2, 0}).substr(0, abi::kSetxattrInOldSize);
  EXPECT_EQ(conversation.ask(Opcode::setxattr, old + make_name("user.a") + "value"), 0);
  EXPECT_EQ(conversation.calls(), "5: setxattr 1 0 user.a value;");
}

TEST(Operations, ForgettingStopsAtWhatIsThere) {
  Conversation<WritingFilesystem> conversation;
  conversation.tell(Opcode::forget, bytes_of(abi::ForgetIn{~0ull}));
  EXPECT_EQ(conversation.calls(), "forget 5;");
  conversation.tell(Opcode::batch_forget, forget_of(2, {7, 8}));
  EXPECT_EQ(conversation.calls(), "forget 7;forget 8;");
  conversation.tell(Opcode::batch_forget, forget_of(1, {7, 8}));
  EXPECT_EQ(conversation.calls(), "forget 7;");
  conversation.tell(Opcode::batch_forget, forget_of(0xffffffff, {7, 8}) + std::string(15, 'x'));
  EXPECT_EQ(conversation.calls(), "forget 7;forget 8;");
  for (const std::string& cut : {std::string{}, std::string(7, 'x')}) {
    conversation.tell(Opcode::forget, cut);
    conversation.tell(Opcode::batch_forget, cut);
  }
  EXPECT_EQ(conversation.calls(), "");
}

}  // namespace
}  // namespace stellarium::fs::fuse
