# Paths are relative to arch/.
set(ARIL_ARCH_X86_64_SOURCES
)
# Free of hardware instructions: also built for unit tests.
set(ARIL_ARCH_HOST_SHARED_SOURCES
)
