#include "cdn/oci/archive_writer.h"

#include <algorithm>
#include <cassert>
#include <vector>

#include "fs/pax_records.h"
#include "fs/tar_header.h"

namespace stellarium::cdn::oci {
namespace {

constexpr std::size_t kBuffer = 256u << 10;
constexpr std::uint32_t kMode = 0644;

Result<void> put_header(fs::ByteOutput& out, const fs::TarHeader& header) {
  const auto block = header.encode();
  return out.write(as_bytes(std::string_view{block.data(), block.size()}));
}

tl::unexpected<Error> too_short(std::string_view name) {
  return fail(Errc::invalid_argument, std::string{name} + " is shorter than it was");
}

}  // namespace

Result<void> ArchiveWriter::begin(std::string_view name, std::uint64_t size) {
  assert(name.size() <= fs::TarHeader::kMaxName);
  if (size > fs::TarHeader::kMaxNumber) {
    std::string records;
    fs::put_pax_record(records, "size", std::to_string(size));
    if (auto put = put_header(out_, {.name = "pax", .mode = kMode, .size = records.size(), .type = 'x'}); !put)
      return put;
    if (auto written = out_.write(as_bytes(records)); !written) return written;
    if (auto padded = pad(records.size()); !padded) return padded;
  }
  return put_header(out_, {.name = name, .mode = kMode, .size = size});
}

Result<void> ArchiveWriter::pad(std::uint64_t size) {
  const std::string zeros(fs::tar_padding(size), '\0');
  return out_.write(as_bytes(zeros));
}

Result<void> ArchiveWriter::add(std::string_view name, std::string_view text) {
  if (auto begun = begin(name, text.size()); !begun) return begun;
  if (auto written = out_.write(as_bytes(text)); !written) return written;
  return pad(text.size());
}

Result<void> ArchiveWriter::add_part(std::string_view name, int file, std::uint64_t offset, std::uint64_t size) {
  if (auto begun = begin(name, size); !begun) return begun;
  const auto sent = out_.send_from(file, offset, size);
  if (!sent) return fail(sent.error());
  if (*sent < size) return too_short(name);
  return pad(size);
}

Result<void> ArchiveWriter::add_stream(std::string_view name, fs::ByteInput& in, std::uint64_t size) {
  if (auto begun = begin(name, size); !begun) return begun;
  std::vector<std::byte> buffer(std::min<std::uint64_t>(kBuffer, size));
  for (std::uint64_t left = size; left > 0;) {
    const auto got = in.read(MutableByteSpan{buffer}.first(std::min<std::uint64_t>(buffer.size(), left)));
    if (!got) return fail(got.error());
    if (*got == 0) return too_short(name);
    if (auto written = out_.write(ByteSpan{buffer}.first(*got)); !written) return written;
    left -= *got;
  }
  return pad(size);
}

Result<void> ArchiveWriter::finish() {
  const std::string mark(2 * fs::kTarBlock, '\0');
  return out_.write(as_bytes(mark));
}

}  // namespace stellarium::cdn::oci
