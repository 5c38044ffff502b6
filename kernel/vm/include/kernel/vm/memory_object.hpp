#pragma once
#include <cstdint>

#include "base/ref_ptr.hpp"
#include "base/result.hpp"
#include "kernel/memory/page.hpp"

namespace aril {

enum class PageAccess : uint8_t { kRead, kWrite };

/// A source of pages that can be mapped and shared: a file's page cache, shared anonymous memory,
/// a device's memory.
class MemoryObject : public RefCounted {
 public:
  virtual ~MemoryObject() = default;
  /// The page that holds bytes [index*4096, +4096). With kWrite the caller will change it: a page
  /// cache marks it dirty. kFault past the end (SIGBUS), kIo, kNoMem (or kNoSpc) else. May sleep.
  virtual Result<PageRef> page(uint64_t index, PageAccess access) = 0;
  /// For /proc/self/maps and symbolising; empty when it has no path.
  [[nodiscard]] virtual const char* name() const { return ""; }
};

}  // namespace aril
