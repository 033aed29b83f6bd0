#include "tools/cli/tree_size.h"

#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <thread>

#include "support/temp_dir.h"

namespace stellarium::cli {
namespace {

TEST(TreeSize, AddsUpContentWithoutHoles) {
  const test::TempDir temp;
  std::filesystem::create_directory(temp / "folder");
  std::ofstream{temp / "folder/file"} << std::string(10'000, 'x');
  std::ofstream{temp / "sparse"} << "x";
  std::filesystem::resize_file(temp / "sparse", 1u << 30);
  const TreeSize size{temp.path().string()};
  for (int i = 0; i < 1000 && size.bytes() == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds{10});
  EXPECT_GE(size.bytes(), 10'000u);
  EXPECT_LT(size.bytes(), 1u << 20);
}

TEST(TreeSize, OfAMissingTreeIsUnknownOrNothing) {
  const test::TempDir temp;
  const TreeSize size{(temp / "missing").string()};
  EXPECT_EQ(size.bytes(), 0u);
}

}  // namespace
}  // namespace stellarium::cli
