#pragma once
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace stellarium::test {

/// Writes tar archives byte by byte, wrong ones too: what libarchive would refuse to write, an import must still
/// survive reading.
class TarMaker {
 public:
  struct Header {
    std::string name;
    char type = '0';
    std::uint32_t mode = 0644;
    std::uint64_t size = 0;
    std::string link = {};
    unsigned major = 0, minor = 0;
    std::string size_field = {};  ///< raw bytes instead of `size`
    bool wrong_checksum = false;
  };

  TarMaker& header(const Header& header) {
    std::string block(512, '\0');
    const auto put = [&](std::size_t at, std::string_view text) { block.replace(at, text.size(), text); };
    put(0, std::string_view{header.name}.substr(0, 100));
    put(100, octal(header.mode, 7));
    put(108, octal(1000, 7));
    put(116, octal(100, 7));
    put(124, header.size_field.empty() ? octal(header.size, 11) : header.size_field);
    put(136, octal(1'700'000'000, 11));
    put(148, "        ");
    block[156] = header.type;
    put(157, std::string_view{header.link}.substr(0, 100));
    put(257, std::string_view{"ustar\0"
                              "00",
                              8});
    put(329, octal(header.major, 7));
    put(337, octal(header.minor, 7));
    unsigned sum = 0;
    for (const char c : block) sum += static_cast<unsigned char>(c);
    put(148, octal(header.wrong_checksum ? sum + 1 : sum, 6));
    block[154] = '\0';
    bytes_ += block;
    return *this;
  }
  TarMaker& data(std::string_view data) {
    bytes_ += data;
    bytes_.append((512 - data.size() % 512) % 512, '\0');
    return *this;
  }
  TarMaker& file(const std::string& name, std::string_view content, std::uint32_t mode = 0644) {
    return header({.name = name, .mode = mode, .size = content.size()}).data(content);
  }
  TarMaker& directory(const std::string& name, std::uint32_t mode = 0755) {
    return header({.name = name, .type = '5', .mode = mode});
  }
  TarMaker& symlink(const std::string& name, const std::string& target) {
    return header({.name = name, .type = '2', .mode = 0777, .link = target});
  }
  TarMaker& link(const std::string& name, const std::string& target) {
    return header({.name = name, .type = '1', .link = target});
  }
  /// Pax attributes of the next member.
  TarMaker& pax(const std::vector<std::pair<std::string, std::string>>& attributes) {
    std::string text;
    for (const auto& [key, value] : attributes) {
      std::size_t size = key.size() + value.size() + 3;
      while (std::to_string(size).size() + key.size() + value.size() + 3 > size) ++size;
      text += std::to_string(size) + ' ' + key + '=' + value + '\n';
    }
    return raw_pax(text);
  }
  TarMaker& raw_pax(std::string_view text) {
    return header({.name = "PaxHeaders/x", .type = 'x', .size = text.size()}).data(text);
  }

  const std::string& cut() const { return bytes_; }  ///< without the end mark
  std::string whole() const { return bytes_ + std::string(1024, '\0'); }

 private:
  static std::string octal(std::uint64_t value, int digits) {
    char text[32];
    std::snprintf(text, sizeof text, "%0*llo", digits, static_cast<unsigned long long>(value));
    return text;
  }

  std::string bytes_;
};

}  // namespace stellarium::test
