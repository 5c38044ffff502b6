#pragma once
#include "fs/procfs/procfs.hpp"

/// How a component adds files to /proc: a function registered beside its definition with
///   ARIL_PROC_FILES(add_files);
/// The record lands in the linker section "aril_proc_files", so that /proc has just the files of
/// the components that are linked.
namespace aril::linux_abi {

using AddProcFiles = void (*)(procfs::Procfs& procfs);

#define ARIL_PROC_FILES(function)                                                               \
  [[gnu::section("aril_proc_files"),                                                            \
    gnu::used]] static constinit const ::aril::linux_abi::AddProcFiles aril_proc_files_record = \
      &function

/// Once, before /proc is mounted.
void add_registered_proc_files(procfs::Procfs& procfs);

}  // namespace aril::linux_abi
