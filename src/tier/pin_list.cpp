#include "tier/pin_list.h"

#include "base/log.h"

#include <charconv>
#include <string_view>

namespace stellarium::tier {
namespace {

constexpr const char* kFile = "pins";
constexpr std::string_view kHeader = "stellarium pins 1";
constexpr std::size_t kIdDigits = 2 * cas::Hash::kSize;

bool parse_pin(std::string_view line, std::map<cas::ContentId, std::uint64_t>& pins) {
  if (line.size() <= kIdDigits + 1 || line[kIdDigits] != ' ') return false;
  const auto id = cas::Hash::from_hex(line.substr(0, kIdDigits));
  std::uint64_t size = 0;
  const char* const end = line.data() + line.size();
  const auto parsed = std::from_chars(line.data() + kIdDigits + 1, end, size);
  if (!id || parsed.ec != std::errc{} || parsed.ptr != end) return false;
  pins.emplace(*id, size);
  return true;
}

}  // namespace

Result<PinList> PinList::load(const HotFolder& folder) {
  PinList list;
  const Result<std::string> text = folder.load(kFile);
  if (!text && text.error().code == Errc::not_found) return list;
  if (!text) return fail(text.error(), "pins");
  std::string_view rest = *text;
  bool first = true;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    const bool good = first ? line == kHeader : parse_pin(line, list.pins_);
    if (!good) log::warn("pins of the hot folder: skipping the line '{}'", line);
    first = false;
  }
  return list;
}

Result<void> PinList::add(const HotFolder& folder, const cas::ContentId& id, std::uint64_t size) {
  auto pins = pins_;
  pins.insert_or_assign(id, size);
  return save(folder, pins);
}

Result<void> PinList::remove(const HotFolder& folder, const cas::ContentId& id) {
  auto pins = pins_;
  pins.erase(id);
  return save(folder, pins);
}

Result<void> PinList::save(const HotFolder& folder, const std::map<cas::ContentId, std::uint64_t>& pins) {
  std::string text{kHeader};
  text += '\n';
  for (const auto& [id, size] : pins) text += id.hex() + ' ' + std::to_string(size) + '\n';
  if (auto saved = folder.replace(kFile, text); !saved) return fail(saved.error(), "pins");
  pins_ = pins;
  return {};
}

}  // namespace stellarium::tier
