#include "fs/fuse/session.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "support/fuse_messages.h"
#include "support/quiet_filesystem.h"

namespace stellarium::fs::fuse {
namespace {

using abi::Opcode;
using test::bytes_of;
using test::make_name;
using test::make_request;
using test::QuietFilesystem;

class SessionTest : public testing::Test {
 protected:
  test::Answer ask(const std::string& message) {
    session_.handle(as_bytes(message), sink_, scratch_);
    return sink_->only();
  }
  static std::string init_request(std::uint32_t major, std::uint32_t minor, std::uint64_t flags) {
    abi::InitIn in{};
    in.major = major;
    in.minor = minor;
    in.flags = static_cast<std::uint32_t>(flags);
    in.flags2 = static_cast<std::uint32_t>(flags >> 32);
    return make_request(Opcode::init, 0, 2, bytes_of(in));
  }
  void begin() { ASSERT_EQ(ask(init_request(7, 45, ~0ull)).error, 0); }

  std::shared_ptr<test::RecordingSink> sink_ = std::make_shared<test::RecordingSink>();
  std::vector<std::byte> scratch_ = std::vector<std::byte>(4096);
  QuietFilesystem* filesystem_ = new QuietFilesystem;
  Session session_{std::unique_ptr<Filesystem>{filesystem_}};
};

TEST_F(SessionTest, AnInterruptTakesNoAnswerOfItsOwn) {
  begin();
  const auto interrupt = [this](const std::string& arguments) {
    const std::string message = make_request(Opcode::interrupt, 0, 5, arguments);
    session_.handle(as_bytes(message), sink_, scratch_);
    return sink_->take();
  };
  EXPECT_TRUE(interrupt(bytes_of(abi::InterruptIn{4})).empty());
  const auto answers = interrupt("short");
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].error, EINVAL);
}

TEST_F(SessionTest, AgreesOnWhatBothSidesWant) {
  const auto answer = ask(init_request(7, 45, ~0ull));
  ASSERT_EQ(answer.error, 0);
  const auto out = answer.as<abi::InitOut>();
  EXPECT_EQ(out.major, 7u);
  EXPECT_EQ(out.minor, 45u);
  EXPECT_EQ(out.max_stack_depth, 1u);
  EXPECT_EQ(out.max_pages, 256);
  const std::uint64_t features = features_of(out);
  EXPECT_NE(features & abi::feature::kPassthrough, 0u);
  EXPECT_NE(features & abi::feature::kHasResend, 0u);
  EXPECT_EQ(features & (abi::feature::kWritebackCache | abi::feature::kSetxattrExt), 0u);  // nobody asked for them
  EXPECT_EQ(filesystem_->agreed, features);
  EXPECT_TRUE(session_.ready());
}

TEST_F(SessionTest, AGuestsKernelIsToSayWhoAsks) {
  Session guest{std::make_unique<QuietFilesystem>(), Peer::guest};
  for (Session* session : {&session_, &guest}) {
    session->handle(as_bytes(init_request(7, 45, ~0ull)), sink_, scratch_);
    const auto out = sink_->only().as<abi::InitOut>();
    EXPECT_EQ((features_of(out) & abi::feature::kAllowIdmap) != 0, session != &guest);
    EXPECT_NE(features_of(out) & abi::feature::kPosixAcl, 0u);
  }
}

TEST_F(SessionTest, WritesAreAsLongAsTheViewTakesButNoMoreThanThereIsRoomFor) {
  EXPECT_EQ(ask(init_request(7, 45, ~0ull)).as<abi::InitOut>().max_write, 64u << 10);
  abi::InitIn in{};
  in.major = abi::kMajor;
  in.minor = abi::kMinor;
  EXPECT_EQ(negotiate(in, 0, kMaxWrite)->max_write, 1u << 20);
  EXPECT_EQ(negotiate(in, 0, 0xffffffff)->max_write, 1u << 20);
  EXPECT_GE(kMaxRequest, sizeof(abi::InHeader) + sizeof(abi::WriteIn) + kMaxWrite);
}

