# aril_component(NAME LAYER layer [SOURCES ...] [KERNEL_SOURCES ...] [PROCESS_SOURCES ...] [HOST_SOURCES ...]
#                [DEPENDS component ...] [KERNEL_DEPENDS component ...] [TESTS ...] [FUZZERS ...]
#                [OPTIMIZED_TESTS] [KERNEL_ONLY] [PLATFORM vm|process])
#
# Declares one component: the folder that calls it, with its public headers in include/ (or
# include trees given as KERNEL_INCLUDE, PROCESS_INCLUDE and HOST_INCLUDE). Makes
#   k.NAME   the archive for the kernel of virtual machines (freestanding flags),
#   z.NAME   the same for size, for images with profile = "tiny",
#   p.NAME   the archive for the kernel that is a Linux process: the same sources (or PROCESS_SOURCES
#            for KERNEL_SOURCES) against arch/process, for any address; only one of the two where
#            PLATFORM says so,
#   h.NAME   the same sources for the host under ASan and UBSan, for unit tests,
#   NAME_test, NAME_X_fuzz   the tests and fuzzers that link h.NAME.
# KERNEL_DEPENDS are what only KERNEL_SOURCES need; OPTIMIZED_TESTS says that the tests compute a lot
# themselves.
# Include paths exist only through DEPENDS, and an edge that points upward, or sideways between
# drivers, net and fs, is a configuration error.

set(ARIL_LAYER_RANK_base 0)
set(ARIL_LAYER_RANK_arch 1)
set(ARIL_LAYER_RANK_kernel 2)
set(ARIL_LAYER_RANK_drivers 3)
set(ARIL_LAYER_RANK_net 3)
set(ARIL_LAYER_RANK_fs 3)
set(ARIL_LAYER_RANK_linux 4)
set(ARIL_LAYER_RANK_diag 5)
set(ARIL_LAYER_RANK_platform 6)

function(aril_check_edge name layer dependency)
  get_property(dependency_layer GLOBAL PROPERTY ARIL_LAYER_OF_${dependency})
  if(NOT dependency_layer)
    message(FATAL_ERROR "${name} depends on ${dependency}, which is not declared before it")
  endif()
  set(own ${ARIL_LAYER_RANK_${layer}})
  set(other ${ARIL_LAYER_RANK_${dependency_layer}})
  if(other GREATER own OR (other EQUAL own AND NOT layer STREQUAL dependency_layer))
    message(FATAL_ERROR
      "layer rule: ${name} (${layer}) must not depend on ${dependency} (${dependency_layer})")
  endif()
endfunction()

