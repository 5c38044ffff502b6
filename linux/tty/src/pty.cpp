#include "pty.hpp"

#include <algorithm>

#include "fs/vfs/devices.hpp"
#include "linux/abi/ioctl.hpp"
#include "linux/process/process.hpp"
#include "linux/tty/pts_directory.hpp"

namespace aril::linux_abi {

namespace {

constexpr uint32_t kTtyMajor = 5, kPtmxMinor = 2, kPtsMajor = 136;
constexpr size_t kMaxTerminals = 64;
constexpr size_t kOutputLimit = 16 * 1024;

/// The slave's side; what it shows is what the master reads.
class PseudoTerminal final : public Terminal {
 public:
  explicit PseudoTerminal(uint32_t number)
      : Terminal(vfs::mode::make_device(kPtsMajor, number)), number_(number) {}

  [[nodiscard]] uint32_t number() const { return number_; }
  std::atomic<bool> locked{true};

  /// What was shown and not taken yet; 0 when there is none.
  size_t take(std::span<std::byte> out) {
    LockGuard guard(shown_mutex_);
    size_t total = 0;
    for (; count_ != 0 && total < out.size(); ++total, --count_) {
      out[total] = shown_[first_];
      first_ = (first_ + 1) % kOutputLimit;
    }
    return total;
  }
  void taken() { notify_writers(); }
  /// Open files of the slave's side. When the last has gone, the master reads what is left and then
  /// EIO, until one is opened again [pty(7)].
  void slave_opened() {
    LockGuard guard(shown_mutex_);
    ++slaves_;
    is_left_ = false;
  }
  void slave_closed() {
    {
      LockGuard guard(shown_mutex_);
      if (--slaves_ != 0) return;
      is_left_ = true;
    }
    master_queue.wake_all(std::to_underlying(kReadable | PollEvents::kHup));
  }
  [[nodiscard]] bool is_left() {
    LockGuard guard(shown_mutex_);
    return is_left_;
  }
  [[nodiscard]] bool has_shown() {
    LockGuard guard(shown_mutex_);
    return count_ != 0;
  }
  WaitQueue master_queue;

 private:
  Result<size_t> emit(std::span<const std::byte> bytes, Blocking) override {
    size_t total = 0;
    {
      LockGuard guard(shown_mutex_);
      while (total < bytes.size() && count_ < kOutputLimit) {
        shown_[(first_ + count_++) % kOutputLimit] = bytes[total++];
      }
    }
    if (total == 0) return fail(Errno::kAgain);
    master_queue.wake_all(std::to_underlying(kReadable));
    return total;
  }
  bool can_emit() override {
    LockGuard guard(shown_mutex_);
    return count_ < kOutputLimit;
  }

  const uint32_t number_;
  Mutex shown_mutex_{LockRank::kMutexLeaf};
  std::array<std::byte, kOutputLimit> shown_;
  size_t first_ = 0, count_ = 0;
  size_t slaves_ = 0;
  bool is_left_ = false;
};

class SlaveFile final : public TerminalNodeFile {
 public:
  SlaveFile(vfs::Path path, OpenFlags flags, RefPtr<PseudoTerminal> terminal)
      : TerminalNodeFile(std::move(path), flags, terminal), terminal_(std::move(terminal)) {
    terminal_->slave_opened();
  }
  ~SlaveFile() override { terminal_->slave_closed(); }

