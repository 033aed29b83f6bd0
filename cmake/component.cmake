# stellarium_component(NAME [QUICK] SOURCES … [PUBLIC …] [PRIVATE …] [TESTS …] [TEST_LIBRARIES …])
#
# Makes the library stellarium_NAME (alias stellarium::NAME) of this folder's SOURCES, with the project's warnings, and, where TESTS
# are named, the program unit_NAME from tests/unit/NAME (TEST_LIBRARIES: what it needs besides). Headers are included as
# "NAME/file.h". Edges are stated, never inherited by accident: PUBLIC is what our headers include, PRIVATE what only our sources
# do. QUICK: has stellarium_quick_flags (settings.cmake).
function(stellarium_component name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "QUICK" "" "SOURCES;PUBLIC;PRIVATE;TESTS;TEST_LIBRARIES")
  set(library stellarium_${name})
  add_library(${library} STATIC ${arg_SOURCES})
  add_library(stellarium::${name} ALIAS ${library})
  target_include_directories(${library} PUBLIC ${PROJECT_SOURCE_DIR}/src)
  set(flags stellarium_flags)
  set(precompiled library)
  if(arg_QUICK AND STELLARIUM_QUICK)
    set(flags stellarium_quick_flags)
    set(precompiled quick)
  endif()
  target_link_libraries(${library} PUBLIC ${arg_PUBLIC} PRIVATE ${flags} ${arg_PRIVATE})
  stellarium_precompile(${library} ${precompiled})
  stellarium_unite(${library})

  if(arg_TESTS)
    list(TRANSFORM arg_TESTS PREPEND ${PROJECT_SOURCE_DIR}/tests/unit/${name}/)
    stellarium_unit_test(${name} SOURCES ${arg_TESTS} LIBRARIES ${library} ${arg_TEST_LIBRARIES})
  endif()
endfunction()

# stellarium_unit_test(NAME SOURCES … LIBRARIES …): the program and the test unit_NAME.
function(stellarium_unit_test name)
  if(NOT STELLARIUM_PROGRAM_TESTS)
    return()
  endif()
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBRARIES")
  add_executable(unit_${name} ${arg_SOURCES})
  target_include_directories(unit_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(unit_${name} PRIVATE ${arg_LIBRARIES} stellarium_test_support stellarium_quick_flags GTest::gtest_main GTest::gmock)
  stellarium_precompile(unit_${name} test)
  stellarium_unite(unit_${name})
  target_compile_definitions(unit_${name} PRIVATE STELLARIUM_GOLDEN_DIR="${PROJECT_SOURCE_DIR}/tests/golden")
  add_test(NAME ${STELLARIUM_TEST_PREFIX}unit_${name} COMMAND unit_${name})
  set_tests_properties(${STELLARIUM_TEST_PREFIX}unit_${name} PROPERTIES LABELS unit TIMEOUT 600
    ENVIRONMENT ${STELLARIUM_TSAN_OPTIONS})
endfunction()

# stellarium_fuzz(NAME SOURCES … [LIBRARIES …]): the libFuzzer program fuzz_NAME with its seeds in tests/fuzz/corpus/NAME.
# All of them together are the target fuzz_targets; tests/fuzz/run runs them.
function(stellarium_fuzz name)
  if(NOT STELLARIUM_FUZZ)
    return()
  endif()
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LIBRARIES")
  add_executable(fuzz_${name} ${arg_SOURCES})
  target_include_directories(fuzz_${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(fuzz_${name} PRIVATE ${arg_LIBRARIES} stellarium_flags)
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzzers)
  if(NOT TARGET fuzz_targets)
    add_custom_target(fuzz_targets)
  endif()
  add_dependencies(fuzz_targets fuzz_${name})
endfunction()
