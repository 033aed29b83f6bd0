#include "fs/gzip_output.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/stat.h>

#include <optional>
#include <string>

namespace stellarium::fs {
namespace {

struct WriteFree {
  void operator()(archive* a) const { archive_write_free(a); }
};
struct EntryFree {
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};

}  // namespace

struct GzipOutput::Impl {
  explicit Impl(ByteOutput& to) : output{to} {}

  static la_ssize_t write(archive*, void* self, const void* bytes, std::size_t size) {
    Impl& impl = *static_cast<Impl*>(self);
    const Result<void> written = impl.output.write({static_cast<const std::byte*>(bytes), size});
    if (written) return static_cast<la_ssize_t>(size);
    impl.error = written.error();
    return -1;
  }

  tl::unexpected<Error> failure() const {
    if (error) return fail(*error);
    const char* const text = archive_error_string(writer.get());
    return fail(Errc::io, std::string{"compressing: "} + (text != nullptr ? text : "failed"));
  }

  Result<void> open() {
    archive* const a = writer.get();
    const std::unique_ptr<archive_entry, EntryFree> entry{archive_entry_new()};
    archive_entry_set_filetype(entry.get(), AE_IFREG);
    archive_entry_set_pathname(entry.get(), "data");
    const bool done = archive_write_set_format_raw(a) == ARCHIVE_OK && archive_write_add_filter_gzip(a) == ARCHIVE_OK &&
                      archive_write_set_filter_option(a, "gzip", "timestamp", nullptr) == ARCHIVE_OK &&
                      archive_write_set_bytes_in_last_block(a, 1) == ARCHIVE_OK &&
                      archive_write_open(a, this, nullptr, &Impl::write, nullptr) == ARCHIVE_OK &&
                      archive_write_header(a, entry.get()) == ARCHIVE_OK;
    if (!done) return failure();
    opened = true;
    return {};
  }

  ByteOutput& output;
  std::optional<Error> error;  // of the output
  std::unique_ptr<archive, WriteFree> writer{archive_write_new()};
  bool opened = false;
};

GzipOutput::GzipOutput(ByteOutput& compressed) : impl_{std::make_unique<Impl>(compressed)} {}

GzipOutput::~GzipOutput() = default;

Result<void> GzipOutput::write(ByteSpan data) {
  if (!impl_->opened) {
    if (Result<void> opened = impl_->open(); !opened) return opened;
  }
  if (archive_write_data(impl_->writer.get(), data.data(), data.size()) != static_cast<la_ssize_t>(data.size()))
    return impl_->failure();
  return {};
}

Result<void> GzipOutput::finish() {
  if (!impl_->opened) {
    if (Result<void> opened = impl_->open(); !opened) return opened;
  }
  if (archive_write_close(impl_->writer.get()) != ARCHIVE_OK) return impl_->failure();
  return {};
}

}  // namespace stellarium::fs
