#pragma once

namespace stellarium::test {

/// Whether this build is instrumented: it is several times slower then, and what fails does so for its threads and its
/// memory rather than for its numbers, which the other builds go through in full.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr bool kSanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif
#else
inline constexpr bool kSanitized = false;
#endif

/// How many times a long test does what it does: a quarter under a sanitizer.
constexpr int rounds(int count) {
  return kSanitized ? count / 4 : count;
}

/// How far a test that goes through all of something goes on each time: it takes every third under a sanitizer.
inline constexpr unsigned kStep = kSanitized ? 3 : 1;

}  // namespace stellarium::test
