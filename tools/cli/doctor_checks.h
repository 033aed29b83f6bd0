#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace stellarium::cli {

/// One thing that `doctor` looked at.
struct Finding {
  enum class State : std::uint8_t {
    good,
    limited,  ///< works, with the loss that `detail` names
    bad,      ///< something will not work
  };
  std::string what;
  State state = State::good;
  std::string detail;
  std::string advice;  ///< empty if there is nothing to do
};

std::vector<Finding> check_kernel();
std::vector<Finding> check_permissions();
std::vector<Finding> check_store(const std::filesystem::path& store);
std::vector<Finding> check_daemon(const std::filesystem::path& store);

}  // namespace stellarium::cli
