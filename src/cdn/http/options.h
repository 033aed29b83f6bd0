#pragma once
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace stellarium::cdn::http {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// Where the objects of one remote are, and how long and how hard to try. Every origin has all of them.
struct Options {
  /// Base addresses, the preferred one first: https:// or http://, a path may follow. No user, no query.
  std::vector<std::string> origins;

  // Secrets come from files only. They go to the origins and nowhere else, also after a redirect; and a token or a
  // password only over https://, or to this host itself.
  std::string ca_file;           ///< PEM; instead of the system's
  std::string certificate_file;  ///< PEM; the client's, with `key_file`
  std::string key_file;          ///< PEM, not encrypted
  std::string netrc_file;        ///< user and password by host
  std::string token_file;        ///< one line; read again when an origin no longer takes it
  std::string proxy;  ///< http://, https:// or socks5h://, without a user; empty: none, whatever the environment

  /// To the end of a request, whatever is tried: from the call if it is waited for, else from when it leaves the queue.
  milliseconds request_bound{30'000};
  milliseconds connect_bound{5'000};  ///< until a connection is made, TLS included; or says nothing to what it was sent
  std::uint64_t slowest = 1'000;  ///< bytes a second, measured over `slow_window`: less is given up, and tried again
  milliseconds slow_window{10'000};
  unsigned tries = 16;  ///< of one request, those not counted that brought 64 KiB of it
  milliseconds first_pause{50}, longest_pause{2'000};

  unsigned skip_after = 5;  ///< failures in a row of one origin
  milliseconds first_skip{1'000}, longest_skip{30'000};

  double hedge_factor = 3;             ///< times the 95th percentile of the time until an answer begins
  double hedge_share = 0.05;           ///< of all requests; 0: never
  milliseconds hedge_at_first{1'000};  ///< while too few answers were seen to know the percentile

  unsigned parallel = 32;               ///< requests under way
  std::uint64_t memory = 256ull << 20;  ///< bytes that requests under way may come to hold
  std::uint64_t background_rate = 0;    ///< bytes a second; 0: no limit
  std::string user_agent = "stellarium";
};

}  // namespace stellarium::cdn::http