 private:
  RefPtr<PseudoTerminal> terminal_;
};

struct Table {
  Mutex mutex{LockRank::kSocketState};
  PseudoTerminal* terminals[kMaxTerminals] = {};  // owned by their masters
};
[[clang::no_destroy]] constinit Table g_table;
constinit PtsDirectory g_directory{};

class MasterFile final : public vfs::NodeFile {
 public:
  MasterFile(vfs::Path path, OpenFlags flags, RefPtr<PseudoTerminal> terminal)
      : NodeFile(std::move(path), flags), terminal_(std::move(terminal)) {}
  ~MasterFile() override {
    {
      LockGuard guard(g_table.mutex);
      g_table.terminals[terminal_->number()] = nullptr;
    }
    if (g_directory.remove != nullptr) g_directory.remove(terminal_->number());
    terminal_->end(Terminal::End::kHangUp);
  }
  Result<size_t> read(IoBuffer& buffer) override {
    for (;;) {
      std::byte bytes[1024];
      size_t count =
          terminal_->take(std::span(bytes).first(std::min(buffer.remaining(), sizeof(bytes))));
      if (count != 0) {
        terminal_->taken();
        return buffer.copy_out(std::span(bytes).first(count));
      }
      if (buffer.remaining() == 0) return 0;
      if (terminal_->is_left()) return fail(Errno::kIo);
      if (is_nonblocking()) return fail(Errno::kAgain);
      ARIL_TRY(terminal_->master_queue.wait_until(
          [this] { return terminal_->has_shown() || terminal_->is_left(); }));
    }
  }
  Result<size_t> write(IoBuffer& buffer) override {
    size_t total = 0;
    while (buffer.remaining() != 0) {
      std::byte bytes[256];
      auto copied =
          buffer.copy_in(std::span(bytes).first(std::min(buffer.remaining(), sizeof(bytes))));
      if (!copied) {
        if (total != 0) break;
        return copied;
      }
      terminal_->type(std::span(bytes).first(*copied));
      total += *copied;
    }
    return total;
  }
  PollEvents poll(PollRegistrar* registrar) override {
    if (registrar != nullptr) registrar->watch(terminal_->master_queue);
    PollEvents events = kWritable;
    if (terminal_->has_shown()) events |= kReadable;
    if (terminal_->is_left()) events |= PollEvents::kHup;
    return events;
  }
  [[nodiscard]] bool is_pollable() const override { return true; }
  Result<int64_t> ioctl(uint32_t request, uint64_t argument) override {
    switch (request) {
      case TIOCGPTN:
        ARIL_TRY(UserPtr<uint32_t>(argument).write(terminal_->number()));
        return 0;
      case TIOCSPTLCK:
        terminal_->locked.store(ARIL_TRY(UserPtr<int32_t>(argument).read()) != 0,
                                std::memory_order_relaxed);
        return 0;
      case TIOCGPTLCK:
        ARIL_TRY(UserPtr<int32_t>(argument).write(terminal_->locked.load()));
        return 0;
      default:
        return terminal_->ioctl(request, argument);
    }
  }

 private:
  RefPtr<PseudoTerminal> terminal_;
};

Result<RefPtr<File>> open_master(const vfs::Path& path, OpenFlags flags) {
  RefPtr<PseudoTerminal> terminal;
  {
    LockGuard guard(g_table.mutex);
    auto* const end = g_table.terminals + kMaxTerminals;
    auto* slot = std::find(g_table.terminals, end, nullptr);
    if (slot == end) return fail(Errno::kNoSpc);
    terminal =
        ARIL_TRY(try_make_ref<PseudoTerminal>(static_cast<uint32_t>(slot - g_table.terminals)));
    *slot = terminal.get();
  }
  auto master = try_make_ref<MasterFile>(path, flags, terminal);
  if (!master) {
    LockGuard guard(g_table.mutex);
    g_table.terminals[terminal->number()] = nullptr;
    return fail(master.error());
  }
  if (g_directory.add != nullptr) {
    const Credentials& credentials = current_task().credentials;
    ARIL_TRY(g_directory.add(terminal->number(), credentials.fsuid, credentials.fsgid));
  }
  return *master;
}

Result<RefPtr<File>> open_slave(const vfs::Path& path, OpenFlags flags) {
  uint32_t number = vfs::mode::minor_of(path.inode().special_device());
  RefPtr<PseudoTerminal> terminal;
  {
    LockGuard guard(g_table.mutex);
    PseudoTerminal* found = number < kMaxTerminals ? g_table.terminals[number] : nullptr;
    if (found == nullptr || !found->try_add_ref()) return fail(Errno::kIo);
    terminal = RefPtr<PseudoTerminal>::adopt(found);
  }
  if (terminal->locked.load(std::memory_order_relaxed)) return fail(Errno::kIo);
  // [pty(7)] A session leader without a terminal gets the one that it opens.
  Process& process = current_process();
  if (!has(flags, OpenFlags::kNoCtty) && process.session.load() == process.pid() &&
      terminal->session() == 0 && !find_pseudo_terminal_of_session(process.pid()))
    terminal->set_session(process.pid(), process.process_group.load());
  return ARIL_TRY(try_make_ref<SlaveFile>(path, flags & ~OpenFlags::kNoCtty, std::move(terminal)));
}

}  // namespace

void set_pts_directory(const PtsDirectory& directory) { g_directory = directory; }

void register_pseudo_terminals() {
  vfs::register_char_device(kTtyMajor, kPtmxMinor, open_master);
  vfs::register_char_device(kPtsMajor, vfs::kAnyMinor, open_slave);
}

RefPtr<Terminal> find_pseudo_terminal_of_session(int session) {
  LockGuard guard(g_table.mutex);
  for (PseudoTerminal* terminal : g_table.terminals) {
    if (terminal != nullptr && terminal->session() == session && terminal->try_add_ref())
      return RefPtr<PseudoTerminal>::adopt(terminal);
  }
  return nullptr;
}

}  // namespace aril::linux_abi
