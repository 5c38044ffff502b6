#include "elf/closure.hpp"

#include <gtest/gtest.h>

#include "elf/elf_builder.hpp"
#include "support/error.hpp"
#include "support/file.hpp"

namespace aril::tool {
namespace {

namespace fs = std::filesystem;

/// A small root directory with ELF files in it.
class ClosureTest : public testing::Test {
 protected:
  fs::path put(const std::string& path, const ElfBuilder& elf) {
    const fs::path full = root_.path() / path;
    fs::create_directories(full.parent_path());
    write_file(full, elf.build());
    return full;
  }
  std::set<std::string> closure_of(const fs::path& program, const std::string& library_path = {}) {
    ClosureBuilder builder(root_.path(), library_path);
    builder.add(program);
    missing_ = builder.closure().missing;
    std::set<std::string> names;
    for (const fs::path& file : builder.closure().files) {
      names.insert("/" + file.lexically_relative(root_.path()).string());
    }
    return names;
  }

  TemporaryDirectory root_{fs::temp_directory_path()};
  std::vector<MissingLibrary> missing_;
};

TEST_F(ClosureTest, FollowsLibrariesOfLibraries) {
  put("lib64/ld-linux-x86-64.so.2", {});
  put("lib/x86_64-linux-gnu/liba.so", {.needed = {"libb.so"}});
  put("usr/lib/libb.so", {.needed = {"liba.so"}});
  const auto program =
      put("bin/p", {.interpreter = "/lib64/ld-linux-x86-64.so.2", .needed = {"liba.so"}});
  EXPECT_EQ(closure_of(program),
            (std::set<std::string>{"/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/liba.so",
                                   "/usr/lib/libb.so"}));
  EXPECT_TRUE(missing_.empty());
}

TEST_F(ClosureTest, NamesWhoNeedsAMissingLibrary) {
  put("lib/liba.so", {.needed = {"libgone.so.3"}});
  const auto program = put("bin/p", {.needed = {"liba.so"}});
  closure_of(program);
  ASSERT_EQ(missing_.size(), 1u);
  EXPECT_EQ(missing_[0].name, "libgone.so.3");
  EXPECT_EQ(missing_[0].needed_by, root_.path() / "lib/liba.so");
}

TEST_F(ClosureTest, PrefersRunpathToDefaultsAndExpandsOrigin) {
  put("lib/liba.so", {});
  put("opt/lib/liba.so", {});
  const auto program =
      put("opt/bin/p", {.needed = {"liba.so"}, .runpath = "/nowhere:${ORIGIN}/../lib"});
  EXPECT_EQ(closure_of(program), std::set<std::string>{"/opt/lib/liba.so"});
}

TEST_F(ClosureTest, RpathIsInheritedByLibrariesRunpathIsNot) {
  put("a/liba.so", {.needed = {"libb.so"}});
  put("a/libb.so", {});
  EXPECT_EQ(closure_of(put("bin/p", {.needed = {"liba.so"}, .rpath = "/a"})).size(), 2u);
  closure_of(put("bin/q", {.needed = {"liba.so"}, .runpath = "/a"}));
  ASSERT_EQ(missing_.size(), 1u);
  EXPECT_EQ(missing_[0].name, "libb.so");
}

TEST_F(ClosureTest, LibraryPathComesBeforeRunpath) {
  put("a/liba.so", {});
  put("b/liba.so", {});
  const auto program = put("bin/p", {.needed = {"liba.so"}, .runpath = "/a"});
  EXPECT_EQ(closure_of(program, "/b"), std::set<std::string>{"/b/liba.so"});
}

TEST_F(ClosureTest, PassesOverOtherArchitectures) {
  put("a/liba.so", {.machine = EM_AARCH64});
  put("lib/liba.so", {});
  const auto program = put("bin/p", {.needed = {"liba.so"}, .runpath = "/a"});
  EXPECT_EQ(closure_of(program), std::set<std::string>{"/lib/liba.so"});
}

TEST_F(ClosureTest, MissingLoaderIsAnError) {
  const auto program = put("bin/p", {.interpreter = "/lib/ld-other.so"});
  EXPECT_THROW(closure_of(program), Error);
}

}  // namespace
}  // namespace aril::tool
