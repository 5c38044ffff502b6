#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace aril::net {

/// Statistics under the names of Linux's /proc/net/snmp and /proc/net/netstat: X(group, name).
// A macro, because the enumeration and its table of names must not drift apart.
// clang-format off
#define ARIL_NET_COUNTERS(X) \
  X(Ip, ForwDatagrams) X(Ip, InReceives) X(Ip, InHdrErrors) X(Ip, InAddrErrors) X(Ip, InUnknownProtos) \
  X(Ip, InDiscards) X(Ip, InDelivers) X(Ip, OutRequests) X(Ip, OutDiscards) \
  X(Ip, OutNoRoutes) X(Ip, ReasmTimeout) X(Ip, ReasmReqds) X(Ip, ReasmOKs) X(Ip, ReasmFails) \
  X(Ip, FragOKs) X(Ip, FragFails) X(Ip, FragCreates) X(Icmp, InMsgs) X(Icmp, InErrors) \
  X(Icmp, InCsumErrors) X(Icmp, InDestUnreachs) X(Icmp, InTimeExcds) X(Icmp, InParmProbs) \
  X(Icmp, InRedirects) X(Icmp, InEchos) X(Icmp, InEchoReps) X(Icmp, OutMsgs) X(Icmp, OutErrors) \
  X(Icmp, OutDestUnreachs) X(Icmp, OutTimeExcds) X(Icmp, OutEchoReps) \
  X(Icmp, OutRateLimitGlobal) X(Tcp, ActiveOpens) X(Tcp, PassiveOpens) X(Tcp, AttemptFails) \
  X(Tcp, EstabResets) X(Tcp, CurrEstab) X(Tcp, InSegs) X(Tcp, OutSegs) X(Tcp, RetransSegs) \
  X(Tcp, InErrs) X(Tcp, OutRsts) X(Tcp, InCsumErrors) X(Udp, InDatagrams) X(Udp, NoPorts) \
  X(Udp, InErrors) X(Udp, OutDatagrams) X(Udp, RcvbufErrors) X(Udp, SndbufErrors) \
  X(Udp, InCsumErrors) X(Udp, MemErrors) X(TcpExt, SyncookiesSent) X(TcpExt, SyncookiesRecv) \
  X(TcpExt, SyncookiesFailed) X(TcpExt, EmbryonicRsts) X(TcpExt, PruneCalled) \
  X(TcpExt, OfoPruned) X(TcpExt, TW) X(TcpExt, TWRecycled) X(TcpExt, PAWSActive) \
  X(TcpExt, PAWSEstab) X(TcpExt, DelayedACKs) X(TcpExt, ListenOverflows) \
  X(TcpExt, ListenDrops) X(TcpExt, TCPRenoRecovery) X(TcpExt, TCPSackRecovery) \
  X(TcpExt, TCPSACKReneging) X(TcpExt, TCPSackFailures) X(TcpExt, TCPFastRetrans) \
  X(TcpExt, TCPSlowStartRetrans) X(TcpExt, TCPTimeouts) X(TcpExt, TCPAbortOnData) \
  X(TcpExt, TCPAbortOnClose) X(TcpExt, TCPAbortOnMemory) X(TcpExt, TCPAbortOnTimeout) \
  X(TcpExt, TCPAbortOnLinger) X(TcpExt, TCPMemoryPressures) X(TcpExt, TCPBacklogDrop) \
  X(TcpExt, TCPDeferAcceptDrop) X(TcpExt, TCPTimeWaitOverflow) \
  X(TcpExt, TCPReqQFullDoCookies) X(TcpExt, TCPReqQFullDrop) X(TcpExt, TCPRcvCoalesce) \
  X(TcpExt, TCPOFOQueue) X(TcpExt, TCPOFODrop) X(TcpExt, TCPChallengeACK) \
  X(TcpExt, TCPSYNChallenge) X(TcpExt, TCPFromZeroWindowAdv) X(TcpExt, TCPToZeroWindowAdv) \
  X(TcpExt, TCPWantZeroWindowAdv) X(TcpExt, TCPOrigDataSent) X(TcpExt, TCPKeepAlive) \
  X(TcpExt, TCPLossProbes) X(TcpExt, TCPLossProbeRecovery) X(TcpExt, TCPSpuriousRTOs) \
  X(TcpExt, TCPFullUndo) X(TcpExt, TCPDSACKOldSent) X(TcpExt, TCPDSACKRecv) \
  X(TcpExt, TCPMTUPFail) X(TcpExt, TCPMTUPSuccess) \
  X(TcpExt, TCPFastOpenActive) X(TcpExt, TCPFastOpenActiveFail) X(TcpExt, TCPFastOpenPassive) \
  X(TcpExt, TCPFastOpenPassiveFail) X(TcpExt, TCPFastOpenListenOverflow) \
  X(TcpExt, TCPFastOpenCookieReqd) X(TcpExt, TCPFastOpenPassiveAltKey) \
  X(TcpExt, TCPWinProbe) X(TcpExt, TCPRcvQDrop) X(Ip6, OutForwDatagrams) X(Ip6, InReceives) X(Ip6, InHdrErrors) \
  X(Ip6, InAddrErrors) X(Ip6, InUnknownProtos) X(Ip6, InDelivers) X(Ip6, OutRequests) \
  X(Ip6, OutNoRoutes) X(Ip6, ReasmTimeout) X(Ip6, ReasmReqds) X(Ip6, ReasmOKs) \
  X(Ip6, ReasmFails) X(Ip6, FragOKs) X(Ip6, FragFails) X(Ip6, FragCreates) \
  X(Ip6, InMcastPkts) X(Icmp6, InMsgs) X(Icmp6, InErrors) X(Icmp6, InCsumErrors) X(Icmp6, InRedirects) \
  X(Icmp6, OutMsgs) X(Icmp6, OutErrors) X(Icmp6, OutRateLimitHost)
