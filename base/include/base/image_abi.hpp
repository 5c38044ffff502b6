#pragma once
#include <cstdint>

/// The contract between the `aril` command and the kernel, version 1: how an image is put together,
/// what the kernel's command line says, and what travels over the control line (COM1). Both sides
/// include this header; a change of meaning raises kImageAbiVersion.
///
/// The image. One ELF64 executable that boots through PVH or Linux's 64-bit protocol. The kernel
/// is linked with a spare program header (PT_NULL) and a section ".aril.image" that holds an
/// ImageDescriptor. The builder appends an EROFS root file system, page-aligned, turns the spare
/// header into a PT_LOAD (read-only) whose physical address is the first 4 KiB boundary at or after
/// descriptor.root_load_address, and fills in the descriptor. An image without one finds its root
/// on a boot module (initrd) or on virtio-blk.
///
/// The root holds /.aril/boot: what to run, as NUL-terminated "key=value" records in any order:
///   exec=PATH  arg=TEXT (repeated, argv[0] first)  env=NAME=VALUE (repeated)  cwd=PATH
///   hostname=TEXT  uid=N gid=N groups=N,N...
/// Records on the command line come after these: exec, cwd, uid, gid, groups replace; env replaces
/// by name; the first arg replaces all.
///
/// The command line. Words separated by blanks: key or key=value; bytes other than printable ASCII,
/// and '%', '"', and blank, are written %XX in values. The records above, and
///   root=ram|module|vda     where the root is; default: the first of these that there is
///   net=dhcp|none|ADDRESS/PREFIX[,GATEWAY[,NAMESERVER]][,ip6=ADDRESS/PREFIX[,gateway6=ADDRESS]]
///           default dhcp when there is a device
///   disk=vdX:PATH[:ro]      mount the ext4 file system on that disk there; may be repeated
///   loglevel=3|4|6|7        lines on COM1 up to this level; default 4
///   tsc_khz=N               the TSC's rate when the host knows it
///   epoch_ns=N              wall-clock at start, when the host tells
///   stdio=hvc|serial        hvc: the first virtio-console is stdin and stdout, the second (if any)
///                           stderr; default hvc when there is one. Of a console with several
///                           ports, port 1 is used
///   tty=[i][o][e]           which of stdin, stdout, stderr are a terminal (else they are pipes)
///   winsize=COLUMNSxROWS    of that terminal
///   strace                  log every system call to COM1 as records "strace"
///   boot_timing             send the steps of the boot as records "boot"
///   aslr=off                fixed addresses
///   patch=off               system-call sites are not rewritten into jumps
///   freeze[=warm]           stop when the program is about to begin (warm: has initialised
///   itself),
///                           and reset (docs/frozen.md)
///   virtio_mmio.device=SIZE@ADDRESS:IRQ     as Linux; QEMU's microvm adds these itself
/// Unknown words are ignored with a warning.
///
/// The control line. Guest to host: kernel log lines, and records, which start with kRecordMark:
///   \x1e exit N             the program's exit status, or 128 + the signal; then the machine stops
///   \x1e report TEXT        one line of a report that the user must see (crash, out of memory,
///   panic)
///   \x1e strace TEXT        one line of the system-call log
///   \x1e listening PORT     a TCP socket began to listen
///   \x1e boot MICROSECONDS STEP   when a step of the boot had ended, since the kernel's entry
///   \x1e frozen ENTRY DATA  the machine resets next: its memory goes on at ENTRY, when the
///   kernel's
///                           data segment, as in its file, stands at DATA (both physical, decimal)
///   \x1e cold TEXT          a frozen image starts from the beginning: TEXT says why
/// In a report, code addresses stand as " 0xADDRESS" (kernel) or " 0xADDRESS PATH+0xOFFSET"
/// (program; OFFSET counts bytes of the file); aril adds function and line.
/// Host to guest, one command a line:
///   signal N                to the program
///   eof COUNT               stdin ends after COUNT bytes in all
///   winsize COLUMNS ROWS
namespace aril {

inline constexpr uint32_t kImageAbiVersion = 1;
inline constexpr char kRecordMark = '\x1e';
inline constexpr uint64_t kImageMagic = 0x31'45'47'41'4d'49'4c'41;  // "ALIMAGE1"

struct ImageDescriptor {
  uint64_t magic;              ///< kImageMagic
  uint32_t version;            ///< kImageAbiVersion
  uint32_t size;               ///< of this structure
  uint64_t root_load_address;  ///< kernel to builder: physical, where the root may start
  uint64_t root_address;       ///< builder to kernel: physical; 0 when there is none
  uint64_t root_size;          ///< bytes
  uint64_t has_terminals;      ///< not 0: the kernel heeds tty=
};
static_assert(sizeof(ImageDescriptor) == 48);

}  // namespace aril
