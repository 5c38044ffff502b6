#pragma once

namespace aril::arch {

/// Whether CPUs may have different page tables loaded at the same time.
inline constexpr bool kCpusHaveOwnPageTables = true;

}  // namespace aril::arch