TEST_F(SessionTest, AnOlderKernelGetsItsOwnVersionAndNoNewerFeatures) {
  abi::InitIn in{};
  in.major = 7;
  in.minor = 31;
  in.max_readahead = 4096;
  in.flags = static_cast<std::uint32_t>(~abi::feature::kInitExt);
  const auto answer = ask(make_request(Opcode::init, 0, 2, bytes_of(in).substr(0, abi::kInitInOldSize)));
  ASSERT_EQ(answer.error, 0);
  const auto out = answer.as<abi::InitOut>();
  EXPECT_EQ(out.minor, 31u);
  EXPECT_EQ(out.flags2, 0u);
  EXPECT_EQ(out.max_stack_depth, 0u);
  EXPECT_EQ(out.max_readahead, 4096u);
}

TEST_F(SessionTest, RefusesVersionsThatItCannotSpeak) {
  EXPECT_EQ(ask(init_request(7, 0, 0)).error, EPROTO);
  EXPECT_EQ(ask(init_request(6, 45, 0)).error, EPROTO);
  EXPECT_EQ(ask(make_request(Opcode::init, 0, 2, std::string(15, '\7'))).error, EINVAL);
  EXPECT_FALSE(session_.ready());
  EXPECT_EQ(ask(init_request(8, 0, 0)).as<abi::InitOut>().major, 7u);
  EXPECT_FALSE(session_.ready());
}

TEST_F(SessionTest, AnswersNothingBeforeInitAndAfterDestroy) {
  const std::string lookup = make_request(Opcode::lookup, 1, 4, make_name("etc"));
  EXPECT_EQ(ask(lookup).error, EIO);
  begin();
  EXPECT_EQ(ask(lookup).error, 0);
  EXPECT_EQ(ask(make_request(Opcode::destroy, 0, 6)).error, 0);
  EXPECT_EQ(ask(lookup).error, EIO);
  begin();
  EXPECT_EQ(ask(lookup).error, 0);
}

TEST_F(SessionTest, GoesOnWithAnotherServersAgreement) {
  session_.resume(abi::feature::kPassthrough);
  EXPECT_TRUE(filesystem_->was_resumed);
  EXPECT_EQ(ask(make_request(Opcode::lookup, 1, 4, make_name("etc"))).error, 0);
}

TEST_F(SessionTest, EchoesTheResentBit) {
  begin();
  const std::uint64_t unique = 4 | abi::kResentBit;
  EXPECT_EQ(ask(make_request(Opcode::lookup, 1, unique, make_name("etc"))).unique, unique);
}

TEST_F(SessionTest, AnswersUnknownOpcodesWithENOSYS) {
  begin();
  for (const std::uint32_t opcode : {0u, 7u, 19u, 54u, 4096u, 0xffffffffu}) {
    EXPECT_EQ(ask(make_request(static_cast<Opcode>(opcode), 1, 4)).error, ENOSYS) << opcode;
  }
}

TEST_F(SessionTest, ChangesNothingOfWhatIsReadOnly) {
  Session read_only{std::make_unique<QuietFilesystem>(), Peer::guest, nullptr, true};
  const auto ask_it = [&](const std::string& message) {
    read_only.handle(as_bytes(message), sink_, scratch_);
    return sink_->only().error;
  };
  const auto open = [](std::uint32_t flags) {
    abi::OpenIn in{};
    in.flags = flags;
    return make_request(Opcode::open, 1, 4, bytes_of(in));
  };
  ASSERT_EQ(ask_it(init_request(7, 45, ~0ull)), 0);
  for (const Opcode opcode :
       {Opcode::setattr, Opcode::symlink, Opcode::mknod, Opcode::mkdir, Opcode::unlink, Opcode::rmdir, Opcode::rename,
        Opcode::rename2, Opcode::link, Opcode::create, Opcode::tmpfile, Opcode::write, Opcode::fallocate,
        Opcode::copy_file_range, Opcode::copy_file_range_64, Opcode::setxattr, Opcode::removexattr})
    EXPECT_EQ(ask_it(make_request(opcode, 1, 4)), EROFS) << static_cast<int>(opcode);
  for (const int flags : {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC})
    EXPECT_EQ(ask_it(open(static_cast<std::uint32_t>(flags))), EROFS) << flags;
  EXPECT_EQ(ask_it(open(O_RDONLY)), 0);
  EXPECT_EQ(ask_it(make_request(Opcode::lookup, 1, 4, make_name("etc"))), 0);
}

