#include "../src/client.hpp"

#include "../../vfs/tests/fs_fixture.hpp"
#include "fake_server.hpp"
#include "fs/ninep/ninep.hpp"

namespace aril::ninep {
namespace {

class ClientTest : public ::testing::Test {
 protected:
  void SetUp() override {
    initialize_host_memory();
    server.files["hello"] = "contents of hello";
    client = *try_make_ref<Client>(server);
    root = *client->connect();
  }
  Result<std::string> read(std::string_view name, size_t limit = 100) {
    RefPtr<Fid> fid = ARIL_TRY(client->walk(*root, name));
    ARIL_TRY(client->open(*fid, 0));
    std::string text(limit, '\0');
    IoBuffer::Segment segment;
    auto buffer = IoBuffer::kernel(segment, std::as_writable_bytes(std::span(text)));
    text.resize(ARIL_TRY(client->read(*fid, 0, buffer)));
    return text;
  }
  /// Puts `value` at an offset of every answer to a message of this type.
  void tamper(Type type, size_t offset, uint32_t value, size_t width) {
    server.tamper = [=](Type answered, FakeServer::Bytes& answer) {
      if (answered != type) return;
      for (size_t i = 0; i < width && offset + i < answer.size(); ++i)
        answer[offset + i] = static_cast<std::byte>(value >> (8 * i));
    };
  }

