#pragma once

namespace aril::arch {

/// All CPUs are threads in one address space of the host. One CPU alone can change between page
/// tables; several cannot have different ones loaded at the same time.
inline constexpr bool kCpusHaveOwnPageTables = false;

}  // namespace aril::arch
