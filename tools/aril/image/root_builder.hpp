#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "elf/closure.hpp"
#include "image/boot_records.hpp"
#include "image/tree.hpp"
#include "manifest/manifest.hpp"

namespace aril::tool {

/// The root file system that a manifest asks for, and what to run in it.
struct RootPlan {
  Tree tree;
  BootRecords records;
  std::filesystem::path program;         ///< on the host, for symbols
  std::vector<MissingLibrary> warnings;  ///< libraries that only files beside the program need
};

/// Decides what is in the image: the program, its loader and libraries at the places where they are
/// on this host, the files that the manifest lists with the libraries that those need, and what
/// any program expects in /etc. With a root directory, that directory and nothing else.
/// Throws Error for everything that is missing or cannot run.
RootPlan plan_root(const Manifest& manifest);

}  // namespace aril::tool
