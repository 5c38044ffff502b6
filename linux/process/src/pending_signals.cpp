#include "linux/process/pending_signals.hpp"

namespace aril::linux_abi {

void PendingSignals::push(QueuedSignal& signal) {
  set_.add(signal.info.signal);
  queue_.push_back(signal);
}

int PendingSignals::take(SignalSet wanted, SignalInfo& info) {
  SignalSet candidates = set_ & wanted;
  if (candidates.empty()) return 0;
  SignalSet faults = candidates & kSynchronousSignals;
  int number = (faults.empty() ? candidates : faults).first();

  QueuedSignal* taken = nullptr;
  bool more = false;
  for (QueuedSignal& signal : queue_) {
    if (signal.info.signal != number) continue;
    if (taken != nullptr) {
      more = true;
      break;
    }
    taken = &signal;
  }
  if (!more) set_.remove(number);
  if (taken == nullptr) {
    info = SignalInfo{.signal = number, .code = kSiUser};
    return number;
  }
  info = taken->info;
  queue_.remove(*taken);
  if (taken->owned_by_queue) delete taken;
  return number;
}

void PendingSignals::withdraw(QueuedSignal& signal) {
  if (!signal.node.is_linked()) return;
  queue_.remove(signal);
  for (QueuedSignal& other : queue_)
    if (other.info.signal == signal.info.signal) return;
  set_.remove(signal.info.signal);
}

void PendingSignals::flush(SignalSet signals) {
  set_ = set_ & ~signals;
  for (auto next = queue_.begin(); next != queue_.end();) {
    QueuedSignal& signal = *next;
    ++next;
    if (!signals.contains(signal.info.signal)) continue;
    queue_.remove(signal);
    if (signal.owned_by_queue) delete &signal;
  }
}

}  // namespace aril::linux_abi
