#pragma once
#include <array>
#include <string>

#include "client.hpp"
#include "fs/vfs/file_system.hpp"

namespace aril::ninep {

class NinepInode;

/// A name in a directory. To the server a fid stands for the name by which it was found.
struct Place {
  uint64_t directory = 0;  ///< its number
  std::string name;
};

/// A mounted directory of the host.
class Volume final : public vfs::FileSystem {
 public:
  static Result<RefPtr<Volume>> create(MessageDevice& device);
  ~Volume() override;

  [[nodiscard]] std::string_view type_name() const override { return "9p"; }
  vfs::FileSystemStatus status() override;
  Result<void> sync() override;

  const RefPtr<Client>& client() { return client_; }
  /// The inode of the file that `fid` names, found at `place`: the one that is there already, which
  /// takes over the fid, or a new one.
  Result<RefPtr<vfs::Inode>> inode_for(RefPtr<Fid> fid, Place place);
  /// The type of the file with this number, if there is an inode of it; else 0.
  uint32_t known_type(uint64_t number);
  /// Its number may come to mean another file.
  void forget(NinepInode& inode);

 private:
  template <typename T, typename... A>
  friend Result<RefPtr<T>> aril::try_make_ref(A&&...);
  explicit Volume(RefPtr<Client> client) : client_(std::move(client)) { revalidates_names_ = true; }

  static constexpr size_t kBuckets = 1024;
  [[nodiscard]] NinepInode*& bucket(uint64_t number) {
    return buckets_[(number * 0x9e37'79b9'7f4a'7c15) >> 54];
  }

  const RefPtr<Client> client_;
  SpinLock lock_{LockRank::kSpinLeaf};  // guards the table of inodes
  std::array<NinepInode*, kBuckets> buckets_{};
};

}  // namespace aril::ninep
