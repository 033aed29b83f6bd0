#include "cdn/signing_key.h"

#include <fcntl.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <utility>

#include "base/io.h"
#include "base/unique_fd.h"

namespace stellarium::cdn {
namespace {

constexpr std::string_view kPrefix = "ed25519:";
constexpr std::string_view kFileHead = "stellarium-secret-key 1 ";
constexpr std::size_t kSeed = crypto_sign_SEEDBYTES;

unsigned char* raw(std::byte* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}
const unsigned char* raw(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}

std::string hex_of(ByteSpan bytes) {
  std::string text(bytes.size() * 2 + 1, '\0');
  ::sodium_bin2hex(text.data(), text.size(), raw(bytes.data()), bytes.size());
  text.pop_back();
  return text;
}

/// Exactly `out.size()` bytes as lower-case digits.
bool from_hex(std::string_view text, MutableByteSpan out) {
  if (text.size() != out.size() * 2) return false;
  if (!std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }))
    return false;
  return ::sodium_hex2bin(raw(out.data()), out.size(), text.data(), text.size(), nullptr, nullptr, nullptr) == 0;
}

}  // namespace

std::string PublicKey::text() const {
  return std::string{kPrefix} + hex_of(bytes);
}

std::optional<PublicKey> PublicKey::from_text(std::string_view text) {
  PublicKey key;
  if (!text.starts_with(kPrefix) || !from_hex(text.substr(kPrefix.size()), key.bytes)) return std::nullopt;
  return key;
}

bool is_signed(ByteSpan message, const Signature& signature, const PublicKey& key) {
  return ::crypto_sign_verify_detached(raw(signature.data()), raw(message.data()), message.size(),
                                       raw(key.bytes.data())) == 0;
}

SigningKey::SigningKey(const std::array<std::byte, 32>& seed) {
  static_assert(kSeed == 32 && crypto_sign_SECRETKEYBYTES == 64 && crypto_sign_BYTES == 64);
  ::crypto_sign_seed_keypair(raw(public_.bytes.data()), raw(secret_.data()), raw(seed.data()));
}

SigningKey::SigningKey(SigningKey&& other) noexcept : secret_{other.secret_}, public_{other.public_} {
  ::sodium_memzero(other.secret_.data(), other.secret_.size());
}

SigningKey::~SigningKey() {
  ::sodium_memzero(secret_.data(), secret_.size());
}

Signature SigningKey::sign(ByteSpan message) const {
  Signature signature;
  ::crypto_sign_detached(raw(signature.data()), nullptr, raw(message.data()), message.size(), raw(secret_.data()));
  return signature;
}

Result<SigningKey> SigningKey::create(const std::filesystem::path& file) {
  if (::sodium_init() < 0) return fail(Errc::unavailable, "no random numbers for a key");
  std::array<std::byte, kSeed> seed;
  ::randombytes_buf(seed.data(), seed.size());
  SigningKey key{seed};
  const std::string text = std::string{kFileHead} + hex_of(seed) + "\n";
  ::sodium_memzero(seed.data(), seed.size());
  // Under its name it is whole: half a key would be in the way of every further one.
  std::string temporary = (file.parent_path() / ".new-key-XXXXXX").string();
  const UniqueFd fd{::mkostemp(temporary.data(), O_CLOEXEC)};  // for its owner only
  if (!fd) return fail_errno(file);
  Result<void> written = system_io().write_at(fd.get(), as_bytes(text), 0);
  if (written) written = system_io().sync(fd.get());
  if (written && ::link(temporary.c_str(), file.c_str()) != 0) written = fail_errno(file);
  ::unlink(temporary.c_str());
  if (!written) return fail(std::move(written).error());
  return key;
}

Result<SigningKey> SigningKey::load(const std::filesystem::path& file) {
  const UniqueFd fd{::open(file.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
  if (!fd) return fail_errno(file);
  const auto status = system_io().status(fd.get());
  if (!status) return fail(status.error());
  if ((status->st_mode & 077) != 0)
    return fail(Errc::permission, file.string() + ": others may read this secret key: chmod 600 it");
  std::string text(kFileHead.size() + 2 * kSeed + 2, '\0');
  const auto read = system_io().read_at(fd.get(), std::as_writable_bytes(std::span{text}), 0);
  if (!read) return fail(read.error());
  text.resize(*read);
  std::array<std::byte, kSeed> seed;
  const bool good = text.size() == kFileHead.size() + 2 * kSeed + 1 && text.starts_with(kFileHead) &&
                    text.back() == '\n' && from_hex(std::string_view{text}.substr(kFileHead.size(), 2 * kSeed), seed);
  ::sodium_memzero(text.data(), text.size());
  if (!good) return fail(Errc::corrupt, file.string() + " is no secret key of this program");
  SigningKey key{seed};
  ::sodium_memzero(seed.data(), seed.size());
  return key;
}

}  // namespace stellarium::cdn
