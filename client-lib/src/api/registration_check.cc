// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/api/registration_check.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <limits>

namespace mrlease::client {
namespace {

Outcome check_mode(int fd, bool write) {
  const std::string name = "file descriptor " + std::to_string(fd);
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0) return {EBADF, name + " is not open"};
  if ((flags & O_PATH) != 0) return {EBADF, name + " is open with O_PATH only; open the file for reading"};
  const int mode = flags & O_ACCMODE;
  if (mode == O_WRONLY) return {EACCES, name + " is open for writing only; a mapping needs it open for reading too"};
  if (write && mode != O_RDWR) {
    return {EACCES, name + " is open for reading only, but the access has writes; open it with O_RDWR"};
  }
  if ((flags & O_APPEND) != 0) {
    return {EINVAL, name + " is open with O_APPEND, with which nothing can be written in place; open it without"};
  }
  return {};
}

Outcome check_kind(int fd, mode_t mode) {
  const std::string name = "file descriptor " + std::to_string(fd);
  if (S_ISREG(mode)) return {};
  if (S_ISDIR(mode)) return {EISDIR, name + " is a directory; only regular files can be leased"};
  return {ENOTSUP, name + " is not a regular file (st_mode 0" +
                       std::string(1, static_cast<char>('0' + ((mode & S_IFMT) >> 15) % 8)) +
                       std::string(1, static_cast<char>('0' + ((mode & S_IFMT) >> 12) % 8)) +
                       "0000); only regular files can be leased"};
}

Outcome check_range(std::uint64_t offset, std::uint64_t length) {
  if (length == 0) return {EINVAL, "length is 0; a lease covers at least one byte"};
  if (offset % kPage != 0) {
    return {EINVAL,
            "offset " + std::to_string(offset) + " is not a multiple of the page size, " + std::to_string(kPage)};
  }
  // off_t is signed; the last page must be addressable too.
  const std::uint64_t most = page_down(static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
  if (offset > most || length > most - offset) {
    return {EINVAL, "offset " + std::to_string(offset) + " plus length " + std::to_string(length) +
                        " is beyond what a file can have"};
  }
  return {};
}

}  // namespace

Outcome check_file(int fd, std::uint64_t offset, std::uint64_t length, bool write, CheckedFile* out) {
  Outcome o = check_range(offset, length);
  if (o.ok()) o = check_mode(fd, write);
  if (!o.ok()) return o;
  struct stat now {};
  if (::fstat(fd, &now) != 0) return from_errno("fstat");
  o = check_kind(fd, now.st_mode);
  if (!o.ok()) return o;
  out->size = static_cast<std::uint64_t>(now.st_size);
  if (offset + length > out->size) {
    return {ERANGE, "the range [" + std::to_string(offset) + ", " + std::to_string(offset + length) +
                        ") reaches beyond the end of the file, which has " + std::to_string(out->size) +
                        " bytes; grow it with ftruncate first"};
  }
  return {};
}

Outcome check_options(const mrl_reg_options* given, mrl_reg_options* out) {
  *out = {};
  out->peer_budget_ms = 200;
  if (given == nullptr) return {};
  if (given->struct_size < sizeof(std::size_t) + sizeof(mrl_backing)) {
    return {EINVAL, "options.struct_size is " + std::to_string(given->struct_size) +
                        "; set it to sizeof(struct mrl_reg_options)"};
  }
  out->peer_budget_ms = 0;
  std::memcpy(static_cast<void*>(out), given, std::min(given->struct_size, sizeof *out));
  if (out->peer_budget_ms == 0) out->peer_budget_ms = 200;
  int backing = 0;  // a C caller may have put anything into the enum
  static_assert(sizeof backing == sizeof out->backing);
  std::memcpy(&backing, &out->backing, sizeof backing);
  if (backing < MRL_BACKING_AUTO || backing > MRL_BACKING_BOUNCE) {
    return {EINVAL, "options.backing is " + std::to_string(backing) + ", which is none of enum mrl_backing"};
  }
  if ((out->accept_quirks & ~static_cast<std::uint32_t>(MRL_QUIRK_ODP_PAGE_ALIGNED)) != 0) {
    return {EINVAL,
            "options.accept_quirks has bits that are none of enum mrl_quirk: " + std::to_string(out->accept_quirks)};
  }
  if ((out->flags & ~static_cast<std::uint32_t>(MRL_REG_SHARE | MRL_REG_PRESERVE_ORPHANS)) != 0) {
    return {EINVAL, "options.flags has bits that are none of enum mrl_reg_flags: " + std::to_string(out->flags)};
  }
  if (out->orphan_bytes_max != 0 && out->orphan_bytes_max < kPage) {
    return {EINVAL, "options.orphan_bytes_max is " + std::to_string(out->orphan_bytes_max) + "; it counts whole pages of 4096 bytes"};
  }
  if (out->reserved != 0) return {EINVAL, "options.reserved is not 0"};
  if ((out->flags & MRL_REG_PRESERVE_ORPHANS) == 0 && (out->orphan_keep_ms != 0 || out->orphan_bytes_max != 0)) {
    return {EINVAL, "options.orphan_keep_ms and orphan_bytes_max limit what MRL_REG_PRESERVE_ORPHANS keeps; options.flags lacks it"};
  }
  return {};
}

}  // namespace mrlease::client
