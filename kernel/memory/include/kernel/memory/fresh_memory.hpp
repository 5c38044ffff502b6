#pragma once

namespace aril::page_allocator {

/// Before initialize(): usable memory is zeroes until somebody writes to it, as what a host's
/// kernel gives a process is. Then zeroes are not written again at a page's first use, which for
/// memory that the application fills itself saves touching it at all.
void expect_zeroed_memory();

}  // namespace aril::page_allocator
