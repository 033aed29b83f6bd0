#include "tools/cli/stream.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "support/temp_dir.h"

namespace stellarium::cli {
namespace {

class PipeOutputTest : public testing::Test {
 protected:
  PipeOutputTest() {
    std::ofstream{dir_ / "file", std::ios::binary} << text_;
    file_.reset(::open((dir_ / "file").c_str(), O_RDONLY | O_CLOEXEC));
  }
  /// What arrives at the other end of what `out` writes to.
  static std::string received(int from, UniqueFd out, const std::function<void(PipeOutput&)>& work) {
    std::string text;
    std::thread reader{[&] {
      std::string part(70'000, '\0');
      for (ssize_t n = 0; (n = ::read(from, part.data(), part.size())) > 0;)
        text.append(part, 0, static_cast<std::size_t>(n));
    }};
    PipeOutput output{out.get()};
    work(output);
    out.reset();
    reader.join();
    return text;
  }

  const test::TempDir dir_;
  const std::string text_ = [] {
    std::string text;
    for (int n = 0; text.size() < 3'000'000; ++n) text += std::to_string(n) + " ";
    return text;
  }();
  UniqueFd file_;
};

TEST_F(PipeOutputTest, SendsTheFirstBytesOfAFile) {
  for (const std::size_t size : {std::size_t{1}, std::size_t{4096}, std::size_t{2'500'001}, text_.size()}) {
    auto pipe = make_pipe();
    ASSERT_TRUE(pipe);
    const std::string text = received(pipe->read_end.get(), std::move(pipe->write_end), [&](PipeOutput& out) {
      ASSERT_TRUE(out.write(as_bytes("before ")));
      EXPECT_EQ(out.send(file_.get(), size).value(), size);
      ASSERT_TRUE(out.write(as_bytes(" after")));
    });
    EXPECT_TRUE(text == "before " + text_.substr(0, size) + " after") << size;
  }
}

TEST_F(PipeOutputTest, SaysHowMuchAShortFileHad) {
  auto pipe = make_pipe();
  ASSERT_TRUE(pipe);
  const std::string text = received(pipe->read_end.get(), std::move(pipe->write_end), [&](PipeOutput& out) {
    EXPECT_EQ(out.send(file_.get(), text_.size() + 5000).value(), text_.size());
  });
  EXPECT_TRUE(text == text_);
}

TEST_F(PipeOutputTest, CopiesWhereNothingCanBeSpliced) {
  // Neither end is a pipe.
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const UniqueFd other{ends[0]};
  const std::string text = received(other.get(), UniqueFd{ends[1]}, [&](PipeOutput& out) {
    EXPECT_EQ(out.send(file_.get(), text_.size()).value(), text_.size());
  });
  EXPECT_TRUE(text == text_);
}

TEST_F(PipeOutputTest, IsCancelledWhenNobodyReads) {
  auto pipe = make_pipe();
  ASSERT_TRUE(pipe);
  pipe->read_end.reset();
  PipeOutput out{pipe->write_end.get()};
  ::signal(SIGPIPE, SIG_IGN);
  EXPECT_EQ(out.send(file_.get(), 10).error().code, Errc::cancelled);
}

}  // namespace
}  // namespace stellarium::cli
