#include <sys/stat.h>

#include "tools/server/commands.h"
#include "tools/server/image.h"

namespace stellarium::server {

int run(const cli::CatOptions& options, CommandContext& context) {
  constexpr std::size_t kPiece = 1u << 20;
  const auto opened = open_tree(context.store, options.ref);
  if (!opened) return context.io.complain(opened.error());
  auto found = opened->reader.resolve(options.path, true);
  if (!found)
    return context.io.complain(
        Error{found.error().code, options.ref + ": " + found.error().context, found.error().sys_errno});
  if (auto known = refresh(context.store, found->inode); !known) return context.io.complain(known.error());
  if (!S_ISREG(found->inode.mode)) {
    return context.io.complain(
        Error{Errc::invalid_argument,
              options.ref + ": " + options.path + " is not a regular file: see 'stellarium stat'", 0});
  }
  std::vector<std::byte> buffer(std::min<std::uint64_t>(kPiece, found->inode.size));
  for (std::uint64_t offset = 0; offset < found->inode.size;) {
    if (context.io.cancelled()) return 1;
    const auto got = read_body(context.store, found->inode, offset, buffer);
    if (!got)
      return context.io.complain(Error{got.error().code, options.ref + ": " + options.path + ": " + got.error().context,
                                       got.error().sys_errno});
    if (*got == 0)
      return context.io.complain(Error{
          Errc::corrupt, options.ref + ": " + options.path + " is shorter than its size: run 'stellarium fsck'", 0});
    context.io.out(as_text(ByteSpan{buffer}.first(*got)));
    offset += *got;
  }
  return 0;
}

}  // namespace stellarium::server
