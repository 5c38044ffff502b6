#include "family_table.hpp"
#include "fs/vfs/inode.hpp"
#include "fs/vfs/operations.hpp"
#include "linux/process/fs_context.hpp"
#include "linux/process/process.hpp"
#include "net/unix/unix_socket.hpp"

/// Names of Unix sockets in the file system: a file of type socket, with the name attached.
namespace aril::linux_abi {

namespace {

class NameAttachment final : public vfs::Attachment {
 public:
  explicit NameAttachment(RefPtr<net::UnixName> bound) : name(std::move(bound)) {}
  const RefPtr<net::UnixName> name;
};

Result<void> bind(std::string_view path, RefPtr<net::UnixName> name) {
  auto attachment = ARIL_TRY(try_make_ref<NameAttachment>(std::move(name)));
  vfs::Path start = current_process().fs().cwd();
  auto place = vfs::make_node(caller_lookup_context(), start, path, vfs::mode::kSocket | 0777, 0);
  if (!place) return fail(place.error() == Errno::kExist ? Errno::kAddrInUse : place.error());
  (void)place->inode().replace_attachment(std::move(attachment));
  return {};
}

Result<RefPtr<net::UnixName>> find(std::string_view path) {
  vfs::LookupContext context = caller_lookup_context();
  vfs::Path start = current_process().fs().cwd();
  vfs::Path place = ARIL_TRY(vfs::resolve(context, start, path, vfs::LookupFlags::kFollow));
  if (place.inode().type() != vfs::mode::kSocket) return fail(Errno::kConnRefused);
  ARIL_TRY(vfs::access(context, place, vfs::Access::kWrite));
  RefPtr<vfs::Attachment> attachment = place.inode().attachment();
  if (!attachment) return fail(Errno::kConnRefused);
  // Nobody else attaches to an inode of type socket.
  return static_cast<NameAttachment&>(*attachment).name;
}

}  // namespace

void serve_unix_path_names() { net::set_unix_path_names({.bind = bind, .find = find}); }

}  // namespace aril::linux_abi
