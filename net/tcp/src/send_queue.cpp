#include "send_queue.hpp"

#include <algorithm>
#include <cstring>

#include "net/wire/tcp.hpp"

namespace aril::net {

Result<void> SendQueue::push(RefPtr<Block>& block, std::byte* data, uint32_t length,
                             uint32_t charge) {
  Piece* piece = pieces_.add_back();
  if (piece == nullptr) return fail(Errno::kNoMem);
  piece->block = std::move(block);
  piece->data = data;
  piece->length = length;
  piece->start = end_;
  piece->charge = charge;
  end_ += length;
  context_.memory.charge(charge);
  return {};
}

void SendQueue::release(Piece& piece) {
  context_.memory.release(piece.charge);
  if (piece.block->is_own_storage()) context_.blocks.recycle(std::move(piece.block));
}

Result<size_t> SendQueue::append(std::span<const std::byte> bytes) {
  size_t done = 0;
  while (done < bytes.size()) {
    auto left = bytes.subspan(done);
    if (!pieces_.empty() && pieces_.back().may_grow) {
      Piece& last = pieces_.back();
      size_t used = static_cast<size_t>(last.data - last.block->data()) + last.length;
      size_t count = std::min(left.size(), last.block->capacity() - used);
      if (count != 0) {
        std::memcpy(last.data + last.length, left.data(), count);
        last.length += static_cast<uint32_t>(count);
        end_ += static_cast<uint32_t>(count);
        done += count;
        continue;
      }
    }
    // A short answer on an idle connection is all that there is: a page for it would be wasted.
    bool is_short = pieces_.empty() && left.size() <= Block::kShortCapacity;
    auto block = (is_short ? context_.blocks.brief : context_.blocks.whole).allocate();
    bool pushed = false;
    if (block) {
      std::byte* data = (*block)->data();
      uint32_t charge = is_short ? kShortCharge : kBlockCharge;
      pushed = push(*block, data, 0, charge).has_value();
      if (pushed) pieces_.back().may_grow = true;
    }
    if (!pushed) break;
  }
  if (done == 0 && !bytes.empty()) return fail(Errno::kNoMem);
  return done;
}

Result<size_t> SendQueue::append(BlockChain& chain, size_t limit) {
  size_t done = 0;
  while (done < limit && !chain.empty()) {
    BlockPiece& front = chain.piece(0);
    auto count = static_cast<uint32_t>(std::min<size_t>(front.length, limit - done));
    Result<void> taken;
    if (count <= kCopyLimit) {
      auto copied = append(front.bytes().first(count));
      if (copied) count = static_cast<uint32_t>(*copied);
      if (!copied) taken = fail(copied.error());
    } else {
      // A shared block may go on behind this piece, so nothing is added to it here.
      uint32_t charge = front.block->is_own_storage() ? kBlockCharge : sizeof(Block);
      RefPtr<Block> shared = front.block;
      taken = push(shared, front.data, count, charge);
    }
    if (!taken) {
      if (done == 0) return fail(taken.error());
      break;
    }
    done += count;
    chain.consume(count);
  }
  return done;
}

void SendQueue::acknowledge(uint32_t sequence) {
  while (!pieces_.empty()) {
    Piece& first = pieces_.front();
    if (sequence_after(first.start + first.length, sequence)) {
      uint32_t count = sequence_after(sequence, first.start) ? sequence - first.start : 0;
      first.data += count;
      first.length -= count;
      first.start += count;
      break;
    }
    release(first);
    pieces_.pop_front();
    if (hint_ > 0) --hint_;
  }
  if (sequence_after(sequence, start_)) start_ = sequence;
}

size_t SendQueue::find(uint32_t sequence) {
  // Output goes on where it stopped, nearly always; else search.
  if (hint_ < pieces_.size()) {
    for (size_t i = hint_; i < pieces_.size() && i < hint_ + 2; ++i)
      if (sequence - pieces_[i].start < pieces_[i].length) return i;
  }
  size_t low = 0, high = pieces_.size();
  while (high - low > 1) {
    size_t middle = (low + high) / 2;
    (sequence_at_most(pieces_[middle].start, sequence) ? low : high) = middle;
  }
  return low;
}

size_t SendQueue::gather(uint32_t sequence, uint32_t& length, std::span<TxPiece> pieces) {
  uint32_t wanted = length;
  length = 0;
  size_t count = 0;
  if (pieces_.empty()) return 0;
  for (size_t i = find(sequence); i < pieces_.size() && length < wanted && count < pieces.size();
       ++i) {
    Piece& piece = pieces_[i];
    uint32_t offset = sequence + length - piece.start;
    if (offset >= piece.length) continue;
    uint32_t part = std::min(piece.length - offset, wanted - length);
    pieces[count++] = {piece.data + offset, part, piece.block.get()};
    length += part;
    hint_ = i;
  }
  return count;
}

void SendQueue::clear() {
  while (!pieces_.empty()) {
    release(pieces_.back());
    pieces_.pop_back();
  }
  pieces_.clear();
  end_ = start_;
  hint_ = 0;
}

}  // namespace aril::net
