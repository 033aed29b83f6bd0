# BLAKE3 with its run-time SIMD dispatch: the system library where there is one (Debian 13 and later), else the
# official C sources that the package librust-blake3-dev installs. Either way the target is called blake3::blake3.
find_package(blake3 CONFIG QUIET)
if(NOT TARGET BLAKE3::blake3)
  file(GLOB STELLARIUM_BLAKE3_DIRS /usr/share/cargo/registry/blake3-*/c)
  if(NOT STELLARIUM_BLAKE3_DIRS)
    message(FATAL_ERROR "BLAKE3 not found: install libblake3-dev, or librust-blake3-dev for its C sources")
  endif()
  list(GET STELLARIUM_BLAKE3_DIRS -1 STELLARIUM_BLAKE3_DIR)
  add_library(blake3_c STATIC
    ${STELLARIUM_BLAKE3_DIR}/blake3.c
    ${STELLARIUM_BLAKE3_DIR}/blake3_dispatch.c
    ${STELLARIUM_BLAKE3_DIR}/blake3_portable.c)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    target_sources(blake3_c PRIVATE
      ${STELLARIUM_BLAKE3_DIR}/blake3_sse2_x86-64_unix.S
      ${STELLARIUM_BLAKE3_DIR}/blake3_sse41_x86-64_unix.S
      ${STELLARIUM_BLAKE3_DIR}/blake3_avx2_x86-64_unix.S
      ${STELLARIUM_BLAKE3_DIR}/blake3_avx512_x86-64_unix.S)
  elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
    target_sources(blake3_c PRIVATE ${STELLARIUM_BLAKE3_DIR}/blake3_neon.c)
    target_compile_definitions(blake3_c PRIVATE BLAKE3_USE_NEON=1)
  endif()
  target_include_directories(blake3_c SYSTEM PUBLIC ${STELLARIUM_BLAKE3_DIR})
  set_target_properties(blake3_c PROPERTIES C_VISIBILITY_PRESET hidden)
  add_library(blake3::blake3 ALIAS blake3_c)
else()
  add_library(blake3::blake3 ALIAS BLAKE3::blake3)
endif()
