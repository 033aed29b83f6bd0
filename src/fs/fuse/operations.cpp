#include "fs/fuse/operations.h"

#include <array>
#include <cerrno>
#include <tuple>
#include <utility>

namespace stellarium::fs::fuse {
namespace {

// Kinds of arguments, as one follows the other in a request.
template <typename T>
struct In {
  static T take(Arguments& arguments) { return arguments.fixed<T>(); }
};
struct Name {
  static std::string_view take(Arguments& arguments) { return arguments.name(); }
};

bool refused(const Arguments& arguments, Reply& reply) {
  if (arguments.error() == 0) return false;
  reply.error(arguments.error());
  return true;
}

/// An operation that takes its arguments as they come.
template <auto Method, typename... Kinds>
void with(Filesystem& filesystem, const Request& request, Reply reply) {
  Arguments arguments{request.arguments()};
  // Braces, because they keep the order.
  const std::tuple<decltype(Kinds::take(arguments))...> taken{Kinds::take(arguments)...};
  if (refused(arguments, reply)) return;
  std::apply([&](const auto&... values) { (filesystem.*Method)(request, values..., std::move(reply)); }, taken);
}

/// An operation whose arguments do not matter, but must be there.
template <typename T, auto Method>
void ignoring(Filesystem& filesystem, const Request& request, Reply reply) {
  Arguments arguments{request.arguments()};
  arguments.fixed<T>();
  if (!refused(arguments, reply)) (filesystem.*Method)(request, std::move(reply));
}

// The others, whose arguments come in another order or need a closer look.

template <bool Plus>
void readdir(Filesystem& filesystem, const Request& request, Reply reply) {
  Arguments arguments{request.arguments()};
  const auto in = arguments.fixed<abi::ReadIn>();
  if (!refused(arguments, reply)) filesystem.readdir(request, in, Plus, std::move(reply));
}

void getxattr(Filesystem& filesystem, const Request& request, Reply reply) {
  Arguments arguments{request.arguments()};
  const auto in = arguments.fixed<abi::GetxattrIn>();
  const std::string_view name = arguments.text(abi::kMaxXattrName);
  if (!refused(arguments, reply)) filesystem.getxattr(request, name, in.size, std::move(reply));
}

void listxattr(Filesystem& filesystem, const Request& request, Reply reply) {
  Arguments arguments{request.arguments()};
  const auto in = arguments.fixed<abi::GetxattrIn>();
  if (!refused(arguments, reply)) filesystem.listxattr(request, in.size, std::move(reply));
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

  row(Opcode::lookup, {"LOOKUP", &with<&Filesystem::lookup, Name>});
  row(Opcode::getattr, {"GETATTR", &ignoring<abi::GetattrIn, &Filesystem::getattr>});
  row(Opcode::statx, {"STATX", &ignoring<abi::StatxIn, &Filesystem::statx>});
  row(Opcode::readlink, {"READLINK", &with<&Filesystem::readlink>});
  row(Opcode::open, {"OPEN", &with<&Filesystem::open, In<abi::OpenIn>>});
  row(Opcode::read, {"READ", &with<&Filesystem::read, In<abi::ReadIn>>});
  row(Opcode::lseek, {"LSEEK", &with<&Filesystem::lseek, In<abi::LseekIn>>});
  row(Opcode::release, {"RELEASE", &with<&Filesystem::release, In<abi::ReleaseIn>>});
  row(Opcode::opendir, {"OPENDIR", &ignoring<abi::OpenIn, &Filesystem::opendir>});
  row(Opcode::readdir, {"READDIR", &readdir<false>});
  row(Opcode::readdirplus, {"READDIRPLUS", &readdir<true>});
  row(Opcode::releasedir, {"RELEASEDIR", &releasedir});
  row(Opcode::getxattr, {"GETXATTR", &getxattr});
  row(Opcode::listxattr, {"LISTXATTR", &listxattr});
  row(Opcode::statfs, {"STATFS", &with<&Filesystem::statfs>});

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