function(aril_component name)
  cmake_parse_arguments(C "OPTIMIZED_TESTS;KERNEL_ONLY" "LAYER;PLATFORM"
    "SOURCES;KERNEL_SOURCES;PROCESS_SOURCES;HOST_SOURCES;KERNEL_INCLUDE;PROCESS_INCLUDE;HOST_INCLUDE;DEPENDS;KERNEL_DEPENDS;TESTS;FUZZERS" ${ARGN})
  if(C_UNPARSED_ARGUMENTS OR NOT DEFINED ARIL_LAYER_RANK_${C_LAYER})
    message(FATAL_ERROR "aril_component(${name}): bad arguments ${C_UNPARSED_ARGUMENTS}")
  endif()
  foreach(dependency ${C_DEPENDS} ${C_KERNEL_DEPENDS})
    aril_check_edge(${name} ${C_LAYER} ${dependency})
  endforeach()
  set_property(GLOBAL PROPERTY ARIL_LAYER_OF_${name} ${C_LAYER})
  set_property(GLOBAL APPEND PROPERTY ARIL_COMPONENTS ${name})

  if(NOT C_PLATFORM STREQUAL process)
    aril_variant(k ${name} "${C_SOURCES};${C_KERNEL_SOURCES}" "${C_KERNEL_INCLUDE}" "${C_DEPENDS};${C_KERNEL_DEPENDS}")
    target_link_libraries(k.${name} ${ARIL_VISIBILITY} aril_kernel_flags)
    aril_variant(z ${name} "${C_SOURCES};${C_KERNEL_SOURCES}" "${C_KERNEL_INCLUDE}" "${C_DEPENDS};${C_KERNEL_DEPENDS}")
    target_link_libraries(z.${name} ${ARIL_VISIBILITY} aril_tiny_flags)
    set_target_properties(z.${name} PROPERTIES EXCLUDE_FROM_ALL ON)
    set_property(GLOBAL PROPERTY ARIL_EDGES_OF_${name} ${C_DEPENDS} ${C_KERNEL_DEPENDS})
  endif()
  if(NOT C_PLATFORM STREQUAL vm)
    if(NOT C_PROCESS_SOURCES)
      set(C_PROCESS_SOURCES ${C_KERNEL_SOURCES})
    endif()
    if(NOT C_PROCESS_INCLUDE)
      set(C_PROCESS_INCLUDE ${C_KERNEL_INCLUDE})
    endif()
    aril_variant(p ${name} "${C_SOURCES};${C_PROCESS_SOURCES}" "${C_PROCESS_INCLUDE}" "${C_DEPENDS};${C_KERNEL_DEPENDS}")
    target_link_libraries(p.${name} ${ARIL_VISIBILITY} aril_process_kernel_flags)
    set_target_properties(p.${name} PROPERTIES EXCLUDE_FROM_ALL ON)
  endif()
  if(C_KERNEL_ONLY)
    return()
  endif()
  aril_variant(h ${name} "${C_SOURCES};${C_HOST_SOURCES}" "${C_HOST_INCLUDE}" "${C_DEPENDS}")
  target_link_libraries(h.${name} ${ARIL_VISIBILITY} aril_host_test_flags)
  if(ARIL_VISIBILITY STREQUAL PUBLIC)
    target_compile_options(h.${name} PRIVATE ${ARIL_HOST_OPTIMIZATION})
  endif()
  if(C_TESTS)
    add_executable(${name}_test ${C_TESTS})
    target_link_libraries(${name}_test PRIVATE h.${name} h.base gtest_main_libcxx)
    set(kind test)
    if(C_OPTIMIZED_TESTS)
      set(kind optimized_test)
      target_compile_options(${name}_test PRIVATE ${ARIL_HOST_OPTIMIZATION})
    endif()
    if(TARGET ${kind}.precompiled)
      target_precompile_headers(${name}_test REUSE_FROM ${kind}.precompiled)
    endif()
    add_test(NAME ${name} COMMAND ${name}_test)
    set_property(GLOBAL APPEND PROPERTY ARIL_TESTS ${name}_test)
  endif()
  foreach(fuzzer ${C_FUZZERS})
    get_filename_component(stem ${fuzzer} NAME_WE)
    add_executable(${name}_${stem} ${fuzzer})
    target_compile_options(${name}_${stem} PRIVATE ${ARIL_HOST_OPTIMIZATION} -fsanitize=fuzzer)
    target_link_options(${name}_${stem} PRIVATE -fsanitize=fuzzer)
    # libFuzzer itself is built against libstdc++, which lives beside libc++ in another namespace; by
    # file name, because clang turns -lstdc++ into libc++.
    target_link_libraries(${name}_${stem} PRIVATE h.${name} h.base -l:libstdc++.so.6)
    set_property(GLOBAL APPEND PROPERTY ARIL_FUZZERS ${name}_${stem})
  endforeach()
endfunction()

# One build of a component. A component without sources is headers only.
macro(aril_variant prefix name sources include depends)
  set(sources_list ${sources})
  list(REMOVE_ITEM sources_list "")
  if(sources_list)
    add_library(${prefix}.${name} STATIC ${sources_list})
    set(ARIL_VISIBILITY PUBLIC)
    if(TARGET ${prefix}.precompiled)
      target_precompile_headers(${prefix}.${name} REUSE_FROM ${prefix}.precompiled)
      set(other_languages ${sources_list})
      list(FILTER other_languages EXCLUDE REGEX "\\.cpp$")
      set_source_files_properties(${other_languages} PROPERTIES SKIP_PRECOMPILE_HEADERS ON)
    endif()
  else()
    add_library(${prefix}.${name} INTERFACE)
    set(ARIL_VISIBILITY INTERFACE)
  endif()
  set(include_list ${include})
  if(NOT include_list)
    set(include_list include)
  endif()
  foreach(directory ${include_list})
    target_include_directories(${prefix}.${name} ${ARIL_VISIBILITY} ${CMAKE_CURRENT_SOURCE_DIR}/${directory})
  endforeach()
  foreach(dependency ${depends})
    target_link_libraries(${prefix}.${name} ${ARIL_VISIBILITY} ${prefix}.${dependency})
  endforeach()
endmacro()
