#pragma once

/// Names for getsockopt and setsockopt with x86-64 Linux's values [asm-generic/socket.h,
/// linux/tcp.h, linux/in.h].
namespace aril::net {

inline constexpr int SOL_IP = 0, SOL_SOCKET = 1, SOL_TCP = 6, SOL_UDP = 17, SOL_IPV6 = 41,
                     SOL_ICMPV6 = 58, SOL_RAW = 255, SOL_PACKET = 263, SOL_NETLINK = 270;

inline constexpr int SO_DEBUG = 1, SO_REUSEADDR = 2, SO_TYPE = 3, SO_ERROR = 4, SO_DONTROUTE = 5,
                     SO_BROADCAST = 6, SO_SNDBUF = 7, SO_RCVBUF = 8, SO_KEEPALIVE = 9,
                     SO_OOBINLINE = 10, SO_NO_CHECK = 11, SO_PRIORITY = 12, SO_LINGER = 13,
                     SO_BSDCOMPAT = 14, SO_REUSEPORT = 15, SO_PASSCRED = 16, SO_PEERCRED = 17,
                     SO_RCVLOWAT = 18, SO_SNDLOWAT = 19, SO_RCVTIMEO = 20, SO_SNDTIMEO = 21,
                     SO_BINDTODEVICE = 25, SO_ATTACH_FILTER = 26, SO_DETACH_FILTER = 27,
                     SO_PEERNAME = 28, SO_TIMESTAMP = 29, SO_ACCEPTCONN = 30, SO_PEERSEC = 31,
                     SO_SNDBUFFORCE = 32, SO_RCVBUFFORCE = 33, SO_PASSSEC = 34, SO_TIMESTAMPNS = 35,
                     SO_MARK = 36, SO_PROTOCOL = 38, SO_DOMAIN = 39, SO_RXQ_OVFL = 40,
                     SO_PEEK_OFF = 42, SO_BUSY_POLL = 46, SO_INCOMING_CPU = 49, SO_ATTACH_BPF = 50,
                     SO_ATTACH_REUSEPORT_CBPF = 51, SO_ATTACH_REUSEPORT_EBPF = 52,
                     SO_INCOMING_NAPI_ID = 56, SO_COOKIE = 57, SO_ZEROCOPY = 60,
                     SO_RCVTIMEO_NEW = 66, SO_SNDTIMEO_NEW = 67;

inline constexpr int TCP_NODELAY = 1, TCP_MAXSEG = 2, TCP_CORK = 3, TCP_KEEPIDLE = 4,
                     TCP_KEEPINTVL = 5, TCP_KEEPCNT = 6, TCP_SYNCNT = 7, TCP_LINGER2 = 8,
                     TCP_DEFER_ACCEPT = 9, TCP_WINDOW_CLAMP = 10, TCP_INFO = 11, TCP_QUICKACK = 12,
                     TCP_CONGESTION = 13, TCP_THIN_LINEAR_TIMEOUTS = 16, TCP_THIN_DUPACK = 17,
                     TCP_USER_TIMEOUT = 18, TCP_FASTOPEN = 23, TCP_NOTSENT_LOWAT = 25,
                     TCP_FASTOPEN_CONNECT = 30, TCP_FASTOPEN_KEY = 33, TCP_FASTOPEN_NO_COOKIE = 34;

inline constexpr int IP_TOS = 1, IP_TTL = 2, IP_OPTIONS = 4, IP_PKTINFO = 8, IP_MTU_DISCOVER = 10,
                     IP_RECVERR = 11, IP_RECVTTL = 12, IP_RECVTOS = 13, IP_MTU = 14,
                     IP_FREEBIND = 15, IP_BIND_ADDRESS_NO_PORT = 24, IP_MULTICAST_IF = 32,
                     IP_MULTICAST_TTL = 33, IP_MULTICAST_LOOP = 34, IP_ADD_MEMBERSHIP = 35,
                     IP_DROP_MEMBERSHIP = 36, IP_UNBLOCK_SOURCE = 37, IP_BLOCK_SOURCE = 38,
                     IP_ADD_SOURCE_MEMBERSHIP = 39, IP_DROP_SOURCE_MEMBERSHIP = 40,
                     IP_MSFILTER = 41, IP_MULTICAST_ALL = 49;

inline constexpr int IP_HDRINCL = 3, MCAST_JOIN_GROUP = 42, MCAST_BLOCK_SOURCE = 43,
                     MCAST_UNBLOCK_SOURCE = 44, MCAST_LEAVE_GROUP = 45,
                     MCAST_JOIN_SOURCE_GROUP = 46, MCAST_LEAVE_SOURCE_GROUP = 47,
                     MCAST_MSFILTER = 48;

inline constexpr int UDP_CORK = 1, UDP_SEGMENT = 103, UDP_GRO = 104;

inline constexpr int ICMP_FILTER = 1, ICMPV6_FILTER = 1;

inline constexpr int PACKET_ADD_MEMBERSHIP = 1, PACKET_DROP_MEMBERSHIP = 2, PACKET_RX_RING = 5,
                     PACKET_STATISTICS = 6, PACKET_AUXDATA = 8, PACKET_VERSION = 10,
                     PACKET_HDRLEN = 11, PACKET_RESERVE = 12, PACKET_TX_RING = 13,
                     PACKET_TIMESTAMP = 17, PACKET_IGNORE_OUTGOING = 23;

inline constexpr int IPV6_ADDRFORM = 1, IPV6_CHECKSUM = 7, IPV6_UNICAST_HOPS = 16,
                     IPV6_MULTICAST_IF = 17, IPV6_MULTICAST_HOPS = 18, IPV6_MULTICAST_LOOP = 19,
                     IPV6_ADD_MEMBERSHIP = 20, IPV6_DROP_MEMBERSHIP = 21, IPV6_MTU_DISCOVER = 23,
                     IPV6_MTU = 24, IPV6_RECVERR = 25, IPV6_V6ONLY = 26, IPV6_MULTICAST_ALL = 29,
                     IPV6_RECVPKTINFO = 49, IPV6_PKTINFO = 50, IPV6_RECVHOPLIMIT = 51,
                     IPV6_HOPLIMIT = 52, IPV6_DONTFRAG = 62, IPV6_RECVTCLASS = 66, IPV6_TCLASS = 67,
                     IPV6_AUTOFLOWLABEL = 70, IPV6_ADDR_PREFERENCES = 72, IPV6_FREEBIND = 78;

}  // namespace aril::net
