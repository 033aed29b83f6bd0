// Reads every file that has one by way of the DAX window, and says where its pages are.
//
//   dax_guest SOCKET TREE WINDOW_MIB [whole]      TREE: what the files must be equal to
//
// whole: the monitor maps no page of which a file has only a part. Without it, all are mapped.
// Prints "PATH BYTES PFN…" for each file with the page frames that the window shows, and "mapped N FROM TO" (mappings,
// and where the window lies), then waits for the end of its input with everything in place. Exit code 1 and a line on
// stderr if anything is not as it should be.
#include <fcntl.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "dax_machine.h"

using namespace stellarium;
namespace abi = fs::fuse::abi;
using test::give_up;

namespace {

constexpr std::uint64_t kRange = test::DaxMachine::kRange, kPage = 4096;

class Guest {
 public:
  Guest(const char* socket, std::size_t window, bool whole_pages_only) : machine_{socket, window, whole_pages_only} {
    machine_.boot();
  }

  struct File {
    std::string path;
    std::uint64_t node, size;
  };
  /// The files that are to be read by way of the window.
  void walk(std::uint64_t node, const std::string& path, std::vector<File>& found) {
    std::vector<std::pair<std::uint64_t, std::string>> folders;
    for (std::uint64_t offset = 0;;) {
      abi::ReadIn in{};
      in.offset = offset;
      in.size = 64 << 10;
      const std::string listing = machine_.ask(abi::Opcode::readdirplus, node, test::bytes_of(in), in.size);
      if (listing.empty()) break;
      for (std::size_t at = 0; at < listing.size();) {
        abi::EntryOut entry;
        abi::Dirent dirent;
        std::memcpy(&entry, listing.data() + at, sizeof entry);
        std::memcpy(&dirent, listing.data() + at + sizeof entry, sizeof dirent);
        const std::string name = listing.substr(at + sizeof entry + sizeof dirent, dirent.name_size);
        offset = dirent.offset;
        at = (at + sizeof entry + sizeof dirent + dirent.name_size + 7) / 8 * 8;
        if (name == "." || name == "..") continue;
        if (S_ISDIR(entry.attr.mode)) folders.emplace_back(entry.nodeid, path + "/" + name);
        if ((entry.attr.flags & abi::attr_flag::kDax) != 0)
          found.push_back({path + "/" + name, entry.nodeid, entry.attr.size});
      }
    }
    for (const auto& [child, below] : folders) walk(child, below, found);
  }

  /// Maps a file, at places that other files may have had, and compares what the window shows.
  void read(const File& file, const std::filesystem::path& tree) {
    std::ifstream stream{tree.string() + file.path, std::ios::binary};
    const std::string expected{std::istreambuf_iterator<char>{stream}, {}};
    if (expected.size() != file.size) give_up(file.path + " has another size");
    std::string frames;
    for (std::uint64_t offset = 0; offset < file.size; offset += kRange) {
      const std::uint64_t place = std::exchange(next_, (next_ + kRange) % machine_.window().size());
      if (taken_.size() > place / kRange && taken_[place / kRange]) {
        if (machine_.unmap(file.node, place) != 0) give_up(file.path + " cannot be unmapped");
      }
      taken_.resize(machine_.window().size() / kRange);
      taken_[place / kRange] = true;
      if (machine_.map(file.node, offset, place) != 0) give_up(file.path + " cannot be mapped");
      const std::uint64_t here = std::min(kRange, file.size - offset);
      if (std::memcmp(machine_.window().at(place), expected.data() + offset, here) != 0)
        give_up(file.path + " shows other bytes");
      for (std::uint64_t at = 0; at < here; at += kPage)
        frames += ' ' + std::to_string(frame_of(machine_.window().at(place + at)));
    }
    std::printf("%s %llu%s\n", file.path.c_str(), static_cast<unsigned long long>(file.size), frames.c_str());
  }

  void report() {
    const auto from = reinterpret_cast<std::uintptr_t>(machine_.window().at(0));
    std::printf("mapped %zu %zx %zx\n", machine_.window().mapped().size(), from, from + machine_.window().size());
    std::fflush(stdout);
  }
  int broken_rules() { return machine_.window().broken_rules; }
  int partial_pages() { return machine_.window().partial_pages; }

 private:
  std::uint64_t frame_of(const std::byte* page) const {
    std::uint64_t entry = 0;
    const auto at = static_cast<off_t>(reinterpret_cast<std::uintptr_t>(page) / kPage * sizeof entry);
    if (::pread(pagemap_.get(), &entry, sizeof entry, at) != sizeof entry) give_up("no page map");
    return entry & ((1ull << 55) - 1);
  }

  test::DaxMachine machine_;
  const UniqueFd pagemap_{::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)};
  std::uint64_t next_ = 0;
  std::vector<bool> taken_;
};

[[noreturn]] void fail_about_pages(int partial) {
  give_up("the monitor was asked " + std::to_string(partial) + " times for a page of which a file has only a part");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4 && argc != 5) give_up("usage: dax_guest SOCKET TREE WINDOW_MIB [whole]");
  const bool whole = argc == 5;
  Guest guest{argv[1], std::strtoull(argv[3], nullptr, 10) << 20, whole};
  std::vector<Guest::File> files;
  guest.walk(1, "", files);
  std::ranges::sort(files, {}, &Guest::File::path);
  for (const Guest::File& file : files) guest.read(file, argv[2]);
  if (guest.broken_rules() != 0) give_up("the rules of the window were broken");
  if (guest.partial_pages() != (whole ? 1 : 0)) fail_about_pages(guest.partial_pages());
  guest.report();
  while (std::getchar() != EOF) {
  }
  return 0;
}
