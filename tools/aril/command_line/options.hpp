#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "image/cache.hpp"
#include "machine/accelerator.hpp"
#include "machine/freeze.hpp"
#include "manifest/manifest.hpp"

namespace CLI {
class App;
}

namespace aril::tool {

/// Options that `run` and `build` share: what the image holds.
struct ContentOptions {
  std::string target;  ///< PROGRAM, MANIFEST or IMAGE
  std::vector<std::string> arguments;
  std::vector<std::string> files;
  std::string root;
  std::vector<std::string> environment;
  std::string cwd;
  std::string user;
  std::string hostname;
  std::string kernel;
  std::string disk_root = "auto";
  std::string profile;
  std::vector<std::string> components;
};

struct RunOptions {
  ContentOptions content;
  std::string memory;
  std::string cpus;
  std::vector<std::string> ports;
  std::vector<std::string> volumes;
  std::vector<std::string> disks;
  std::vector<std::string> networks;
  std::string platform = "vm";
  std::string machine;
  std::string accelerator = "auto";
  std::string keep;
  std::filesystem::path capture;
  std::string record;
  bool strace = false;
  bool boot_timing = false;
  bool gdb = false;
  bool verbose = false;
  bool dry_run = false;
};

struct BuildOptions {
  ContentOptions content;
  std::string output;
  bool frozen = false;
  bool warm = false;
  std::string memory;
  std::string accelerator = "auto";
};

/// Whether, and how far, an image is frozen: what the manifest's features say.
std::optional<FreezingPoint> freezing_point(const Manifest& manifest);

struct InspectOptions {
  std::string image;
  bool json = false;
  bool graph = false;
};

struct ComponentsOptions {
  std::string set = "default";
  bool json = false;
};

struct SymbolizeOptions {
  std::string target, kernel;
};

void add_run_options(CLI::App& app, RunOptions& options);
void add_build_options(CLI::App& app, BuildOptions& options);
void add_inspect_options(CLI::App& app, InspectOptions& options);
void add_components_options(CLI::App& app, ComponentsOptions& options);
void add_symbolize_options(CLI::App& app, SymbolizeOptions& options);

/// Lays the options over what a manifest said.
void apply(const ContentOptions& options, Manifest& manifest);
void apply(const BuildOptions& options, Manifest& manifest);
void apply(const RunOptions& options, Manifest& manifest);
/// Larger roots become disks of their own (write_image_files).
uint64_t largest_root_in_memory(const ContentOptions& options, const Manifest& manifest);

}  // namespace aril::tool
