#pragma once
#include <locale.h>

namespace stellarium::fs {

/// Switches the calling thread to C.UTF-8 for a scope. libarchive asks the locale how names are encoded; in the plain C
/// locale it would refuse or rewrite every name that is not ASCII. Names that are not valid UTF-8 travel as raw bytes
/// (pax hdrcharset=BINARY).
class Utf8Locale {
 public:
  Utf8Locale() : utf8_{::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)} {
    if (utf8_ != nullptr) before_ = ::uselocale(utf8_);
  }
  ~Utf8Locale() {
    if (utf8_ == nullptr) return;
    ::uselocale(before_);
    ::freelocale(utf8_);
  }
  Utf8Locale(const Utf8Locale&) = delete;
  Utf8Locale& operator=(const Utf8Locale&) = delete;

 private:
  locale_t utf8_;
  locale_t before_ = nullptr;
};

}  // namespace stellarium::fs
