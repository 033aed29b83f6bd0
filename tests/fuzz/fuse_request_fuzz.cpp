
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "base/log.h"
#include "support/fuse_view.h"
#include "support/temp_dir.h"

// Any bytes as a sequence of FUSE requests (u16 length, then that many bytes) to the views of a small image. Whatever
// they are: no crash, no answer larger than asked for, at most one answer for each request.
namespace {

using namespace stellarium;

struct World {
  World() {
    image.begin();
    const fs::Ino etc = image.add_directory(fs::kRootIno, "etc");  // node (5, 2)
    image.add_file(etc, "hosts", "localhost\n");
    image.add_file(fs::kRootIno, "program", std::string(20'000, 'p'), true);
    image.add(fs::kRootIno, "link", test::make_symlink("etc/hosts"));
    fs::Inode inode = test::make_directory(fs::kRootIno);
    inode.has_xattrs = true;
    image.set_xattr(image.add(fs::kRootIno, "attributed", inode), "user.one", "1");
    image.publish("debian");
  }
  test::TempDir dir;
  test::FuseImage image{dir.path()};
  test::FuseView one{image, false};
  test::FuseView store{image, true};
};

void run(test::FuseView& view, ByteSpan data) {
  view.begin();
  ByteReader reader{data};
  while (reader.left() > 2) {
    const auto length = std::min<std::size_t>(reader.le<std::uint16_t>(), reader.left());
    view.send(as_text(reader.take(length)));
    const auto answers = view.sink->take();
    if (answers.size() > 1) std::abort();
    for (const auto& answer : answers) {
      if (answer.payload.size() > fs::fuse::kMaxPayload || answer.error < 0 || answer.error >= 4096) std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  stellarium::log::set_level(stellarium::log::Level::off);
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static World world;
  const ByteSpan bytes = std::as_bytes(std::span{data, size});
  run(world.one, bytes);
  run(world.store, bytes);
  return 0;
}
