# Every outside library, found once. All of them are Debian 12 packages; tools/packages lists their names.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(zstd CONFIG REQUIRED)  # CONFIG: RocksDB ships a Findzstd.cmake of its own that would answer first
find_package(RocksDB CONFIG REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
find_package(fmt CONFIG REQUIRED)
find_package(spdlog CONFIG REQUIRED)
find_package(nlohmann_json CONFIG REQUIRED)
find_package(LibArchive REQUIRED)
find_package(GTest CONFIG REQUIRED)
find_package(benchmark CONFIG REQUIRED)
pkg_check_modules(FUSE3 REQUIRED fuse3)
# Only to mount, in the command, which has no shared libraries.
find_library(STELLARIUM_LIBFUSE3 libfuse3.a REQUIRED)
add_library(libfuse3 STATIC IMPORTED)
set_target_properties(libfuse3 PROPERTIES IMPORTED_LOCATION ${STELLARIUM_LIBFUSE3} INTERFACE_INCLUDE_DIRECTORIES "${FUSE3_INCLUDE_DIRS}"
  INTERFACE_LINK_LIBRARIES "Threads::Threads")
# Only to read disk images, in the command, too.
pkg_check_modules(EXT2FS REQUIRED ext2fs)
find_library(STELLARIUM_LIBEXT2FS libext2fs.a REQUIRED)
find_library(STELLARIUM_LIBCOM_ERR libcom_err.a REQUIRED)
add_library(libext2fs STATIC IMPORTED)
set_target_properties(libext2fs PROPERTIES IMPORTED_LOCATION ${STELLARIUM_LIBEXT2FS} INTERFACE_INCLUDE_DIRECTORIES "${EXT2FS_INCLUDE_DIRS}"
  INTERFACE_LINK_LIBRARIES "${STELLARIUM_LIBCOM_ERR};Threads::Threads")
pkg_check_modules(CURL REQUIRED IMPORTED_TARGET libcurl)
pkg_check_modules(CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
# To sign and check names, in the command, too.
find_library(STELLARIUM_LIBSODIUM libsodium.a REQUIRED)
add_library(libsodium STATIC IMPORTED)
set_target_properties(libsodium PROPERTIES IMPORTED_LOCATION ${STELLARIUM_LIBSODIUM} INTERFACE_LINK_LIBRARIES "Threads::Threads")
pkg_check_modules(EXPAT REQUIRED IMPORTED_TARGET expat)
pkg_check_modules(ACL REQUIRED IMPORTED_TARGET libacl)
pkg_check_modules(CAPNG REQUIRED IMPORTED_TARGET libcap-ng)
pkg_check_modules(SECCOMP REQUIRED IMPORTED_TARGET libseccomp)
include(blake3)
