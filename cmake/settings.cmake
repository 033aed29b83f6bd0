# What every target shares. Build kinds differ only by what CMakePresets.json sets.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

option(STELLARIUM_FUZZ "Build the fuzz targets (needs clang)" OFF)
# Off in continuous integration's plain build: the same tests run there under both sanitizers, and do no less.
option(STELLARIUM_PROGRAM_TESTS "Also the tests that do the same in every build: tests/unit, the FUSE core's on real mounts, some of tests/mount" ON)
# A component's sources compiled ten at a time, and its unit tests: a third of the time. For the presets `test`, `fuzz` and `tsan`,
# which each build everything. Two sources that come together so must not use one name for two things in their unnamed namespaces: the
# compiler says so. Off while developing, so that a missing #include is noticed and a change costs one file.
option(STELLARIUM_UNITY "Compile several sources of a component as one" OFF)
# stellarium_unite(TARGET): with that option, a component or a program that tests one
function(stellarium_unite target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ${STELLARIUM_UNITY} UNITY_BUILD_BATCH_SIZE 10)
endfunction()
set(STELLARIUM_SANITIZE "" CACHE STRING "Sanitizers for every target, e.g. address,undefined")
set(STELLARIUM_TEST_PREFIX "" CACHE STRING "Put before test names, so that one ctest run can list several build kinds")

find_program(STELLARIUM_CCACHE ccache)
if(STELLARIUM_CCACHE)
  set(CMAKE_C_COMPILER_LAUNCHER ${STELLARIUM_CCACHE})
  # The sloppiness is what precompiled headers need to be cached at all (ccache's manual, "Precompiled headers").
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${STELLARIUM_CCACHE})
endif()

# A linker that takes a sixth of the time: three presets link 70 programs.
find_program(STELLARIUM_LLD ld.lld)

add_library(stellarium_flags INTERFACE)
target_compile_options(stellarium_flags INTERFACE
  -Wall -Wextra -Wconversion -Wshadow -Werror -fno-omit-frame-pointer)
# A program that links a component must not drag in the libraries of parts it does not use:
# the `stellarium` command starts in a few milliseconds because it never loads RocksDB.
target_link_options(stellarium_flags INTERFACE -Wl,--as-needed -Wl,--gc-sections)
if(STELLARIUM_LLD)
  target_link_options(stellarium_flags INTERFACE -fuse-ld=lld)
endif()
target_compile_options(stellarium_flags INTERFACE -ffunction-sections -fdata-sections)
if(STELLARIUM_UNITY AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  target_compile_options(stellarium_flags INTERFACE -Wno-subobject-linkage)  # takes each included source for a header
endif()
if(STELLARIUM_SANITIZE)
  target_compile_options(stellarium_flags INTERFACE -fsanitize=${STELLARIUM_SANITIZE} -fno-sanitize-recover=all)
  target_link_options(stellarium_flags INTERFACE -fsanitize=${STELLARIUM_SANITIZE})
  if(STELLARIUM_SANITIZE STREQUAL thread)
    target_link_options(stellarium_flags INTERFACE -Wl,--version-script=${PROJECT_SOURCE_DIR}/tests/support/tsan.map)
  endif()
endif()
# What test programs run with (as in tests/mount/harness.py).
set(STELLARIUM_TSAN_OPTIONS "TSAN_OPTIONS=history_size=7:suppressions=${PROJECT_SOURCE_DIR}/tests/support/tsan.supp")
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  target_compile_options(stellarium_flags INTERFACE -Wthread-safety)
endif()
if(STELLARIUM_FUZZ)
  target_compile_options(stellarium_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# A program that starts thousands of times, or stays for weeks: without shared libraries it starts in half the time, most of which
# is page faults. Sanitizers need them.
add_library(stellarium_static INTERFACE)
if(NOT STELLARIUM_SANITIZE)
  target_link_options(stellarium_static INTERFACE -static-pie)
endif()

# Test programs, and what the server does once a command. To optimize that under clang's sanitizers takes longer than it runs
# (g++ takes as long without), and nobody fuzzes it; the components below are optimized, and so is the command: it starts in 20 ms
# then instead of 30, thousands of times.
add_library(stellarium_quick_flags INTERFACE)
target_link_libraries(stellarium_quick_flags INTERFACE stellarium_flags)
if(STELLARIUM_SANITIZE AND CMAKE_CXX_COMPILER_ID MATCHES Clang)
  set(STELLARIUM_QUICK ON)
  target_compile_options(stellarium_quick_flags INTERFACE -O0)
  if(STELLARIUM_FUZZ)
    target_compile_options(stellarium_quick_flags INTERFACE -fno-sanitize=fuzzer-no-link)
  endif()
endif()
