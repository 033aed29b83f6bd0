#pragma once
#include <array>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

namespace stellarium::cdn {

/// Who may say what a name stands for: an Ed25519 key (RFC 8032).
struct PublicKey {
  std::array<std::byte, 32> bytes{};
  auto operator<=>(const PublicKey&) const = default;
  std::string text() const;  ///< "ed25519:" and 64 hexadecimal digits
  static std::optional<PublicKey> from_text(std::string_view text);
};

using Signature = std::array<std::byte, 64>;

/// Whether `signature` is the key's for exactly these bytes.
bool is_signed(ByteSpan message, const Signature& signature, const PublicKey& key);

/// The secret half. Movable; wiped from memory at the end.
class SigningKey {
 public:
  /// Makes a new one in `file`, which only its owner may read. Errors: exists, permission, io.
  static Result<SigningKey> create(const std::filesystem::path& file);
  /// Errors: not_found, permission (others than the owner may read it), corrupt (no key).
  static Result<SigningKey> load(const std::filesystem::path& file);
  SigningKey(SigningKey&& other) noexcept;
  SigningKey& operator=(SigningKey&&) = delete;
  ~SigningKey();

  const PublicKey& public_key() const { return public_; }
  Signature sign(ByteSpan message) const;

 private:
  explicit SigningKey(const std::array<std::byte, 32>& seed);
  std::array<std::byte, 64> secret_{};
  PublicKey public_;
};

}  // namespace stellarium::cdn
