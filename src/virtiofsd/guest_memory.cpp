#include "virtiofsd/guest_memory.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>

namespace stellarium::virtiofsd {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kMaxSize = 1ull << 46;  // what half of an address space of 47 bits holds

bool wraps(std::uint64_t start, std::uint64_t size) {
  return start + size < start;
}

/// Of [start, start + size) and [other, other + other_size), neither of which wraps.
bool overlap(std::uint64_t start, std::uint64_t size, std::uint64_t other, std::uint64_t other_size) {
  return start < other + other_size && other < start + size;
}

std::string text_of(const protocol::MemoryRegion& region) {
  char text[96];
  std::snprintf(text, sizeof text, "guest memory at %#llx of %llu bytes",
                static_cast<unsigned long long>(region.guest_address), static_cast<unsigned long long>(region.size));
  return text;
}

}  // namespace

Result<std::shared_ptr<const GuestRegion>> GuestRegion::map(const protocol::MemoryRegion& wanted, UniqueFd file) {
  const auto refuse = [&wanted](const char* why) { return fail(Errc::invalid_argument, text_of(wanted) + ": " + why); };
  if (wanted.size == 0 || wanted.size > kMaxSize) return refuse("no such size");
  if (wraps(wanted.guest_address, wanted.size) || wraps(wanted.user_address, wanted.size) ||
      wraps(wanted.file_offset, wanted.size))
    return refuse("it wraps around");
  struct stat status {};
  if (!file || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return refuse("not a file of memory");
  if (status.st_size < 0 || static_cast<std::uint64_t>(status.st_size) < wanted.file_offset + wanted.size)
    return refuse("its file is shorter");

  const std::uint64_t before = wanted.file_offset % kPage;
  const std::size_t length = wanted.size + before;
  void* mapping = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file.get(),
                         static_cast<off_t>(wanted.file_offset - before));
  if (mapping == MAP_FAILED) return fail_errno("mapping " + text_of(wanted));
  ::madvise(mapping, length, MADV_DONTDUMP);  // a core dump of ours is not to hold guests
  const std::shared_ptr<const GuestRegion> region{
      new GuestRegion{wanted, mapping, length, static_cast<std::byte*>(mapping) + before}};
  if (!region->guard_->holds()) return fail(Errc::out_of_space, "too many pieces of guest memory");
  return region;
}

GuestRegion::~GuestRegion() {
  guard_.reset();
  ::munmap(mapping_, mapped_);
}

Result<GuestMemory> GuestMemory::with(std::shared_ptr<const GuestRegion> region) const {
  if (regions_.size() >= kMaxRegions) return fail(Errc::out_of_space, "more than 509 pieces of guest memory");
  const protocol::MemoryRegion& place = region->place();
  for (const auto& other : regions_) {
    const protocol::MemoryRegion& there = other->place();
    if (overlap(place.guest_address, place.size, there.guest_address, there.size) ||
        overlap(place.user_address, place.size, there.user_address, there.size))
      return fail(Errc::invalid_argument, text_of(place) + " overlaps " + text_of(there));
  }
  GuestMemory changed = *this;
  const auto after = std::ranges::upper_bound(changed.regions_, place.guest_address, {},
                                              [](const auto& each) { return each->place().guest_address; });
  changed.regions_.insert(after, std::move(region));
  return changed;
}

Result<GuestMemory> GuestMemory::without(const protocol::MemoryRegion& region) const {
  GuestMemory changed = *this;
  const auto erased = std::erase_if(changed.regions_, [&region](const auto& each) {
    const protocol::MemoryRegion& place = each->place();
    return place.guest_address == region.guest_address && place.user_address == region.user_address &&
           place.size == region.size;
  });
  if (erased == 0) return fail(Errc::not_found, text_of(region) + " is not there");
  return changed;
}

bool GuestMemory::find(std::uint64_t address, std::uint64_t size, std::vector<MutableByteSpan>& pieces) const {
  const std::size_t known = pieces.size();
  while (size > 0) {
    const auto after =
        std::ranges::upper_bound(regions_, address, {}, [](const auto& each) { return each->place().guest_address; });
    const GuestRegion* region = after == regions_.begin() ? nullptr : std::prev(after)->get();
    const std::uint64_t offset = region == nullptr ? 0 : address - region->place().guest_address;
    if (region == nullptr || offset >= region->place().size) {
      pieces.resize(known);
      return false;
    }
    const std::uint64_t here = std::min(size, region->place().size - offset);
    pieces.emplace_back(region->bytes() + offset, here);
    address += here;  // cannot wrap: regions do not
    size -= here;
  }
  return true;
}

std::byte* GuestMemory::find_user(std::uint64_t address, std::uint64_t size) const {
  for (const auto& region : regions_) {
    const protocol::MemoryRegion& place = region->place();
    if (address < place.user_address) continue;
    const std::uint64_t offset = address - place.user_address;
    if (offset < place.size && size <= place.size - offset) return region->bytes() + offset;
  }
  return nullptr;
}

}  // namespace stellarium::virtiofsd