  FakeServer server;
  RefPtr<Client> client;
  RefPtr<Fid> root;
};

TEST_F(ClientTest, ReadsWhatTheServerHas) { EXPECT_EQ(*read("hello"), "contents of hello"); }

TEST_F(ClientTest, ForgetsFids) {
  EXPECT_EQ(server.fids.size(), 1u);
  EXPECT_TRUE(read("hello"));
  EXPECT_EQ(read("absent").error(), Errno::kNoEnt);
  EXPECT_EQ(server.fids.size(), 1u);
}

TEST_F(ClientTest, MovesMoreThanOneMessageHolds) {
  std::string large(300'000, '\0');
  for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 7);
  RefPtr<Fid> fid = *client->walk(*root, "hello");
  IoBuffer::Segment segment;
  auto buffer = IoBuffer::kernel(segment, std::as_writable_bytes(std::span(large)));
  EXPECT_EQ(*client->write(*fid, 0, buffer), large.size());
  EXPECT_EQ(server.files["hello"], large);
  EXPECT_EQ(*read("hello", 400'000), large);
}

TEST_F(ClientTest, RefusesOtherProtocols) {
  server.version = "9P2000.u";
  RefPtr<Client> other = *try_make_ref<Client>(server);
  EXPECT_EQ(other->connect().error(), Errno::kProto);
}

TEST_F(ClientTest, PassesErrorsOnAndBoundsThem) {
  server.files.clear();
  EXPECT_EQ(read("hello").error(), Errno::kNoEnt);
  for (uint32_t number : {0u, 512u, 4000u, 0xffff'fff0u}) {
    tamper(Type::kWalk, kHeaderSize, number, 4);
    EXPECT_EQ(read("hello").error(), Errno::kIo) << number;
  }
}

TEST_F(ClientTest, RefusesBrokenAnswers) {
  struct Lie {
    Type type;
    size_t offset;
    uint32_t value;
    size_t width;
  };
  constexpr Lie kLies[] = {
      {Type::kWalk, 0, 5000, 4},                       // longer than what came
      {Type::kWalk, 0, 3, 4},                          // shorter than a head
      {Type::kWalk, 4, 99, 1},                         // the answer to something else
      {Type::kWalk, 5, 0x1234, 2},                     // another message's tag
      {Type::kWalk, kHeaderSize, 7, 2},                // more steps than were asked for
      {Type::kRead, kHeaderSize, 90, 4},               // more bytes than came
      {Type::kRead, kHeaderSize, 0xffff'ffff, 4},      //
      {Type::kGetAttributes, 0, kHeaderSize + 20, 4},  // cut short
  };
  uint64_t violations = 0;
  for (const Lie& lie : kLies) {
    server.tamper = nullptr;
    RefPtr<Fid> fid = *client->walk(*root, "hello");
    tamper(lie.type, lie.offset, lie.value, lie.width);
    bool fails = lie.type == Type::kGetAttributes ? !client->attributes(*fid) : !read("hello");
    EXPECT_TRUE(fails) << static_cast<int>(lie.type) << " " << lie.offset;
    EXPECT_GT(client->violations(), violations);
    violations = client->violations();
    server.tamper = nullptr;
  }
}

TEST_F(ClientTest, RefusesNamesThatAreNone) {
  for (std::string name : {std::string("a/b"), std::string(), std::string(300, 'x')}) {
    server.files = {{name, ""}};
    EXPECT_FALSE(client->read_directory(*root, 0, [](const Client::Entry&) { return true; }));
  }
}

class VolumeTest : public vfs::FsTest {
 protected:
  void SetUp() override {
    FsTest::SetUp();
    server.files["hello"] = "one";
    mount(*ninep::mount(server));
  }
  void TearDown() override { unmount(); }
  FakeServer server;
};

TEST_F(VolumeTest, SeesWhatTheHostChanges) {
  auto file = open_at("hello", OpenFlags::kReadOnly);
  EXPECT_EQ(read_from(**file), "one");
  server.files["hello"] = "longer than before";
  server.files["other"] = "x";
  EXPECT_EQ(read_from(**open_at("hello", OpenFlags::kReadOnly)), "longer than before");
  EXPECT_TRUE(open_at("other", OpenFlags::kReadOnly));
  server.files.erase("other");
  EXPECT_EQ(error_of(open_at("other", OpenFlags::kReadOnly)), 2);
}

// A file that replaced another on the host, whose number a third one got.
TEST_F(VolumeTest, FollowsNamesNotNumbers) {
  server.numbers = {{"hello", 10}};
  EXPECT_EQ(read_from(**open_at("hello", OpenFlags::kReadOnly)), "one");
  server.files = {{"hello", "replaced"}, {"third", ""}};
  server.numbers = {{"hello", 11}, {"third", 10}};
  EXPECT_TRUE(open_at("third", OpenFlags::kReadOnly));
  EXPECT_EQ(read_from(**open_at("hello", OpenFlags::kReadOnly)), "replaced");
}

TEST_F(VolumeTest, WritesAppendsAndRemoves) {
  EXPECT_EQ(write_file("new", "abc"), 0);
  EXPECT_EQ(server.files["new"], "abc");
  auto file = open_at("new", OpenFlags::kWriteOnly | OpenFlags::kAppend);
  server.files["new"] = "abcdef";
  EXPECT_EQ(write_to(**file, "!"), 1u);
  EXPECT_EQ(server.files["new"], "abcdef!");
  EXPECT_EQ(error_of(vfs::remove_file(context(), cwd, "new")), 0);
  EXPECT_FALSE(server.files.contains("new"));
  EXPECT_EQ((*file)->status()->size, 7u);  // still open
}

TEST_F(VolumeTest, StandsInForSpecialFiles) {
  ASSERT_EQ(error_of(vfs::make_node(context(), cwd, "fifo", vfs::mode::kFifo | 0640, 0)), 0);
  EXPECT_EQ(server.modes["fifo"], 0101640u);
  EXPECT_EQ(stat("fifo")->mode, vfs::mode::kFifo | 0640);
  EXPECT_EQ(error_of(vfs::change_mode(context(), *resolve(context(), cwd, "fifo", {}), 0600)), 0);
  EXPECT_EQ(server.modes["fifo"], 0101600u);
  EXPECT_EQ(list("/").names.find("fifo")->second, vfs::mode::directory_type(vfs::mode::kFifo));
  uint64_t device = vfs::mode::make_device(4, 5);
  ASSERT_EQ(error_of(vfs::make_node(context(), cwd, "tty", vfs::mode::kCharDevice | 0600, device)),
            0);
  // The next machine finds them again.
  unmount();
  mount(*ninep::mount(server));
  EXPECT_EQ(stat("fifo")->mode, vfs::mode::kFifo | 0600);
  EXPECT_EQ(stat("tty")->special_device, device);
  EXPECT_EQ(error_of(vfs::remove_file(context(), cwd, "fifo")), 0);
  EXPECT_FALSE(server.files.contains("fifo"));
}

TEST_F(VolumeTest, TakesNoOtherFileForAStandIn) {
  server.modes["hello"] = 0101644;
  EXPECT_EQ(stat("hello")->mode, 0101644u);
  server.files["hello"] = "";
  EXPECT_EQ(stat("hello")->mode, 0101644u);
  for (std::string value : {"", "\1", "\377\377\377\377", "12345678"}) {
    server.xattrs[{"hello", "user.virtfs.mode"}] = value;
    EXPECT_EQ(stat("hello")->mode, 0101644u);
  }
  server.xattrs[{"hello", "user.virtfs.mode"}] = std::string("\0\x10\0\0", 4);
  EXPECT_EQ(stat("hello")->mode, vfs::mode::kFifo | 0644);
  server.files["hello"] = "x";
  EXPECT_EQ(stat("hello")->mode, 0101644u);
}

TEST_F(VolumeTest, WithoutAttributesThereAreNoSpecialFiles) {
  server.keeps_xattrs = false;
  EXPECT_EQ(error_of(vfs::make_node(context(), cwd, "fifo", vfs::mode::kFifo | 0640, 0)), 1);
  EXPECT_FALSE(server.files.contains("fifo"));
}

}  // namespace
}  // namespace aril::ninep
