#include "tools/server/store_format.h"

#include <fcntl.h>
#include <sys/random.h>

#include <array>
#include <charconv>

#include "tools/protocol/store_folder.h"

namespace stellarium::server {
namespace {

constexpr std::string_view kFirst = "stellarium store, version ";
constexpr std::string_view kSecond = "uuid ";
constexpr std::size_t kMaxFile = 256;
constexpr std::size_t kUuidSize = 36;

/// RFC 4122, version 4.
Result<std::string> make_uuid() {
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) return fail_errno("getrandom");
  bytes[6] = static_cast<unsigned char>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<unsigned char>((bytes[8] & 0x3f) | 0x80);
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out.push_back('-');
    out.push_back(kDigits[bytes[i] >> 4]);
    out.push_back(kDigits[bytes[i] & 15]);
  }
  return out;
}

bool is_uuid(std::string_view text) {
  if (text.size() != kUuidSize) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    const bool digit = (text[i] >= '0' && text[i] <= '9') || (text[i] >= 'a' && text[i] <= 'f');
    if (dash ? text[i] != '-' : !digit) return false;
  }
  return true;
}

Result<std::string> parse(std::string_view text, const std::filesystem::path& file) {
  const auto malformed = [&] { return fail(Errc::corrupt, file.string() + " is not a store's format file"); };
  if (!text.starts_with(kFirst)) return malformed();
  text.remove_prefix(kFirst.size());
  unsigned version = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (error != std::errc{} || end == text.data() + text.size() || *end != '\n') return malformed();
  if (version != kStoreVersion) {
    return fail(Errc::version, file.parent_path().string() + " is a store of version " + std::to_string(version) +
                                   ", this program knows version " + std::to_string(kStoreVersion) +
                                   ": use a stellarium of that version");
  }
  text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
  if (!text.starts_with(kSecond) || !text.ends_with('\n')) return malformed();
  const std::string_view uuid = text.substr(kSecond.size(), text.size() - kSecond.size() - 1);
  if (!is_uuid(uuid)) return malformed();
  return std::string{uuid};
}

Result<void> refuse_other_files(const std::filesystem::path& store) {
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator{store, failed}) {
    const std::string name = entry.path().filename();
    if (!protocol::may_precede_store(name)) {
      return fail(Errc::invalid_argument,
                  store.string() + " holds other files and is no store: name an empty or new folder with --store");
    }
  }
  if (failed) return fail_errno(store.string(), failed.value());
  return {};
}

}  // namespace

Result<std::string> open_format(Io& io, const std::filesystem::path& store) {
  auto dir = io.open(AT_FDCWD, store.string(), O_RDONLY | O_DIRECTORY, 0);
  if (!dir) return fail(dir.error());
  if (auto file = io.open(dir->get(), "format", O_RDONLY, 0)) {
    std::string text(kMaxFile, '\0');
    auto got = io.read_at(file->get(), std::as_writable_bytes(std::span{text}), 0);
    if (!got) return fail(got.error(), (store / "format").string());
    return parse(std::string_view{text}.substr(0, *got), store / "format");
  } else if (file.error().code != Errc::not_found) {
    return fail(file.error(), store.string());
  }
  if (auto empty = refuse_other_files(store); !empty) return fail(empty.error());
  auto uuid = make_uuid();
  if (!uuid) return uuid;
  const std::string text =
      std::string{kFirst} + std::to_string(kStoreVersion) + "\n" + std::string{kSecond} + *uuid + "\n";
  auto file = io.open(dir->get(), "format.new", O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (!file) return fail(file.error(), "making a store in " + store.string());
  for (const auto& step : {io.write_at(file->get(), as_bytes(text), 0), io.sync(file->get()),
                           io.rename(dir->get(), "format.new", "format"), io.sync(dir->get())}) {
    if (!step) return fail(step.error(), "making a store in " + store.string());
  }
  return uuid;
}

}  // namespace stellarium::server
