#include "fs/fuse/operations.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

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
struct Entry {
  static std::string_view take(Arguments& arguments) { return arguments.entry_name(); }
};
struct Target {
  static std::string_view take(Arguments& arguments) { return arguments.text(abi::kMaxTarget, ENAMETOOLONG); }
};
struct XattrName {
  static std::string_view take(Arguments& arguments) { return arguments.text(abi::kMaxXattrName); }
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

void forget(Filesystem& filesystem, const Request& request, Reply) {
  Arguments arguments{request.arguments()};
  arguments.fixed<abi::ForgetIn>();
  if (arguments.error() == 0) filesystem.forget(request.node());
}

void batch_forget(Filesystem& filesystem, const Request& request, Reply) {
  Arguments arguments{request.arguments()};
  const auto in = arguments.fixed<abi::BatchForgetIn>();
  for (std::uint32_t i = 0; i < in.count; ++i) {  // as many as there are, whatever the count says
    const auto one = arguments.fixed<abi::ForgetOne>();
    if (arguments.error() != 0) return;
    filesystem.forget(NodeId{one.nodeid});
  }
}

template <typename T>
void rename(Filesystem& filesystem, const Request& request, Reply reply) {
  Arguments arguments{request.arguments()};
  const T in = arguments.fixed<T>();
  const std::string_view old_name = arguments.entry_name();
  const std::string_view new_name = arguments.entry_name();
  if (refused(arguments, reply)) return;
  std::uint32_t flags = 0;
  if constexpr (std::is_same_v<T, abi::Rename2In>) flags = in.flags;
  filesystem.rename(request, NodeId{in.new_parent}, flags, old_name, new_name, std::move(reply));
}

void link(Filesystem& filesystem, const Request& request, Reply reply) {
  Arguments arguments{request.arguments()};
  const auto in = arguments.fixed<abi::LinkIn>();
  const std::string_view name = arguments.entry_name();
  if (!refused(arguments, reply)) filesystem.link(request, NodeId{in.target}, name, std::move(reply));
}

void write(Filesystem& filesystem, const Request& request, Reply reply) {
  Arguments arguments{request.arguments()};
  const auto in = arguments.fixed<abi::WriteIn>();
  const ByteSpan inside = arguments.rest(request.data().empty() ? in.size : 0);
  if (refused(arguments, reply)) return;
  const ByteParts data = request.data().empty() ? ByteParts{&inside, 1} : request.data();
  if (in.size > filesystem.max_write() || size_of(data) != in.size) {
    reply.error(EINVAL);
    return;
  }
  filesystem.write(request, in, data, std::move(reply));
}

void setxattr(Filesystem& filesystem, const Request& request, Reply reply) {
  Arguments arguments{request.arguments()};
  const bool extended = request.has(abi::feature::kSetxattrExt);
  const auto in = arguments.fixed<abi::SetxattrIn>(extended ? sizeof(abi::SetxattrIn) : abi::kSetxattrInOldSize);
  const std::string_view name = arguments.text(abi::kMaxXattrName);
  const ByteSpan value = arguments.rest(in.size);
  if (refused(arguments, reply)) return;
  if (value.size() > abi::kMaxXattrValue) {
    reply.error(E2BIG);
    return;
  }
  filesystem.setxattr(request, in, name, value, std::move(reply));
}

template <bool Wide>
void copy_file_range(Filesystem& filesystem, const Request& request, Reply reply) {
  Arguments arguments{request.arguments()};
  auto in = arguments.fixed<abi::CopyFileRangeIn>();
  if (refused(arguments, reply)) return;
  // The narrow answer counts in 32 bits; a shorter copy, of whole pages, is always allowed.
  if (!Wide) in.length = std::min<std::uint64_t>(in.length, 0xffff'f000);
  filesystem.copy_file_range(request, in, Wide, std::move(reply));
}

void remove_mappings(Filesystem& filesystem, const Request& request, Reply reply) {
  Arguments arguments{request.arguments()};
  const auto in = arguments.fixed<abi::RemoveMappingIn>();
  if (arguments.error() == 0 && in.count > abi::kMaxRemovedMappings) return reply.error(EINVAL), void();
  const ByteSpan all = arguments.rest(std::size_t{in.count} * sizeof(abi::RemoveMappingOne));
  if (refused(arguments, reply)) return;
  std::vector<abi::RemoveMappingOne> which(in.count);  // copied: they do not lie where such a structure may
  if (!all.empty()) std::memcpy(which.data(), all.data(), all.size());
  filesystem.remove_mappings(request, which, std::move(reply));
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
  row(Opcode::interrupt, {"INTERRUPT"});
  row(Opcode::forget, {.name = "FORGET", .run = &forget, .silent = true});
  row(Opcode::batch_forget, {.name = "BATCH_FORGET", .run = &batch_forget, .silent = true});

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

  row(Opcode::setattr, {"SETATTR", &with<&Filesystem::setattr, In<abi::SetattrIn>>});
  row(Opcode::symlink, {"SYMLINK", &with<&Filesystem::symlink, Entry, Target>});
  row(Opcode::mknod, {"MKNOD", &with<&Filesystem::mknod, In<abi::MknodIn>, Entry>});
  row(Opcode::mkdir, {"MKDIR", &with<&Filesystem::mkdir, In<abi::MkdirIn>, Entry>});
  row(Opcode::unlink, {"UNLINK", &with<&Filesystem::unlink, Entry>});
  row(Opcode::rmdir, {"RMDIR", &with<&Filesystem::rmdir, Entry>});
  row(Opcode::rename, {"RENAME", &rename<abi::RenameIn>});
  row(Opcode::rename2, {"RENAME2", &rename<abi::Rename2In>});
  row(Opcode::link, {"LINK", &link});
  row(Opcode::create, {"CREATE", &with<&Filesystem::create, In<abi::CreateIn>, Entry>});
  row(Opcode::tmpfile, {"TMPFILE", &with<&Filesystem::tmpfile, In<abi::CreateIn>>});
  row(Opcode::write, {"WRITE", &write});
  row(Opcode::fallocate, {"FALLOCATE", &with<&Filesystem::fallocate, In<abi::FallocateIn>>});
  row(Opcode::copy_file_range, {"COPY_FILE_RANGE", &copy_file_range<false>});
  row(Opcode::copy_file_range_64, {"COPY_FILE_RANGE_64", &copy_file_range<true>});
  row(Opcode::setxattr, {"SETXATTR", &setxattr});
  row(Opcode::removexattr, {"REMOVEXATTR", &with<&Filesystem::removexattr, XattrName>});
  row(Opcode::flush, {"FLUSH", &with<&Filesystem::flush, In<abi::FlushIn>>});
  row(Opcode::fsync, {"FSYNC", &with<&Filesystem::fsync, In<abi::FsyncIn>>});
  row(Opcode::fsyncdir, {"FSYNCDIR", &with<&Filesystem::fsyncdir, In<abi::FsyncIn>>});
  row(Opcode::syncfs, {"SYNCFS", &ignoring<abi::SyncfsIn, &Filesystem::syncfs>});
  row(Opcode::setupmapping, {"SETUPMAPPING", &with<&Filesystem::setup_mapping, In<abi::SetupMappingIn>>});
  row(Opcode::removemapping, {"REMOVEMAPPING", &remove_mappings});

  // The kernel checks permissions itself (default_permissions), keeps locks of its own, and remembers each of these
  // answers.
  for (const auto& [opcode, name] : {std::pair{Opcode::access, "ACCESS"},
                                     {Opcode::getlk, "GETLK"},
                                     {Opcode::setlk, "SETLK"},
                                     {Opcode::setlkw, "SETLKW"},
                                     {Opcode::bmap, "BMAP"},
                                     {Opcode::ioctl, "IOCTL"},
                                     {Opcode::poll, "POLL"},
                                     {Opcode::notify_reply, "NOTIFY_REPLY"}}) {
    row(opcode, {name, nullptr, ENOSYS});
  }
  for (const Opcode opcode :
       {Opcode::setattr, Opcode::symlink, Opcode::mknod, Opcode::mkdir, Opcode::unlink, Opcode::rmdir, Opcode::rename,
        Opcode::rename2, Opcode::link, Opcode::create, Opcode::tmpfile, Opcode::write, Opcode::fallocate,
        Opcode::copy_file_range, Opcode::copy_file_range_64, Opcode::setxattr, Opcode::removexattr})
    table[static_cast<std::uint32_t>(opcode)].changes = true;
  return table;
}
constexpr std::array<Operation, kOpcodes> kTable = make_table();

}  // namespace

const Operation* operation_of(std::uint32_t opcode) {
  if (opcode >= kOpcodes || kTable[opcode].name == nullptr) return nullptr;
  return &kTable[opcode];
}

}  // namespace stellarium::fs::fuse
