#include "fs/decompressed_input.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace stellarium::fs {
namespace {

constexpr std::size_t kCompressedBytes = 128u << 10;

struct RawReadFree {
  void operator()(archive* a) const { archive_read_free(a); }
};

}  // namespace

struct DecompressedInput::Impl {
  explicit Impl(ByteInput& from) : input{from}, buffer(kCompressedBytes) {}

  static la_ssize_t read(archive*, void* self, const void** out) {
    Impl& impl = *static_cast<Impl*>(self);
    const Result<std::size_t> got = impl.input.read(impl.buffer);
    if (!got) {
      impl.error = got.error();
      return -1;
    }
    *out = impl.buffer.data();
    return static_cast<la_ssize_t>(*got);
  }

  tl::unexpected<Error> failure() const {
    if (error) return fail(*error);
    const char* const text = archive_error_string(reader.get());
    return fail(Errc::invalid_argument, std::string{"decompressing: "} + (text != nullptr ? text : "malformed"));
  }

  Result<void> open() {
    archive* const a = reader.get();
    archive_read_support_filter_gzip(a);
    archive_read_support_filter_zstd(a);
    archive_read_support_format_raw(a);
    archive_read_support_format_empty(a);
    if (archive_read_open(a, this, nullptr, &Impl::read, nullptr) != ARCHIVE_OK) return failure();
    archive_entry* entry = nullptr;
    const int outcome = archive_read_next_header(a, &entry);
    ended = outcome == ARCHIVE_EOF;
    if (!ended && outcome != ARCHIVE_OK) return failure();
    return {};
  }

  ByteInput& input;
  std::vector<std::byte> buffer;
  std::optional<Error> error;  // of the input
  std::unique_ptr<archive, RawReadFree> reader{archive_read_new()};
  bool opened = false, ended = false;
};

DecompressedInput::DecompressedInput(ByteInput& compressed) : impl_{std::make_unique<Impl>(compressed)} {}

DecompressedInput::~DecompressedInput() = default;

Result<std::size_t> DecompressedInput::read(MutableByteSpan out) {
  if (!impl_->opened) {
    impl_->opened = true;
    if (Result<void> opened = impl_->open(); !opened) return fail(opened.error());
  }
  if (impl_->ended || out.empty()) return 0;
  const la_ssize_t got = archive_read_data(impl_->reader.get(), out.data(), out.size());
  if (got < 0) return impl_->failure();
  impl_->ended = got == 0;
  return static_cast<std::size_t>(got);
}

}  // namespace stellarium::fs
