#include "image/tree.hpp"

#include <gtest/gtest.h>

#include <chrono>

#include "support/error.hpp"
#include "support/file.hpp"

namespace aril::tool {
namespace {

namespace fs = std::filesystem;

TEST(Tree, MakesParentsAndFollowsLinksOnTheWay) {
  Tree tree;
  tree.add_link("/lib", "usr/lib");
  tree.add_content("/lib/a/b", "x");
  EXPECT_TRUE(tree.entries().contains("/usr/lib/a/b"));
  EXPECT_TRUE(tree.contains("/lib/a/b"));
  EXPECT_EQ(tree.find("/lib/a/b")->text, "x");
}

TEST(Tree, MirrorsLinkChains) {
  const TemporaryDirectory root(fs::temp_directory_path());
  fs::create_directories(root.path() / "usr/lib/real");
  fs::create_directory_symlink("usr/lib", root.path() / "lib");
  fs::create_symlink("real/z.so.1.2", root.path() / "usr/lib/z.so.1");
  write_file(root.path() / "usr/lib/real/z.so.1.2", "z");
  Tree tree;
  tree.add_mirrored(root.path() / "lib/z.so.1", root.path());
  EXPECT_EQ(tree.entries().at("/lib").text, "usr/lib");
  EXPECT_EQ(tree.entries().at("/usr/lib/z.so.1").text, "real/z.so.1.2");
  EXPECT_EQ(tree.entries().at("/usr/lib/real/z.so.1.2").size, 1u);
  EXPECT_EQ(tree.find("/lib/z.so.1")->host, root.path() / "usr/lib/real/z.so.1.2");
}

TEST(Tree, NewNeighboursOfAMirroredFileChangeNothing) {
  const TemporaryDirectory root(fs::temp_directory_path());
  fs::create_directories(root.path() / "build/bin");
  write_file(root.path() / "build/bin/program", "x");
  Tree before;
  before.add_mirrored(root.path() / "build/bin/program", root.path());
  fs::last_write_time(root.path() / "build/bin", fs::file_time_type(std::chrono::seconds(1)));
  Tree after;
  after.add_mirrored(root.path() / "build/bin/program", root.path());
  for (const char* path : {"/build", "/build/bin", "/build/bin/program"}) {
    EXPECT_EQ(before.entries().at(path).modified, after.entries().at(path).modified) << path;
    EXPECT_EQ(before.entries().at(path).modified_nanoseconds,
              after.entries().at(path).modified_nanoseconds)
        << path;
  }
}

TEST(Tree, FollowsLinksInWhateverFormAPathIsWritten) {
  Tree tree;
  tree.add_link("/lib", "usr/lib");
  tree.add_link("/usr/lib/x", "../share/./x");
  tree.add_content("//lib/./x/../x/file", "x");
  EXPECT_TRUE(tree.entries().contains("/usr/share/x/file"));
  EXPECT_EQ(tree.find("lib/x/file")->text, "x");
  EXPECT_TRUE(tree.contains("/usr/lib/x/file"));
  EXPECT_FALSE(tree.contains("/usr/lib/x/file/file"));
}

TEST(Tree, RefusesAFileThatIsADirectoryToo) {
  Tree tree;
  tree.add_content("/a/b", "x");
  EXPECT_THROW(tree.add_content("/a", "y"), Error);
  EXPECT_THROW(tree.add_content("/a/b/c", "y"), Error);
}

TEST(Tree, LinkLoopsEnd) {
  Tree tree;
  tree.add_link("/a", "b");
  tree.add_link("/b", "a");
  EXPECT_EQ(tree.find("/a"), nullptr);
  EXPECT_THROW(tree.add_content("/a/x", "y"), Error);
}

TEST(Tree, NamesAMissingFile) {
  Tree tree;
  try {
    tree.add("/no/such/file", "/x");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "/no/such/file: no such file or directory");
    EXPECT_EQ(error.status(), ExitStatus::kNotFound);
  }
}

}  // namespace
}  // namespace aril::tool
