#include "cdn/oci/digest_input.h"

#include <openssl/evp.h>

#include <array>
#include <cassert>
#include <vector>

namespace stellarium::cdn::oci {
namespace {

constexpr std::size_t kDrained = 256u << 10;

struct ContextFree {
  void operator()(EVP_MD_CTX* context) const { ::EVP_MD_CTX_free(context); }
};

}  // namespace

struct Sha256::Context {
  std::unique_ptr<EVP_MD_CTX, ContextFree> evp{::EVP_MD_CTX_new()};
};

Sha256::Sha256() : context_{std::make_unique<Context>()} {
  const int done = ::EVP_DigestInit_ex(context_->evp.get(), EVP_sha256(), nullptr);
  assert(done == 1);
  static_cast<void>(done);
}

Sha256::Sha256(Sha256&&) noexcept = default;

Sha256::~Sha256() = default;

void Sha256::update(ByteSpan bytes) {
  const int done = ::EVP_DigestUpdate(context_->evp.get(), bytes.data(), bytes.size());
  assert(done == 1);
  static_cast<void>(done);
}

Digest Sha256::finish() {
  std::array<char, 32> digest{};
  unsigned size = 0;
  const int done = ::EVP_DigestFinal_ex(context_->evp.get(), reinterpret_cast<unsigned char*>(digest.data()), &size);
  assert(done == 1 && size == digest.size());
  static_cast<void>(done);
  return Digest::of_bytes({digest.data(), digest.size()});
}

Digest Sha256::of(ByteSpan bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

Result<std::size_t> DigestInput::read(MutableByteSpan out) {
  auto got = input_.read(out);
  if (!got) return got;
  hash_.update(ByteSpan{out}.first(*got));
  bytes_ += *got;
  return got;
}

Result<void> DigestInput::drain() {
  std::vector<std::byte> buffer(kDrained);
  while (true) {
    const auto got = read(buffer);
    if (!got) return fail(got.error());
    if (*got == 0) return {};
  }
}

}  // namespace stellarium::cdn::oci
