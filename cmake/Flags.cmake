# Compile and link flags of the three kinds of product: kernel, host unit tests, host tools.
set(ARIL_WARNINGS -Wall -Wextra -Werror -Wno-c99-designator -Wno-missing-field-initializers)

add_library(aril_freestanding_flags INTERFACE)
target_compile_options(aril_freestanding_flags INTERFACE
  ${ARIL_WARNINGS} -O2 -g
  $<$<COMPILE_LANGUAGE:CXX>:-stdlib=libc++ -fno-exceptions -fno-rtti -fno-threadsafe-statics -fno-c++-static-destructors>
  # Nothing here needs 16-byte stacks: without SSE there is no such value.
  -mno-red-zone -mno-sse -mno-mmx -mstack-alignment=8
  # The canary is per CPU (arch/cpu.hpp, CpuBlock::stack_canary): FS is the application's.
  -fstack-protector-strong -mstack-protector-guard-reg=gs -mstack-protector-guard-offset=40
  # Frame pointers make backtraces; unwind tables would only weigh.
  -fno-omit-frame-pointer -fno-asynchronous-unwind-tables -fno-unwind-tables
  -ffunction-sections -fdata-sections)
target_compile_definitions(aril_freestanding_flags INTERFACE
  ARIL_KERNEL=1
  $<$<COMPILE_LANGUAGE:CXX>:_LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_FAST>)
# Many tables have room for each CPU.
add_library(aril_kernel_flags INTERFACE)
target_link_libraries(aril_kernel_flags INTERFACE aril_freestanding_flags)
target_compile_options(aril_kernel_flags INTERFACE -mcmodel=kernel -fno-pic -fno-pie)
target_compile_definitions(aril_kernel_flags INTERFACE ARIL_MAX_CPUS=32)
# Linked above 4 GiB in a process's address space: code that finds everything relative to itself.
add_library(aril_process_kernel_flags INTERFACE)
target_link_libraries(aril_process_kernel_flags INTERFACE aril_freestanding_flags)
target_compile_options(aril_process_kernel_flags INTERFACE -mcmodel=small -fPIE)
target_compile_definitions(aril_process_kernel_flags INTERFACE ARIL_MAX_CPUS=32)

# The second set of archives, for `profile = "tiny"`: the same sources for size. Hardening of the
# standard library stays; canaries, frame pointers (backtraces) and texts about our own bugs do not.
# No machine outliner: what it shares compresses better where it stood.
add_library(aril_tiny_flags INTERFACE)
get_target_property(options aril_freestanding_flags INTERFACE_COMPILE_OPTIONS)
list(REMOVE_ITEM options -O2 -g -fstack-protector-strong -fno-omit-frame-pointer)
get_target_property(definitions aril_freestanding_flags INTERFACE_COMPILE_DEFINITIONS)
target_compile_options(aril_tiny_flags INTERFACE ${options} -mcmodel=kernel -fno-pic -fno-pie -Oz -fno-stack-protector -fomit-frame-pointer)
target_compile_definitions(aril_tiny_flags INTERFACE ${definitions} ARIL_TINY=1 ARIL_MAX_CPUS=4)

add_library(aril_host_test_flags INTERFACE)
target_compile_options(aril_host_test_flags INTERFACE
  # Not optimized, but for what tests run a lot (ARIL_HOST_OPTIMIZATION): that halves the time to
  # compile. Reports need lines, and no more.
  ${ARIL_WARNINGS} -gline-tables-only -stdlib=libc++ -fno-omit-frame-pointer
  # fuzzer-no-link: what fuzzers link reports its coverage to them.
  -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all)
target_compile_definitions(aril_host_test_flags INTERFACE
  ARIL_HOST=1 _LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_EXTENSIVE)
target_link_options(aril_host_test_flags INTERFACE
  -stdlib=libc++ -fsanitize=address,undefined -fuse-ld=lld)

set(ARIL_HOST_OPTIMIZATION -O1)

add_library(aril_tool_flags INTERFACE)
target_compile_options(aril_tool_flags INTERFACE
  ${ARIL_WARNINGS} -O2 -g -stdlib=libc++ -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE)
target_compile_definitions(aril_tool_flags INTERFACE
  _LIBCPP_HARDENING_MODE=_LIBCPP_HARDENING_MODE_EXTENSIVE)
# libc++ is linked statically: `aril` then runs on a Debian without libc++. At a fixed address:
# relocating Capstone's tables would cost each start as much as all the rest of it.
target_link_options(aril_tool_flags INTERFACE
  -stdlib=libc++ -static-libstdc++ -static-libgcc -fuse-ld=lld -no-pie)

# GoogleTest from Debian's sources, against libc++ as everything else here.
find_path(GTEST_SOURCE NAMES CMakeLists.txt PATHS /usr/src/googletest/googletest NO_DEFAULT_PATH)
if(GTEST_SOURCE)
  add_library(gtest_main_libcxx STATIC EXCLUDE_FROM_ALL
    ${GTEST_SOURCE}/src/gtest-all.cc ${GTEST_SOURCE}/src/gtest_main.cc)
  target_include_directories(gtest_main_libcxx SYSTEM
    PUBLIC ${GTEST_SOURCE}/include PRIVATE ${GTEST_SOURCE})
  target_compile_options(gtest_main_libcxx PRIVATE -w -stdlib=libc++ -fsanitize=address,undefined)
endif()

# What most sources include of the standard library, compiled once for each variant.
function(aril_precompile name flags)
  file(WRITE ${CMAKE_BINARY_DIR}/${name}.cpp "")
  add_library(${name} OBJECT EXCLUDE_FROM_ALL ${CMAKE_BINARY_DIR}/${name}.cpp)
  target_link_libraries(${name} PRIVATE ${flags})
  target_precompile_headers(${name} PRIVATE
    <algorithm> <array> <atomic> <bit> <cstddef> <cstdint> <cstring> <expected> <functional> <map>
    <memory> <new> <optional> <span> <string> <string_view> <type_traits> <utility> <vector> ${ARGN})
endfunction()
if(ARIL_PRECOMPILED_HEADERS)
  aril_precompile(k.precompiled aril_kernel_flags)
  aril_precompile(z.precompiled aril_tiny_flags)
  aril_precompile(p.precompiled aril_process_kernel_flags)
  aril_precompile(h.precompiled aril_host_test_flags)
  target_compile_options(h.precompiled PRIVATE ${ARIL_HOST_OPTIMIZATION})
  aril_precompile(t.precompiled aril_tool_flags <filesystem> <format>)
  aril_precompile(s.precompiled aril_host_test_flags <filesystem> <format>)
  aril_precompile(optimized_s.precompiled aril_host_test_flags <filesystem> <format>)
  target_compile_options(optimized_s.precompiled PRIVATE ${ARIL_HOST_OPTIMIZATION})
  if(GTEST_SOURCE)
    aril_precompile(test.precompiled "aril_host_test_flags;gtest_main_libcxx" <gtest/gtest.h>)
    aril_precompile(optimized_test.precompiled "aril_host_test_flags;gtest_main_libcxx" <gtest/gtest.h>)
    target_compile_options(optimized_test.precompiled PRIVATE ${ARIL_HOST_OPTIMIZATION})
  endif()
endif()