TEST_F(SessionTest, ForgettingTakesNoAnswerWhateverItClaims) {
  session_.handle(as_bytes(make_request(Opcode::forget, 1, 2, bytes_of(abi::ForgetIn{1}))), sink_, scratch_);
  EXPECT_TRUE(sink_->take().empty());  // not even before INIT
  begin();
  for (const std::string& arguments : {std::string{}, bytes_of(abi::ForgetIn{~0ull}), std::string(7, 'x')}) {
    session_.handle(as_bytes(make_request(Opcode::forget, 12345, 4, arguments)), sink_, scratch_);
  }
  session_.handle(as_bytes(make_request(Opcode::batch_forget, 0, 4, bytes_of(abi::BatchForgetIn{0xffffffffu, 0}))),
                  sink_, scratch_);
  EXPECT_TRUE(sink_->take().empty());
}

TEST_F(SessionTest, RefusesArgumentsThatAreCutShort) {
  begin();
  for (const Opcode opcode :
       {Opcode::lookup, Opcode::getattr, Opcode::statx, Opcode::open, Opcode::read, Opcode::lseek, Opcode::release,
        Opcode::opendir, Opcode::readdir, Opcode::readdirplus, Opcode::getxattr, Opcode::listxattr}) {
    EXPECT_EQ(ask(make_request(opcode, 1, 4, "abc")).error, EINVAL) << static_cast<int>(opcode);
  }
}

TEST_F(SessionTest, RefusesXattrNamesThatDoNotEndOrAreTooLong) {
  begin();
  const std::string head = bytes_of(abi::GetxattrIn{100, 0});
  EXPECT_EQ(ask(make_request(Opcode::getxattr, 1, 4, head + "user.a")).error, EINVAL);
  EXPECT_EQ(ask(make_request(Opcode::getxattr, 1, 4, head + make_name(std::string(256, 'a')))).error, ERANGE);
  EXPECT_EQ(ask(make_request(Opcode::getxattr, 1, 4, head + make_name("user.a"))).error, 0);
  EXPECT_EQ(filesystem_->last, "user.a");
}

TEST_F(SessionTest, AnswersEIOForWhatThrowsAndForWhatIsForgotten) {
  begin();
  EXPECT_EQ(ask(make_request(Opcode::getattr, 1, 4, bytes_of(abi::GetattrIn{}))).error, EIO);
  EXPECT_EQ(ask(make_request(Opcode::readlink, 1, 4)).error, EIO);
}

TEST_F(SessionTest, AnswersARequestOfTheWrongLengthIfItHasAHeader) {
  begin();
  std::string message = make_request(Opcode::lookup, 1, 4, make_name("etc"));
  message.pop_back();
  EXPECT_EQ(ask(message).error, EINVAL);
  session_.handle(as_bytes(message).first(20), sink_, scratch_);
  EXPECT_TRUE(sink_->take().empty());
}

TEST_F(SessionTest, NeverGivesMoreScratchThanThereIs) {
  begin();
  abi::ReadIn in{};
  in.size = 0xffffffff;
  EXPECT_EQ(ask(make_request(Opcode::read, 1, 4, bytes_of(in))).payload.size(), scratch_.size());
}

TEST_F(SessionTest, CountsRequestsByName) {
  begin();
  ask(make_request(Opcode::lookup, 1, 4, make_name("a")));
  ask(make_request(Opcode::lookup, 1, 6, make_name("b")));
  ask(make_request(static_cast<Opcode>(999), 1, 8));
  EXPECT_EQ(session_.requests(), 4u);
  const std::vector<std::pair<std::string, std::uint64_t>> expected{{"UNKNOWN", 1}, {"LOOKUP", 2}, {"INIT", 1}};
  EXPECT_EQ(session_.requests_by_opcode(), expected);
}

}  // namespace
}  // namespace stellarium::fs::fuse
