#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

namespace stellarium::cdn::http {

/// Which origin brought an object's bytes lately, so that another one is asked if they are wrong. It forgets.
class DeliveredBy {
 public:
  void note(std::string_view path, std::uint64_t offset, unsigned origin) {
    const std::uint64_t key = key_of(path, offset);
    places_[key % kPlaces] = {key, origin + 1};
  }
  std::optional<unsigned> find(std::string_view path, std::uint64_t offset) const {
    const std::uint64_t key = key_of(path, offset);
    const Place& place = places_[key % kPlaces];
    if (place.origin == 0 || place.key != key) return std::nullopt;
    return place.origin - 1;
  }

 private:
  struct Place {
    std::uint64_t key = 0;
    unsigned origin = 0;  // and 1; 0: nothing is known
  };
  static constexpr std::size_t kPlaces = 4096;
  static std::uint64_t key_of(std::string_view path, std::uint64_t offset) {
    return std::hash<std::string_view>{}(path) ^ (offset * 0x9e3779b97f4a7c15u);
  }

  std::array<Place, kPlaces> places_{};
};

}  // namespace stellarium::cdn::http
