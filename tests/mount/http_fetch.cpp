// Reads objects through an HttpReader and compares them with the files that they are.
//
//   http_fetch FOLDER NAME=VALUE…
//
// origin (several) · ca, certificate, key, token, netrc (files) · count: of requests · size: bytes of each; 0: any up
// to 64 KiB · whole=1: whole objects · parallel · bound, window: milliseconds · seed. FOLDER is what the origins serve.
// Bytes that differ are asked for again, as wrong ones. Prints one object of JSON; exits with 1 if something did not
// arrive.
#include <nlohmann/json.hpp>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <map>
#include <mutex>
#include <random>

#include "base/log.h"
#include "cdn/http/http_reader.h"
#include "support/file_text.h"

using namespace stellarium;
using cdn::ObjectRequest;
using cdn::http::HttpReader;

namespace {

constexpr unsigned kMostDistrusted = 8;

struct Wanted {
  ObjectRequest request;
  std::string_view bytes;
};

/// Counts what has arrived; its functions are called on the reader's thread.
class Arrivals {
 public:
  explicit Arrivals(HttpReader& reader) : reader_{reader} {}
  void ask(const Wanted& wanted) {
    reader_.fetch(wanted.request, [this, wanted](Result<std::string> result) { take(wanted, std::move(result)); });
  }
  void wait(std::size_t count) {
    std::unique_lock lock{mutex_};
    changed_.wait(lock, [&] { return ended_ == count; });
  }
  std::uint64_t bytes() const { return bytes_; }
  const std::vector<std::string>& errors() const { return errors_; }

 private:
  void take(Wanted wanted, Result<std::string> result) {
    const bool right = result && *result == wanted.bytes;
    if (!right && result && ++wanted.request.distrusted <= kMostDistrusted) return ask(wanted);
    const std::lock_guard lock{mutex_};
    if (right)
      bytes_ += wanted.bytes.size();
    else
      errors_.push_back(result ? wanted.request.path + ": wrong bytes"
                               : std::string{name_of(result.error().code)} + ": " + result.error().context);
    ++ended_;
    changed_.notify_one();
  }

  HttpReader& reader_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t ended_ = 0;
  std::uint64_t bytes_ = 0;
  std::vector<std::string> errors_;
};

std::vector<Wanted> choose(const std::vector<std::pair<std::string, std::string>>& files, std::uint64_t count,
                           std::uint64_t size, bool whole, std::uint64_t seed) {
  std::mt19937_64 random{seed};
  const auto below = [&random](std::uint64_t bound) {
    return std::uniform_int_distribution<std::uint64_t>{0, bound - 1}(random);
  };
  std::vector<Wanted> all;
  while (all.size() < count) {
    const auto& [path, text] = files[below(files.size())];
    Wanted wanted;
    wanted.request.path = path;
    if (!whole) {
      wanted.request.size = std::min<std::uint64_t>(size == 0 ? 1 + below(64 << 10) : size, text.size());
      wanted.request.offset = below(text.size() - *wanted.request.size + 1);
    }
    wanted.bytes = std::string_view{text}.substr(wanted.request.offset, wanted.request.size.value_or(text.size()));
    all.push_back(std::move(wanted));
  }
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: http_fetch FOLDER NAME=VALUE...\n");
    return 2;
  }
  log::start("http_fetch");  // to standard error
  cdn::http::Options options;
  std::map<std::string, std::uint64_t> numbers{{"count", 1}, {"size", 0},      {"whole", 0},     {"window", 0},
                                               {"seed", 1},  {"parallel", 32}, {"bound", 30'000}};
  const std::map<std::string, std::string*> files{{"ca", &options.ca_file},
                                                  {"certificate", &options.certificate_file},
                                                  {"key", &options.key_file},
                                                  {"token", &options.token_file},
                                                  {"netrc", &options.netrc_file}};
  for (int n = 2; n < argc; ++n) {
    const std::string word = argv[n], name = word.substr(0, word.find('=')),
                      value = word.substr(std::min(word.size(), name.size() + 1));
    if (name == "origin")
      options.origins.push_back(value);
    else if (files.contains(name))
      *files.at(name) = value;
    else
      numbers.at(name) = std::stoull(value);
  }
  options.parallel = static_cast<unsigned>(numbers["parallel"]);
  options.request_bound = std::chrono::milliseconds{numbers["bound"]};
  if (const std::uint64_t window = numbers["window"]; window != 0)
    options.slow_window = options.connect_bound = std::chrono::milliseconds{window};
  auto reader = HttpReader::create(options);
  if (!reader) {
    std::fprintf(stderr, "%s\n", to_string(reader.error()).c_str());
    return 1;
  }

  const std::filesystem::path folder = argv[1];
  std::vector<std::pair<std::string, std::string>> served;
  for (const auto& entry : std::filesystem::recursive_directory_iterator{folder})
    if (entry.is_regular_file())
      served.emplace_back(std::filesystem::relative(entry.path(), folder), test::file_text(entry.path()));
  std::ranges::sort(served);

  const auto wanted = choose(served, numbers["count"], numbers["size"], numbers["whole"] != 0, numbers["seed"]);
  Arrivals arrivals{**reader};
  const auto begun = std::chrono::steady_clock::now();
  for (const Wanted& one : wanted) arrivals.ask(one);
  arrivals.wait(wanted.size());
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begun;
  const auto counted = (*reader)->counters();
  const nlohmann::json told{
      {"seconds", spent.count()},       {"bytes", arrivals.bytes()},       {"errors", arrivals.errors()},
      {"requests", counted.requests},   {"received", counted.bytes},       {"retries", counted.retries},
      {"hedges", counted.hedges},       {"refused", counted.refused},      {"cut_short", counted.cut_short},
      {"timed_out", counted.timed_out}, {"distrusted", counted.distrusted}};
  std::puts(told.dump().c_str());
  return arrivals.errors().empty() ? 0 : 1;
}
