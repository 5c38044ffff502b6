#pragma once
#include "client.hpp"

/// Special files on a server that cannot make them. QEMU may make no devices for users other than
/// root, and with its fix of CVE-2023-2861 refuses to open, and so to set the mode of, any special
/// file that it has made (ENXIO).
///
/// An empty regular file with the sticky bit, which has no meaning there, stands in for the FIFO,
/// socket or device; attributes say what it is, in the format in which QEMU itself keeps them with
/// security_model=mapped-xattr [qemu, hw/9pfs/9p-local.c]. It stays what it is when the machine
/// ends, and is the same to a machine whose server maps.
namespace aril::ninep::stand_in {

/// Attributes that programs neither see nor change: of this prefix.
inline constexpr std::string_view kHiddenXattrs = "user.virtfs.";

/// As Client::attributes, but of a stand-in those of what it stands for.
Result<Attributes> attributes(Client& client, const Fid& fid);

/// Makes a stand-in. kPerm when the server keeps no attributes either.
Result<void> make(Client& client, const Fid& directory, std::string_view name, uint32_t mode,
                  uint64_t device, uint32_t gid);

/// The mode that the server shall give to a stand-in, so that it stays one.
uint32_t server_mode(uint32_t mode);

}  // namespace aril::ninep::stand_in
