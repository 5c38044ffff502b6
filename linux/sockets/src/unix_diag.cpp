#include "unix_diag.hpp"

#include <array>

#include "net/unix/unix_socket.hpp"

/// NETLINK_SOCK_DIAG for AF_UNIX [sock_diag(7)].
namespace aril::linux_abi::netlink {
namespace {

constexpr uint16_t kByFamily = 20;         // SOCK_DIAG_BY_FAMILY
constexpr size_t kAnswerSize = 16 * kKiB;  // what programs have room for

enum Show : uint32_t { kShowName = 1, kShowPeer = 4, kShowQueues = 0x10, kShowUser = 0x40 };
enum Extension : uint16_t { kName = 0, kPeer = 2, kQueues = 4, kShutdown = 6, kUser = 7 };

/// struct unix_diag_req.
struct Request {
  uint8_t family, protocol;
  uint16_t padding;
  uint32_t states;  ///< a bit for each
  uint32_t inode;
  uint32_t show;
  uint32_t cookie[2];
};
static_assert(sizeof(Request) == 24);

/// struct unix_diag_msg.
struct Message {
  uint8_t family, type, state, padding;
  uint32_t inode;
  uint32_t cookie[2];
};
static_assert(sizeof(Message) == 16);

void describe(AnswerWriter& out, const net::UnixView& view, uint32_t show, uint16_t flags) {
  auto inode = static_cast<uint32_t>(view.inode);
  // What names a socket to who asks again is its inode.
  out.begin(kByFamily, flags,
            Message{.family = std::to_underlying(net::Family::kUnix) & 0xff,
                    .type = static_cast<uint8_t>(view.type),
                    .state = std::to_underlying(view.state),
                    .padding = 0,
                    .inode = inode,
                    .cookie = {inode, 0}});
  if ((show & kShowName) != 0 && !view.name.empty())
    out.bytes(kName, std::as_bytes(std::span(view.name)));
  if ((show & kShowPeer) != 0 && view.peer_inode != 0)
    out.attribute(kPeer, static_cast<uint32_t>(view.peer_inode));
  if ((show & kShowQueues) != 0)
    out.attribute(kQueues, std::array{static_cast<uint32_t>(view.receive_queue),
                                      static_cast<uint32_t>(view.send_queue)});
  if ((show & kShowUser) != 0) out.attribute(kUser, view.user);
  out.attribute(kShutdown, static_cast<uint8_t>(view.receive_shut | view.send_shut << 1));
  out.finish();
}

}  // namespace

Result<std::vector<std::string>> list_unix_sockets(std::span<const std::byte> body,
                                                   const NetlinkHeader& header, uint32_t port) {
  Request request;
  if (body.size() < sizeof(request)) return fail(Errno::kInval);
  memcpy(&request, body.data(), sizeof(request));
  bool is_dump = (header.flags & kDump) == kDump;
  if (!is_dump && request.inode == 0) return fail(Errno::kInval);
  AnswerWriter out(header.sequence, port);
  std::vector<std::string> answers;
  for (const net::UnixView& view : net::UnixSocket::views()) {
    bool is_wanted = is_dump ? (request.states >> std::to_underlying(view.state) & 1) != 0
                             : static_cast<uint32_t>(view.inode) == request.inode;
    if (!is_wanted) continue;
    describe(out, view, request.show, is_dump ? kMulti : uint16_t{0});
    if (!is_dump || out.size() >= kAnswerSize) answers.push_back(out.take());
  }
  if (std::string rest = out.take(); !rest.empty()) answers.push_back(std::move(rest));
  if (!is_dump && answers.empty()) return fail(Errno::kNoEnt);
  return answers;
}

}  // namespace aril::linux_abi::netlink
