#pragma once
#include <cstdint>

/// Requests of ioctl(2) with x86-64 Linux's values [asm-generic/ioctls.h, linux/sockios.h].
namespace aril::linux_abi {

inline constexpr uint32_t TCGETS = 0x5401, TCSETS = 0x5402, TCSETSW = 0x5403, TCSETSF = 0x5404,
                          TCGETA = 0x5405, TCSETA = 0x5406, TCSETAW = 0x5407, TCSETAF = 0x5408,
                          TCSBRK = 0x5409, TCXONC = 0x540a, TCFLSH = 0x540b, TIOCEXCL = 0x540c,
                          TIOCNXCL = 0x540d, TIOCSCTTY = 0x540e, TIOCGPGRP = 0x540f,
                          TIOCSPGRP = 0x5410, TIOCOUTQ = 0x5411, TIOCSTI = 0x5412,
                          TIOCGWINSZ = 0x5413, TIOCSWINSZ = 0x5414, TIOCINQ = 0x541b,
                          FIONREAD = 0x541b, FIONBIO = 0x5421, TIOCNOTTY = 0x5422,
                          TIOCGSID = 0x5429, TCSBRKP = 0x5425, TIOCGPTN = 0x80045430,
                          TIOCSPTLCK = 0x40045431, TIOCGPTLCK = 0x80045439, TIOCGPTPEER = 0x5441,
                          FIONCLEX = 0x5450, FIOCLEX = 0x5451, FIOASYNC = 0x5452, FIOQSIZE = 0x5460,
                          TIOCGLCKTRMIOS = 0x5456, TIOCSLCKTRMIOS = 0x5457;

inline constexpr uint32_t FIOSETOWN = 0x8901, SIOCSPGRP = 0x8902, FIOGETOWN = 0x8903,
                          SIOCGPGRP = 0x8904, SIOCATMARK = 0x8905, SIOCGSTAMP = 0x8906,
                          SIOCGIFNAME = 0x8910, SIOCGIFCONF = 0x8912, SIOCGIFFLAGS = 0x8913,
                          SIOCGIFADDR = 0x8915, SIOCGIFDSTADDR = 0x8917, SIOCGIFBRDADDR = 0x8919,
                          SIOCGIFNETMASK = 0x891b, SIOCGIFMETRIC = 0x891d, SIOCGIFMTU = 0x8921,
                          SIOCGIFHWADDR = 0x8927, SIOCGIFINDEX = 0x8933, SIOCGIFTXQLEN = 0x8942,
                          SIOCOUTQ = 0x5411, SIOCOUTQNSD = 0x894b;

inline constexpr uint32_t FS_IOC_GETFLAGS = 0x80086601, FICLONE = 0x40049409;

}  // namespace aril::linux_abi
