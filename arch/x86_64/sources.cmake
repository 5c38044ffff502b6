# Paths are relative to arch/.
set(ARIL_ARCH_X86_64_SOURCES
  x86_64/src/page_table.cpp
  x86_64/src/page_table_x86.cpp
)
# Free of hardware instructions: also built for unit tests.
set(ARIL_ARCH_HOST_SHARED_SOURCES
  x86_64/src/page_table.cpp
)
