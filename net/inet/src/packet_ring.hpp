#pragma once
#include <vector>

#include "kernel/vm/memory_object.hpp"
#include "net/packet/packet_socket.hpp"

namespace aril::net {

/// struct tpacket_req.
struct RingRequest {
  uint32_t block_size, block_count, frame_size, frame_count;
};

/// A ring of frames in memory that the application maps [Linux
/// Documentation/networking/packet_mmap.rst], version 2: each frame begins with a status word that
/// says whose it is. Everything in the memory may be overwritten by the application at any time;
/// only that word is read back.
class PacketRing final : public MemoryObject, public CaptureRing {
 public:
  static constexpr uint32_t kHeaderLength = 52;  ///< TPACKET2_HDRLEN

  /// `reserve`: PACKET_RESERVE. `link_header`: bytes of it in a frame. kInval, kNoMem.
  static Result<RefPtr<PacketRing>> create(const RingRequest& request, uint32_t reserve,
                                           uint32_t link_header);
  ~PacketRing() override;

  Result<PageRef> page(uint64_t index, PageAccess access) override;
  [[nodiscard]] bool tracks_writes() const override { return false; }
  [[nodiscard]] const char* name() const override { return "socket:[packet]"; }

  bool put(const CapturedFrame& frame, std::span<const TxPiece> pieces, size_t captured) override;
  [[nodiscard]] bool has_frames() const override;

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  PacketRing(const RingRequest& request, uint32_t reserve, uint32_t link_header)
      : request_(request), reserve_(reserve), link_header_(link_header) {}
  [[nodiscard]] std::byte* frame_at(uint32_t index) const;

  const RingRequest request_;
  const uint32_t reserve_, link_header_;
  std::vector<PhysicalAddress> blocks_;
  uint32_t next_ = 0;
  bool losing_ = false;
};

}  // namespace aril::net
