# Outside headers parsed once instead of in every file: half of the time a build takes. Off while developing, so that a
# missing #include is noticed; the presets `test`, `fuzz` and `tsan` switch it on.
option(STELLARIUM_PRECOMPILE "Precompile the outside headers that most files include" OFF)

set(STELLARIUM_STANDARD_HEADERS
  <algorithm> <array> <atomic> <chrono> <condition_variable> <deque> <filesystem> <fstream> <functional> <map> <memory>
  <mutex> <optional> <set> <span> <string> <string_view> <thread> <unordered_map> <utility> <vector>)

if(STELLARIUM_PRECOMPILE AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  # g++ 12 forgets with them which lines belong to the system, and warns of its own library.
  target_compile_options(stellarium_flags INTERFACE -Wno-array-bounds -Wno-restrict -Wno-stringop-overflow -Wno-stringop-overread)
endif()

# stellarium_precompiled(NAME FLAG HEADERS … LIBRARIES …): the object library whose headers others reuse. FLAG is what
# they are compiled with, and LIBRARIES what they link, which must agree.
function(stellarium_precompiled name flag)
  if(NOT STELLARIUM_PRECOMPILE)
    return()
  endif()
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "LIBRARIES")
  set(source ${PROJECT_BINARY_DIR}/precompiled/${name}.cpp)
  file(CONFIGURE OUTPUT ${source} CONTENT "// Only its precompiled headers are used.\n")
  add_library(${name} OBJECT ${source})
  target_link_libraries(${name} PRIVATE ${arg_LIBRARIES})
  target_compile_options(${name} PRIVATE ${flag})
  target_precompile_headers(${name} PRIVATE ${arg_UNPARSED_ARGUMENTS})
endfunction()
stellarium_precompiled(stellarium_precompiled_library -fPIC ${STELLARIUM_STANDARD_HEADERS} LIBRARIES stellarium_flags)
if(STELLARIUM_QUICK)
  stellarium_precompiled(stellarium_precompiled_quick -fPIC ${STELLARIUM_STANDARD_HEADERS} LIBRARIES stellarium_quick_flags)
endif()
if(STELLARIUM_PROGRAM_TESTS)
  stellarium_precompiled(stellarium_precompiled_test -fPIE ${STELLARIUM_STANDARD_HEADERS} <random> <gmock/gmock.h> <gtest/gtest.h>
    LIBRARIES stellarium_quick_flags GTest::gmock)
endif()

# stellarium_precompile(TARGET KIND): KIND is library, quick (a library with stellarium_quick_flags) or test (a program that tests)
function(stellarium_precompile target kind)
  if(STELLARIUM_PRECOMPILE)
    target_precompile_headers(${target} REUSE_FROM stellarium_precompiled_${kind})
  endif()
endfunction()
