#include "fs/fuse/operations.h"

#include <array>
#include <cerrno>

namespace stellarium::fs::fuse {
namespace {

/// An operation whose arguments are one structure.
template <typename In, void (Filesystem::*Method)(const Request&, const In&, Reply)>
void with(Filesystem& filesystem, const Request& request, Reply reply) {
  Arguments arguments{request.arguments()};
  const In in = arguments.fixed<In>();
  if (arguments.error() != 0) {
    reply.error(arguments.error());
    return;
  }
  (filesystem.*Method)(request, in, std::move(reply));
}

/// An operation whose arguments do not matter, but must be there.
template <typename In, void (Filesystem::*Method)(const Request&, Reply)>
void ignoring(Filesystem& filesystem, const Request& request, Reply reply) {
  Arguments arguments{request.arguments()};
  arguments.fixed<In>();
  if (arguments.error() != 0) {
    reply.error(arguments.error());
    return;
  }
  (filesystem.*Method)(request, std::move(reply));
}

template <void (Filesystem::*Method)(const Request&, Reply)>
void bare(Filesystem& filesystem, const Request& request, Reply reply) {
  (filesystem.*Method)(request, std::move(reply));
}

void lookup(Filesystem& filesystem, const Request& request, Reply reply) {
  Arguments arguments{request.arguments()};
  const std::string_view name = arguments.name();
  if (arguments.error() != 0) {
    reply.error(arguments.error());
    return;
  }
  filesystem.lookup(request, name, std::move(reply));
}

template <bool Plus>
void readdir(Filesystem& filesystem, const Request& request, Reply reply) {
  Arguments arguments{request.arguments()};
  const auto in = arguments.fixed<abi::ReadIn>();
  if (arguments.error() != 0) {
    reply.error(arguments.error());
    return;
  }
  filesystem.readdir(request, in, Plus, std::move(reply));
}

constexpr std::size_t kMaxXattrName = 255;

void getxattr(Filesystem& filesystem, const Request& request, Reply reply) {
  Arguments arguments{request.arguments()};
  const auto in = arguments.fixed<abi::GetxattrIn>();
  const std::string_view name = arguments.text(kMaxXattrName);
  if (arguments.error() != 0) {
    reply.error(arguments.error());
    return;
  }
  filesystem.getxattr(request, name, in.size, std::move(reply));
}

void listxattr(Filesystem& filesystem, const Request& request, Reply reply) {
  Arguments arguments{request.arguments()};
  const auto in = arguments.fixed<abi::GetxattrIn>();
  if (arguments.error() != 0) {
    reply.error(arguments.error());
    return;
  }
  filesystem.listxattr(request, in.size, std::move(reply));
}

void releasedir(Filesystem&, const Request&, Reply reply) {
  reply.done();
}  // directories are read without state

constexpr auto make_table() {
  std::array<Operation, kOpcodes> table{};
  const auto row = [&table](abi::Opcode opcode, Operation operation) {
    table[static_cast<std::uint32_t>(opcode)] = operation;
  };
  using abi::Opcode;
  row(Opcode::init, {"INIT"});
  row(Opcode::destroy, {"DESTROY"});
  // Node ids need no bookkeeping, so what the kernel forgets does not matter, nor does any count in there.
  row(Opcode::forget, {"FORGET"});
  row(Opcode::batch_forget, {"BATCH_FORGET"});
  row(Opcode::interrupt, {"INTERRUPT"});

  row(Opcode::lookup, {"LOOKUP", &lookup});
  row(Opcode::getattr, {"GETATTR", &ignoring<abi::GetattrIn, &Filesystem::getattr>});
  row(Opcode::statx, {"STATX", &ignoring<abi::StatxIn, &Filesystem::statx>});
  row(Opcode::readlink, {"READLINK", &bare<&Filesystem::readlink>});
  row(Opcode::open, {"OPEN", &with<abi::OpenIn, &Filesystem::open>});
  row(Opcode::read, {"READ", &with<abi::ReadIn, &Filesystem::read>});
  row(Opcode::lseek, {"LSEEK", &with<abi::LseekIn, &Filesystem::lseek>});
  row(Opcode::release, {"RELEASE", &with<abi::ReleaseIn, &Filesystem::release>});
  row(Opcode::opendir, {"OPENDIR", &ignoring<abi::OpenIn, &Filesystem::opendir>});
  row(Opcode::readdir, {"READDIR", &readdir<false>});
  row(Opcode::readdirplus, {"READDIRPLUS", &readdir<true>});
  row(Opcode::releasedir, {"RELEASEDIR", &releasedir});
  row(Opcode::getxattr, {"GETXATTR", &getxattr});
  row(Opcode::listxattr, {"LISTXATTR", &listxattr});
  row(Opcode::statfs, {"STATFS", &bare<&Filesystem::statfs>});

  // The kernel checks permissions itself (default_permissions), has nothing to flush or sync here, keeps locks of its
  // own, and remembers each of these answers.
  for (const auto& [opcode, name] : {std::pair{Opcode::access, "ACCESS"},
                                     {Opcode::flush, "FLUSH"},
                                     {Opcode::fsync, "FSYNC"},
                                     {Opcode::fsyncdir, "FSYNCDIR"},
                                     {Opcode::syncfs, "SYNCFS"},
                                     {Opcode::getlk, "GETLK"},
                                     {Opcode::setlk, "SETLK"},
                                     {Opcode::setlkw, "SETLKW"},
                                     {Opcode::bmap, "BMAP"},
                                     {Opcode::ioctl, "IOCTL"},
                                     {Opcode::poll, "POLL"},
                                     {Opcode::notify_reply, "NOTIFY_REPLY"},
                                     {Opcode::setupmapping, "SETUPMAPPING"},
                                     {Opcode::removemapping, "REMOVEMAPPING"}}) {
    row(opcode, {name, nullptr, ENOSYS});
  }
  for (const auto& [opcode, name] : {std::pair{Opcode::setattr, "SETATTR"},
                                     {Opcode::symlink, "SYMLINK"},
                                     {Opcode::mknod, "MKNOD"},
                                     {Opcode::mkdir, "MKDIR"},
                                     {Opcode::unlink, "UNLINK"},
                                     {Opcode::rmdir, "RMDIR"},
                                     {Opcode::rename, "RENAME"},
                                     {Opcode::rename2, "RENAME2"},
                                     {Opcode::link, "LINK"},
                                     {Opcode::write, "WRITE"},
                                     {Opcode::create, "CREATE"},
                                     {Opcode::tmpfile, "TMPFILE"},
                                     {Opcode::setxattr, "SETXATTR"},
                                     {Opcode::removexattr, "REMOVEXATTR"},
                                     {Opcode::fallocate, "FALLOCATE"},
                                     {Opcode::copy_file_range, "COPY_FILE_RANGE"},
                                     {Opcode::copy_file_range_64, "COPY_FILE_RANGE_64"}}) {
    row(opcode, {name, nullptr, EROFS});
  }
  return table;
}
constexpr std::array<Operation, kOpcodes> kTable = make_table();

}  // namespace

const Operation* operation_of(std::uint32_t opcode) {
  if (opcode >= kOpcodes || kTable[opcode].name == nullptr) return nullptr;
  return &kTable[opcode];
}

}  // namespace stellarium::fs::fuse
