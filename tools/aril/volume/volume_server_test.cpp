#include "volume/volume_server.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>

namespace aril::tool {
namespace {

namespace fs = std::filesystem;
using ninep::Reader;
using ninep::Type;
using ninep::Writer;

class VolumeServerTest : public testing::Test {
 protected:
  static constexpr uint32_t kRoot = 0;
  using Fill = std::function<void(Writer&)>;
  using Parse = std::function<void(Reader&)>;

  void SetUp() override { start(VolumeServer::Access::kReadWrite); }
  void start(VolumeServer::Access access,
             VolumeServer::Owners owners = VolumeServer::Owners::kHost) {
    Descriptor root(::open(directory().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(root);
    server.emplace(std::move(root), access, owners);
    ASSERT_EQ(call(Type::kVersion, [](Writer& out) { out.u32(65536).text("9P2000.L"); }), 0);
    ASSERT_EQ(
        call(Type::kAttach,
             [](Writer& out) { out.u32(kRoot).u32(ninep::kNoFid).text("root").text("").u32(0); }),
        0);
  }
  /// What the volume holds; its parent is the host's and not the guest's.
  fs::path directory() {
    fs::create_directories(scratch.path() / "volume");
    return scratch.path() / "volume";
  }
  std::string content(const char* name) { return read_file(directory() / name); }

  /// The error number, 0 when there was none and `parse` has read the answer.
  int call(Type type, const Fill& fill, const Parse& parse = [](Reader&) {}) {
    std::array<std::byte, 70000> message;
    Writer fields(std::span(message).subspan(ninep::kHeaderSize));
    fill(fields);
    const size_t size = ninep::kHeaderSize + fields.size();
    Writer(message).u32(static_cast<uint32_t>(size)).u8(static_cast<uint8_t>(type)).u16(7);
    const auto answer = server->answer(std::span(message).first(size));
    Reader in(answer);
    EXPECT_EQ(in.u32(), answer.size());
    const uint8_t kind = in.u8();
    EXPECT_EQ(in.u16(), 7);
    if (kind == static_cast<uint8_t>(Type::kErrorReply)) return static_cast<int>(in.u32());
    EXPECT_EQ(kind, static_cast<uint8_t>(type) + 1);
    parse(in);
    EXPECT_FALSE(in.failed());
    return 0;
  }
  int walk(uint32_t from, uint32_t to, const std::vector<std::string>& names) {
    uint16_t taken = 0;
    const int error = call(
        Type::kWalk,
        [&](Writer& out) {
          out.u32(from).u32(to).u16(static_cast<uint16_t>(names.size()));
          for (const std::string& name : names) out.text(name);
        },
        [&](Reader& in) { taken = in.u16(), in.skip(taken * ninep::kQidSize); });
    return error == 0 && taken < names.size() ? ENOENT : error;
  }
  int open(uint32_t fid, uint32_t flags) {
    return call(
        Type::kOpen, [&](Writer& out) { out.u32(fid).u32(flags); },
        [](Reader& in) { in.qid(), in.u32(); });
  }
  int clunk(uint32_t fid) {
    return call(Type::kClunk, [&](Writer& out) { out.u32(fid); });
  }
  int make_node(const char* name, uint32_t mode) {
    return call(
        Type::kMakeNode,
        [&](Writer& out) { out.u32(kRoot).text(name).u32(mode).u32(0).u32(0).u32(0); },
        [](Reader& in) { in.qid(); });
  }
  int make_symlink(const char* name, const char* target) {
    return call(
        Type::kSymlink, [&](Writer& out) { out.u32(kRoot).text(name).text(target).u32(0); },
        [](Reader& in) { in.qid(); });
  }
  int write(uint32_t fid, uint64_t offset, std::string_view data) {
    return call(
        Type::kWrite,
        [&](Writer& out) {
          out.u32(fid).u64(offset).u32(static_cast<uint32_t>(data.size()));
          std::memcpy(out.room().data(), data.data(), data.size());
          out.skip(data.size());
        },
        [&](Reader& in) { EXPECT_EQ(in.u32(), data.size()); });
  }
  std::string read(uint32_t fid, uint64_t offset, uint32_t count) {
    std::string data;
    EXPECT_EQ(call(
                  Type::kRead, [&](Writer& out) { out.u32(fid).u64(offset).u32(count); },
                  [&](Reader& in) {
                    const auto bytes = in.take(in.u32());
                    data.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
                  }),
              0);
    return data;
  }
  uint64_t size_of(uint32_t fid) {
    uint64_t size = 0;
    EXPECT_EQ(call(
                  Type::kGetAttributes, [&](Writer& out) { out.u32(fid).u64(0x7ff); },
                  [&](Reader& in) {
                    in.u64(), in.qid(), in.u32(), in.u32(), in.u32(), in.u64(), in.u64();
                    size = in.u64();
                  }),
              0);
    return size;
  }

  TemporaryDirectory scratch{fs::temp_directory_path()};
  std::optional<VolumeServer> server;
};

TEST_F(VolumeServerTest, MakesWritesAndReadsAFile) {
  ASSERT_EQ(make_node("file", S_IFREG | 0640), 0);
  ASSERT_EQ(walk(kRoot, 1, {"file"}), 0);
  ASSERT_EQ(open(1, O_RDWR), 0);
  EXPECT_EQ(write(1, 3, "hello"), 0);
  EXPECT_EQ(size_of(1), 8u);
  EXPECT_EQ(read(1, 4, 100), "ello");
  EXPECT_EQ(read(1, 8, 100), "");
  EXPECT_EQ(call(Type::kSync, [](Writer& out) { out.u32(1).u32(0); }), 0);
  EXPECT_EQ(content("file"), std::string("\0\0\0hello", 8));
  EXPECT_EQ(clunk(1), 0);
  EXPECT_EQ(clunk(1), EBADF);
  EXPECT_EQ(server->fid_count(), 1u);
}

TEST_F(VolumeServerTest, AnOpenFileOutlivesItsName) {
  ASSERT_EQ(make_node("file", S_IFREG | 0400), 0);
  ASSERT_EQ(walk(kRoot, 1, {"file"}), 0);
  ASSERT_EQ(open(1, O_RDONLY), 0);
  EXPECT_EQ(call(Type::kUnlinkAt, [](Writer& out) { out.u32(kRoot).text("file").u32(0); }), 0);
  EXPECT_EQ(size_of(1), 0u);
  EXPECT_EQ(walk(kRoot, 2, {"file"}), ENOENT);
  EXPECT_EQ(read(1, 0, 10), "");
}

TEST_F(VolumeServerTest, NothingOutsideCanBeNamed) {
  write_file(scratch.path() / "secret", "of the host");
  ASSERT_EQ(make_symlink("up", ".."), 0);
  ASSERT_EQ(make_symlink("there", (scratch.path() / "secret").c_str()), 0);
  EXPECT_EQ(walk(kRoot, 1, {".."}), EINVAL);
  EXPECT_EQ(walk(kRoot, 1, {"up", "secret"}), ENOENT);
  EXPECT_EQ(walk(kRoot, 1, {"../secret"}), EINVAL);
  EXPECT_EQ(walk(kRoot, 1, {"/etc/passwd"}), EINVAL);
  ASSERT_EQ(walk(kRoot, 1, {"there"}), 0);
  EXPECT_EQ(open(1, O_RDONLY), ELOOP);
  EXPECT_EQ(make_node("../made", S_IFREG | 0600), EINVAL);
  EXPECT_EQ(make_node("", S_IFREG | 0600), EINVAL);
  EXPECT_EQ(call(Type::kUnlinkAt, [](Writer& out) { out.u32(kRoot).text("..").u32(0x200); }),
            EINVAL);
  EXPECT_EQ(call(Type::kRenameAt,
                 [](Writer& out) { out.u32(kRoot).text("up").u32(kRoot).text("../moved"); }),
            EINVAL);
  // Of a link to a file outside, the link itself is what gets the name.
  EXPECT_EQ(call(Type::kLink, [](Writer& out) { out.u32(kRoot).u32(1).text("linked"); }), 0);
  EXPECT_TRUE(fs::is_symlink(directory() / "linked"));
  EXPECT_EQ(read_file(scratch.path() / "secret"), "of the host");
}

TEST_F(VolumeServerTest, OpensNeitherDevicesNorFifos) {
  EXPECT_EQ(make_node("device", S_IFCHR | 0600), EPERM);
  ASSERT_EQ(make_node("fifo", S_IFIFO | 0600), 0);
  ASSERT_EQ(walk(kRoot, 1, {"fifo"}), 0);
  EXPECT_EQ(open(1, O_RDONLY), EPERM);
}

TEST_F(VolumeServerTest, AReadOnlyVolumeStaysAsItIs) {
  write_file(directory() / "file", "kept");
  start(VolumeServer::Access::kReadOnly);
  ASSERT_EQ(walk(kRoot, 1, {"file"}), 0);
  EXPECT_EQ(open(1, O_RDWR), EROFS);
  EXPECT_EQ(open(1, O_RDONLY | O_TRUNC), EROFS);
  ASSERT_EQ(open(1, O_RDONLY), 0);
  EXPECT_EQ(read(1, 0, 10), "kept");
  EXPECT_EQ(write(1, 0, "lost"), EBADF);
  EXPECT_EQ(make_node("new", S_IFREG | 0600), EROFS);
  EXPECT_EQ(make_symlink("new", "file"), EROFS);
  EXPECT_EQ(
      call(Type::kMakeDirectory, [](Writer& out) { out.u32(kRoot).text("new").u32(0700).u32(0); }),
      EROFS);
  EXPECT_EQ(call(Type::kLink, [](Writer& out) { out.u32(kRoot).u32(1).text("new"); }), EROFS);
  EXPECT_EQ(call(Type::kUnlinkAt, [](Writer& out) { out.u32(kRoot).text("file").u32(0); }), EROFS);
  EXPECT_EQ(call(Type::kRenameAt,
                 [](Writer& out) { out.u32(kRoot).text("file").u32(kRoot).text("new"); }),
            EROFS);
  EXPECT_EQ(call(Type::kSetAttributes,
                 [](Writer& out) {
                   out.u32(1).u32(ninep::kSetSize).u32(0).u32(0).u32(0).u64(0);
                   out.u64(0).u64(0).u64(0).u64(0);
                 }),
            EROFS);
  EXPECT_EQ(content("file"), "kept");
}

TEST_F(VolumeServerTest, ListsADirectoryInPieces) {
  constexpr int kFiles = 40;
  for (int i = 0; i < kFiles; ++i) write_file(directory() / std::format("file{}", i), "");
  ASSERT_EQ(walk(kRoot, 1, {}), 0);
  ASSERT_EQ(open(1, O_RDONLY | O_DIRECTORY), 0);
  uint64_t offset = 0;
  int found = 0;
  for (int piece = 0; piece < kFiles; ++piece) {
    size_t count = 0;
    ASSERT_EQ(call(
                  Type::kReadDirectory, [&](Writer& out) { out.u32(1).u64(offset).u32(200); },
                  [&](Reader& in) {
                    Reader list(in.take(in.u32()));
                    for (; list.left() != 0; ++count) {
                      list.qid();
                      offset = list.u64();
                      list.u8();
                      found += list.text().starts_with("file") ? 1 : 0;
                    }
                    EXPECT_FALSE(list.failed());
                  }),
              0);
    if (count == 0) break;
  }
  EXPECT_EQ(found, kFiles);
}

TEST_F(VolumeServerTest, SetsAttributesOfTheFileAndNoOther) {
  write_file(directory() / "file", "12345");
  ASSERT_EQ(walk(kRoot, 1, {"file"}), 0);
  fs::rename(directory() / "file", directory() / "moved");
  write_file(directory() / "file", "12345");
  const auto set = [&](uint32_t valid, uint32_t mode, uint64_t size) {
    return call(Type::kSetAttributes, [&](Writer& out) {
      out.u32(1).u32(valid).u32(mode).u32(0).u32(0).u64(size).u64(0).u64(0).u64(1000).u64(5);
    });
  };
  uint64_t size = 0;
  const auto ask = [&] {
    return call(
        Type::kGetAttributes, [&](Writer& out) { out.u32(1).u64(0x7ff); },
        [&](Reader& in) { size = in.u64(); });
  };
  EXPECT_EQ(ask(), ENOENT) << "another file has the name";
  EXPECT_EQ(set(ninep::kSetMode | ninep::kSetSize | ninep::kSetModify | ninep::kSetModifyTo,
                S_IFREG | 0600, 2),
            0);
  EXPECT_EQ(content("file"), "12345");
  EXPECT_EQ(content("moved"), "12");
  struct stat status{};
  ASSERT_EQ(stat((directory() / "moved").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode, S_IFREG | 0600u);
  EXPECT_EQ(status.st_mtim.tv_sec, 1000);
  EXPECT_EQ(status.st_mtim.tv_nsec, 5);
}

TEST_F(VolumeServerTest, FidsMoveWithTheirFiles) {
  write_file(directory() / "file", "12345");
  ASSERT_EQ(walk(kRoot, 1, {"file"}), 0);
  ASSERT_EQ(
      call(
          Type::kMakeDirectory, [](Writer& out) { out.u32(kRoot).text("sub").u32(0700).u32(0); },
          [](Reader& in) { in.qid(); }),
      0);
  ASSERT_EQ(walk(kRoot, 2, {"sub"}), 0);
  ASSERT_EQ(
      call(Type::kRenameAt, [](Writer& out) { out.u32(kRoot).text("file").u32(2).text("moved"); }),
      0);
  EXPECT_EQ(size_of(1), 5u);
  EXPECT_EQ(walk(kRoot, 3, {"sub", "moved"}), 0);
}

TEST_F(VolumeServerTest, KeepsAttributesOfUsersOnly) {
  write_file(directory() / "file", "");
  const auto create = [&](const char* name, uint64_t size) {
    EXPECT_EQ(walk(kRoot, 1, {"file"}), 0);
    return call(Type::kXattrCreate, [&](Writer& out) { out.u32(1).text(name).u64(size).u32(0); });
  };
  EXPECT_EQ(create("security.capability", 4), EOPNOTSUPP);
  clunk(1);
  ASSERT_EQ(create("user.colour", 4), 0);
  EXPECT_EQ(write(1, 0, "red"), 0);
  EXPECT_EQ(write(1, 3, "dish"), EINVAL) << "more than was announced";
  EXPECT_EQ(clunk(1), EIO) << "less";
  ASSERT_EQ(create("user.colour", 3), 0);
  EXPECT_EQ(write(1, 0, "red"), 0);
  const int error = clunk(1);
  if (error == EOPNOTSUPP) GTEST_SKIP() << "a file system without attributes";
  ASSERT_EQ(error, 0);
  uint64_t size = 0;
  ASSERT_EQ(walk(kRoot, 1, {"file"}), 0);
  ASSERT_EQ(call(
                Type::kXattrWalk, [](Writer& out) { out.u32(1).u32(2).text("user.colour"); },
                [&](Reader& in) { size = in.u64(); }),
            0);
  EXPECT_EQ(size, 3u);
  EXPECT_EQ(read(2, 1, 10), "ed");
  ASSERT_EQ(call(
                Type::kXattrWalk, [](Writer& out) { out.u32(1).u32(3).text(""); },
                [&](Reader& in) { size = in.u64(); }),
            0);
  EXPECT_EQ(read(3, 0, 100), std::string("user.colour\0", 12));
}

TEST_F(VolumeServerTest, KeepsOwnersModesAndTypesBesideTheFiles) {
  constexpr const char* kProbe = "user.aril.probe";
  if (setxattr(directory().c_str(), kProbe, "1", 1, 0) != 0)
    GTEST_SKIP() << "a file system without attributes";
  start(VolumeServer::Access::kReadWrite, VolumeServer::Owners::kAttributes);
  ASSERT_EQ(make_node("file", S_IFREG | 0644), 0);
  ASSERT_EQ(make_node("fifo", S_IFIFO | 0600), 0);
  ASSERT_EQ(make_symlink("link", "file"), 0);
  ASSERT_EQ(walk(kRoot, 1, {"file"}), 0);
  ASSERT_EQ(walk(kRoot, 2, {"fifo"}), 0);
  ASSERT_EQ(walk(kRoot, 3, {"link"}), 0);
  ASSERT_EQ(call(Type::kSetAttributes,
                 [](Writer& out) {
                   out.u32(1).u32(ninep::kSetMode | ninep::kSetUid).u32(04755).u32(1000).u32(0);
                   out.u64(0).u64(0).u64(0).u64(0).u64(0);
                 }),
            0);
  const auto owner_and_mode = [&](uint32_t fid) {
    std::pair<uint32_t, uint32_t> found;
    EXPECT_EQ(call(
                  Type::kGetAttributes, [&](Writer& out) { out.u32(fid).u64(0x7ff); },
                  [&](Reader& in) {
                    in.u64(), in.qid();
                    found.second = in.u32();
                    found.first = in.u32();
                  }),
              0);
    return found;
  };
  EXPECT_EQ(owner_and_mode(1), std::pair(1000u, S_IFREG | 04755u));
  EXPECT_EQ(owner_and_mode(2), std::pair(0u, S_IFIFO | 0600u));
  EXPECT_EQ(owner_and_mode(3), std::pair(0u, S_IFLNK | 0777u));
  std::string target;
  EXPECT_EQ(call(
                Type::kReadLink, [](Writer& out) { out.u32(3); },
                [&](Reader& in) { target = in.text(); }),
            0);
  EXPECT_EQ(target, "file");
  struct stat status{};
  ASSERT_EQ(lstat((directory() / "file").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode, S_IFREG | 0600u) << "to the host";
  EXPECT_EQ(call(Type::kXattrWalk, [](Writer& out) { out.u32(1).u32(4).text("user.virtfs.uid"); }),
            EOPNOTSUPP);
}

TEST_F(VolumeServerTest, HoldsAsMuchAsItMay) {
  write_file(directory() / "file", "");
  ASSERT_EQ(walk(kRoot, 1, {"file"}), 0);
  const auto list = [&](uint32_t fid) {
    return call(
        Type::kXattrWalk, [&](Writer& out) { out.u32(1).u32(fid).text(""); },
        [](Reader& in) { in.u64(); });
  };
  uint32_t next = 10;
  for (size_t i = 0; i < VolumeServer::kMostAttributes; ++i) ASSERT_EQ(list(next++), 0);
  EXPECT_EQ(list(next), EMFILE);
  EXPECT_EQ(clunk(10), 0);
  EXPECT_EQ(list(next++), 0) << "as one was given back";
  while (server->fid_count() < VolumeServer::kMostFids) ASSERT_EQ(walk(1, next++, {}), 0);
  EXPECT_EQ(walk(1, next, {}), EMFILE);
  EXPECT_EQ(clunk(11), 0);
  EXPECT_EQ(walk(1, next, {}), 0);
}

TEST_F(VolumeServerTest, RefusesNonsense) {
  EXPECT_EQ(walk(9, 1, {"file"}), EBADF);
  EXPECT_EQ(open(9, O_RDONLY), EBADF);
  EXPECT_EQ(walk(kRoot, ninep::kNoFid, {}), EINVAL);
  EXPECT_EQ(call(Type::kRead, [](Writer& out) { out.u32(kRoot); }), EPROTO);
  EXPECT_EQ(call(Type::kRead, [](Writer& out) { out.u32(kRoot).u64(0).u32(1); }), EBADF);
  EXPECT_EQ(call(Type{200}, [](Writer&) {}), EOPNOTSUPP);
  EXPECT_EQ(call(Type::kWrite, [](Writer& out) { out.u32(kRoot).u64(0).u32(0xffff'ffff); }),
            EPROTO);
  std::array<std::byte, 5> short_message{};
  EXPECT_TRUE(server->answer(short_message).empty());
}

}  // namespace
}  // namespace aril::tool
