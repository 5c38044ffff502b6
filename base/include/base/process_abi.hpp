#pragma once
#include <cstddef>
#include <cstdint>

/// The contract between the tender (tools/tender) and the kernel that runs as a Linux process,
/// version 4. Both include this header; a change of meaning raises kProcessAbiVersion.
///
/// The kernel is an ELF64 executable, linked at addresses that a Linux process has and nothing else
/// uses, with a note (owner "Aril", type kProcessNoteType) whose content is a ProcessKernel.
///
/// The tender
///   - opens everything that the instance may use: memory (a memfd), the root file system, disks,
///     volumes, a network interface, console streams. Nothing can be opened afterwards;
///   - maps the kernel's segments where they are linked, the memory at kMemoryBase and the root at
///     kRootBase (read-only);
///   - makes one thread for each virtual CPU, each with its signal stack and timer. Timers send
///     kTimerSignal to their own thread;
///   - directs the signals in kProcessSignals to ProcessKernel::signal_handler, on the signal
///   stack,
///     with no signal blocked while it runs;
///   - gives up privileges and installs the filter (tools/tender/policy.cpp);
///   - sets each thread's GS base to its CPU's block, whose first word it makes that same address;
///   - jumps to `entry` with the address of a ProcessBoot in RDI, in the first thread, and to
///     `secondary_entry` with the CPU's number in RDI, in the others, each on the upper end of its
///     start stack.
///
/// From then on the kernel MUST make host calls only from [gate_start, gate_end), and only those
/// the filter allows; any other `syscall` instruction arrives as SIGSYS. It MUST NOT return. It
/// unmaps everything else that the tender has left in the process.
namespace aril {

inline constexpr uint32_t kProcessAbiVersion = 4;
inline constexpr uint32_t kProcessNoteType = 0x41'52'49'4c;  // "ARIL"
inline constexpr size_t kProcessMaxCpus = 32;
inline constexpr size_t kProcessMaxDisks = 8;
inline constexpr size_t kProcessMaxVolumes = 8;

// The address space. Below kProcessApplicationEnd is the application's; the rest has room for what
// the host puts at the top (its vDSO).
inline constexpr uint64_t kProcessApplicationStart = 0x10000;
inline constexpr uint64_t kProcessApplicationEnd = 0x7000'0000'0000;
/// Physical memory as the kernel sees it: [0, memory_size) is the memory, what lies from
/// kRootPhysical on is the root file system. Mapped whole from kMemoryBase on.
inline constexpr uint64_t kMemoryBase = 0x7100'0000'0000;
inline constexpr uint64_t kRootPhysical = 0x80'0000'0000;
inline constexpr uint64_t kRootBase = kMemoryBase + kRootPhysical;
/// Stacks of kernel threads.
inline constexpr uint64_t kProcessKernelMapStart = 0x7200'0000'0000;
inline constexpr uint64_t kProcessKernelMapEnd = 0x7280'0000'0000;
/// Where the kernel is linked.
inline constexpr uint64_t kProcessKernelBase = 0x7300'0000'0000;
inline constexpr uint64_t kProcessKernelEnd = 0x7380'0000'0000;
/// Where a Linux process ends [linux/Documentation/arch/x86/x86_64/mm.rst].
inline constexpr uint64_t kProcessHostEnd = 0x7fff'ffff'f000;
/// The longest piece of the windows above that one host call maps or unmaps, but for the
/// application's window as a whole: what follows each window is empty for as long.
inline constexpr uint64_t kProcessLongestMapping = uint64_t{4} << 30;

/// What the host can give of memory in one piece: madvise(MADV_COLLAPSE) on the direct map.
inline constexpr uint64_t kProcessHugePage = uint64_t{2} << 20;

inline constexpr int kTimerSignal = 34;  ///< from the CPU's own timer
inline constexpr int kKickSignal = 35;   ///< from another CPU

/// Signals that the kernel handles: exceptions, system calls of the application, its own two, and
/// those that it passes on to the program.
inline constexpr int kProcessSignals[] = {
    /*HUP*/ 1,    /*INT*/ 2,   /*QUIT*/ 3,   /*ILL*/ 4,   /*TRAP*/ 5,  /*BUS*/ 7,
    /*FPE*/ 8,    /*USR1*/ 10, /*SEGV*/ 11,  /*USR2*/ 12, /*TERM*/ 15, /*CONT*/ 18,
    /*WINCH*/ 28, /*SYS*/ 31,  kTimerSignal, kKickSignal};

struct ProcessKernel {
  uint32_t version;  ///< kProcessAbiVersion
  uint32_t size;     ///< of this structure
  uint64_t entry, secondary_entry;
  uint64_t signal_handler, signal_return;
  uint64_t gate_start, gate_end;
  /// kProcessMaxCpus stacks of this size each, in the kernel's bss.
  uint64_t signal_stacks, signal_stack_size;
  uint64_t start_stacks, start_stack_size;
  /// kProcessMaxCpus blocks of this size each, which the GS bases point to.
  uint64_t cpu_blocks, cpu_block_size;
};

struct ProcessDisk {
  int32_t descriptor;
  uint32_t read_only;
  uint64_t size;  ///< bytes
};

struct ProcessBoot {
  uint32_t version;  ///< kProcessAbiVersion
  uint32_t size;     ///< of this structure

  int32_t memory_descriptor;
  int32_t root_descriptor;
  uint64_t memory_size;  ///< bytes, a multiple of the page size
  uint64_t root_size;    ///< bytes

  uint32_t cpu_count;
  int32_t process_id;
  int32_t thread_ids[kProcessMaxCpus];
  int32_t timer_ids[kProcessMaxCpus];

  /// CLOCK_MONOTONIC was `clock_ns` at `clock_cycles`, and the TSC counts `tsc_hertz`, as well as
  /// could be measured; `clock_gettime` (0: none) is the vDSO's, and makes no system call.
  uint64_t clock_cycles, tsc_hertz, clock_gettime;
  int64_t clock_ns;
  int64_t epoch_ns;  ///< nanoseconds since 1970 at clock_ns

  int32_t console_descriptors[3];  ///< stdin, stdout, stderr
  /// The control line as on a virtual machine (base/image_abi.hpp), where an `aril` attends to the
  /// instance; -1: none. Then reports are lines of stderr, and signals come from the host.
  int32_t control_descriptor;
  int32_t network_descriptor;  ///< -1: none
  /// 0: a tap with a virtio-net header of this size before each frame; 1: a stream of frames, each
  /// after its length as a 32-bit number, big-endian (passt).
  uint32_t network_kind;
  uint32_t network_header_size;
  uint8_t network_address[6];
  uint16_t network_mtu;

  uint32_t disk_count;
  ProcessDisk disks[kProcessMaxDisks];

  /// Sockets (SOCK_SEQPACKET), each with a server of 9P2000.L at its other end, which answers each
  /// message with one; in the order of the tags "volume0" to "volume7".
  uint32_t volume_count;
  int32_t volume_descriptors[kProcessMaxVolumes];

  uint8_t random_seed[64];
  uint64_t vdso_start, vdso_end;  ///< the host's vDSO and its data, which stay mapped; 0: none

  uint32_t command_line_size;
  char command_line[16384];  ///< as on every platform (base/image_abi.hpp)
};

}  // namespace aril
