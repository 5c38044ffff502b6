#pragma once

/// Functions that a tiny image does without when its program makes no use of them, although others
/// refer to them: virtual functions, for one, which a linker must keep with the first object.
///   ARIL_ONLY_FOR(connect)
///   Result<void> TcpFile::connect(const SocketAddress& address) { ... }
/// puts the function into a section that names the use. `aril build` knows from the program's
/// system calls which uses an image has (tools/aril/specialize/uses.cpp), and gives functions for
/// others the address 0, so that nothing refers to their code and it is left out. They must have
/// external linkage, stand in a source file, and not be inlined: nothing in the same source file
/// calls them but through ARIL_HAS_USE, or where just that use leads.
///
/// A use that is a whole system call needs nothing more: without the call nobody comes there. Where
/// it depends on the call's arguments, of which the analysis may miss some, whoever calls the
/// function asks first:
///   if (level == SOL_TCP && ARIL_HAS_USE(tcp_options)) return set_tcp_option(name, value);
#ifdef ARIL_TINY

#define ARIL_ONLY_FOR(use) [[gnu::section(".text.only_for." #use), gnu::noinline]]
#define ARIL_HAS_USE(use) (&aril_use_##use != nullptr)

// The linker gives those that the image has an address; nothing is there.
extern "C" {
[[gnu::weak]] extern const char aril_use_error_queue;
[[gnu::weak]] extern const char aril_use_execve;
[[gnu::weak]] extern const char aril_use_group_options;
[[gnu::weak]] extern const char aril_use_ip_options;
[[gnu::weak]] extern const char aril_use_record_locks;
[[gnu::weak]] extern const char aril_use_tcp_options;
}

#else

#define ARIL_ONLY_FOR(use)
#define ARIL_HAS_USE(use) true

#endif
