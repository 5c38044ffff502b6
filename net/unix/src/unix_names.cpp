#include "unix_names.hpp"

#include "base/unique.hpp"

namespace aril::net {

namespace {

struct Entry {
  ListNode node;
  std::string name;
  RefPtr<UnixName> owner;
};

struct Table {
  Mutex mutex{LockRank::kMutexLeaf};
  IntrusiveList<Entry, &Entry::node> entries;
};
[[clang::no_destroy]] constinit Table g_table;

constinit UnixPathNames g_path_names{
    .bind = [](std::string_view, RefPtr<UnixName>) -> Result<void> { return fail(Errno::kPerm); },
    .find = [](std::string_view) -> Result<RefPtr<UnixName>> { return fail(Errno::kNoEnt); }};

Entry* find_locked(std::string_view name) {
  for (Entry& entry : g_table.entries)
    if (entry.name == name) return &entry;
  return nullptr;
}

}  // namespace

void set_unix_path_names(const UnixPathNames& names) { g_path_names = names; }
const UnixPathNames& unix_path_names() { return g_path_names; }

namespace abstract_names {

Result<void> add(std::string_view name, RefPtr<UnixName> owner) {
  auto entry = ARIL_TRY(try_make_unique<Entry>());
  entry->name = name;
  entry->owner = std::move(owner);
  LockGuard guard(g_table.mutex);
  if (find_locked(name) != nullptr) return fail(Errno::kAddrInUse);
  g_table.entries.push_back(*entry.release());
  return {};
}

void remove(const UnixName& owner) {
  std::unique_ptr<Entry> removed;
  LockGuard guard(g_table.mutex);
  for (Entry& entry : g_table.entries) {
    if (entry.owner == &owner) {
      entry.node.unlink();
      removed.reset(&entry);
      return;
    }
  }
}

Result<RefPtr<UnixName>> find(std::string_view name) {
  LockGuard guard(g_table.mutex);
  Entry* entry = find_locked(name);
  if (entry == nullptr) return fail(Errno::kConnRefused);
  return entry->owner;
}

}  // namespace abstract_names

RefPtr<UnixSocket> UnixName::socket() {
  LockGuard guard(lock_);
  if (socket_ == nullptr || !socket_->try_add_ref()) return nullptr;
  return RefPtr<UnixSocket>::adopt(socket_);
}

void UnixName::forget_socket() {
  LockGuard guard(lock_);
  socket_ = nullptr;
}

}  // namespace aril::net
