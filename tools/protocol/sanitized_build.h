#pragma once

// g++ defines the first two, clang answers the questions.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STELLARIUM_SANITIZED_BUILD 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STELLARIUM_SANITIZED_BUILD 1
#endif
#endif

namespace stellarium::protocol {

/// Whether this program runs with AddressSanitizer or ThreadSanitizer, whose run-time libraries need more of the system
/// than the program itself.
#ifdef STELLARIUM_SANITIZED_BUILD
inline constexpr bool kSanitizedBuild = true;
#else
inline constexpr bool kSanitizedBuild = false;
#endif

}  // namespace stellarium::protocol
