#pragma once
#include <curl/curl.h>

#include <memory>

namespace stellarium::cdn::http {

/// libcurl's own start, which must come before the first handle, once.
inline void start_libcurl() {
  [[maybe_unused]] static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
}

struct CurlFree {
  void operator()(CURL* easy) const { curl_easy_cleanup(easy); }
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
  void operator()(char* text) const { curl_free(text); }
};
using CurlEasy = std::unique_ptr<CURL, CurlFree>;
using CurlUrl = std::unique_ptr<CURLU, CurlFree>;
using CurlList = std::unique_ptr<curl_slist, CurlFree>;
using CurlText = std::unique_ptr<char, CurlFree>;

/// CURLM and CURL are one type to the compiler, so the holder of the former is a class of its own.
class CurlMulti {
 public:
  CurlMulti() {
    start_libcurl();
    multi_ = curl_multi_init();
  }
  CurlMulti(const CurlMulti&) = delete;
  CurlMulti& operator=(const CurlMulti&) = delete;
  ~CurlMulti() { close(); }
  /// Ends its connections.
  void close() {
    curl_multi_cleanup(multi_);
    multi_ = nullptr;
  }
  CURLM* get() const { return multi_; }

 private:
  CURLM* multi_ = nullptr;
};

}  // namespace stellarium::cdn::http