// clang-format on

/// Why the stack threw a packet away: one counter each.
// clang-format off
#define ARIL_NET_DROP_REASONS(X) \
  X(FrameTooShort) X(FrameNotForUs) X(UnknownEtherType) X(BadArp) X(BadIpHeader) \
  X(BadIpChecksum) X(IpSourceRoute) X(IpMartianSource) X(IpNotForUs) X(IpUnknownProtocol) \
  X(FragmentInvalid) X(FragmentOverlap) X(FragmentLimit) X(FragmentTimeout) X(BadIcmp) \
  X(IcmpToBroadcast) X(IcmpErrorIrrelevant) X(BadUdp) X(BadUdpChecksum) X(UdpNoSocket) \
  X(UdpQueueFull) X(BadTcp) X(BadTcpChecksum) X(TcpBroadcast) X(TcpNoConnection) \
  X(TcpListenerFull) X(TcpSynQueueFull) X(TcpBadAck) X(TcpOutsideWindow) X(TcpPaws) \
  X(TcpRstOutsideWindow) X(TcpSynInWindow) X(TcpDeferAccept) X(TcpTooManyGaps) X(TcpNoMemory) \
  X(TcpAfterClose) X(TcpTimeWait) X(TcpBadSynFlags) X(NeighbourUnresolved) \
  X(NeighbourQueueFull) X(NoRoute) X(LoopbackFull) X(NoMemory) X(DeviceFull) X(BadIpv6Header) \
  X(Ipv6Extension) X(Ipv6RoutingHeader) X(Ipv6Option) X(GroupNotJoined) X(BadIcmpv6) \
  X(BadNdp) X(NdpOffLink) X(DuplicateAddress) X(BadIgmp) X(HopsExceeded) X(NotForwarded) X(RawQueueFull) X(RouterLimit) X(RedirectRefused)
// clang-format on

#define ARIL_NET_COUNTER_NAME(group, name) k##group##name,
enum class Counter : uint16_t { ARIL_NET_COUNTERS(ARIL_NET_COUNTER_NAME) kCount };
#undef ARIL_NET_COUNTER_NAME
#define ARIL_NET_REASON_NAME(name) k##name,
enum class DropReason : uint16_t { ARIL_NET_DROP_REASONS(ARIL_NET_REASON_NAME) kCount };
#undef ARIL_NET_REASON_NAME

class Counters {
 public:
  static constexpr size_t kCount = static_cast<size_t>(Counter::kCount);
  static constexpr size_t kDropCount = static_cast<size_t>(DropReason::kCount);

  void add(Counter counter, uint64_t count = 1) { values_[static_cast<size_t>(counter)] += count; }
  /// For gauges (CurrEstab).
  void subtract(Counter counter) { --values_[static_cast<size_t>(counter)]; }
  void drop(DropReason reason) { ++drops_[static_cast<size_t>(reason)]; }

  [[nodiscard]] uint64_t get(Counter counter) const {
    return values_[static_cast<size_t>(counter)];
  }
  [[nodiscard]] uint64_t get(DropReason reason) const {
    return drops_[static_cast<size_t>(reason)];
  }

  struct Name {
    std::string_view group, name;
  };
  static Name name(Counter counter);
  static std::string_view name(DropReason reason);

 private:
  std::array<uint64_t, kCount> values_ = {};
  std::array<uint64_t, kDropCount> drops_ = {};
};

}  // namespace aril::net
