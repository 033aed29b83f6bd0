#include "fs/fuse/filesystem.h"

#include <cerrno>

// A file system that nobody can write to.
namespace stellarium::fs::fuse {

void Filesystem::forget(NodeId) {}

void Filesystem::setattr(const Request&, const abi::SetattrIn&, Reply reply) {
  reply.error(EROFS);
}
void Filesystem::symlink(const Request&, std::string_view, std::string_view, Reply reply) {
  reply.error(EROFS);
}
void Filesystem::mknod(const Request&, const abi::MknodIn&, std::string_view, Reply reply) {
  reply.error(EROFS);
}
void Filesystem::mkdir(const Request&, const abi::MkdirIn&, std::string_view, Reply reply) {
  reply.error(EROFS);
}
void Filesystem::unlink(const Request&, std::string_view, Reply reply) {
  reply.error(EROFS);
}
void Filesystem::rmdir(const Request&, std::string_view, Reply reply) {
  reply.error(EROFS);
}
void Filesystem::rename(const Request&, NodeId, std::uint32_t, std::string_view, std::string_view, Reply reply) {
  reply.error(EROFS);
}
void Filesystem::link(const Request&, NodeId, std::string_view, Reply reply) {
  reply.error(EROFS);
}
void Filesystem::create(const Request&, const abi::CreateIn&, std::string_view, Reply reply) {
  reply.error(EROFS);
}
void Filesystem::tmpfile(const Request&, const abi::CreateIn&, Reply reply) {
  reply.error(EROFS);
}
void Filesystem::write(const Request&, const abi::WriteIn&, ByteParts, Reply reply) {
  reply.error(EROFS);
}
void Filesystem::fallocate(const Request&, const abi::FallocateIn&, Reply reply) {
  reply.error(EROFS);
}
void Filesystem::copy_file_range(const Request&, const abi::CopyFileRangeIn&, bool, Reply reply) {
  reply.error(EROFS);
}
void Filesystem::setxattr(const Request&, const abi::SetxattrIn&, std::string_view, ByteSpan, Reply reply) {
  reply.error(EROFS);
}
void Filesystem::removexattr(const Request&, std::string_view, Reply reply) {
  reply.error(EROFS);
}

void Filesystem::flush(const Request&, const abi::FlushIn&, Reply reply) {
  reply.error(ENOSYS);
}
void Filesystem::fsync(const Request&, const abi::FsyncIn&, Reply reply) {
  reply.error(ENOSYS);
}
void Filesystem::fsyncdir(const Request&, const abi::FsyncIn&, Reply reply) {
  reply.error(ENOSYS);
}
void Filesystem::syncfs(const Request&, Reply reply) {
  reply.error(ENOSYS);
}

void Filesystem::setup_mapping(const Request&, const abi::SetupMappingIn&, Reply reply) {
  reply.error(ENOSYS);
}
void Filesystem::remove_mappings(const Request&, std::span<const abi::RemoveMappingOne>, Reply reply) {
  reply.error(ENOSYS);
}

}  // namespace stellarium::fs::fuse
