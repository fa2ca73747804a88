// SPDX-License-Identifier: Apache-2.0
#include "daemon/guard/precontent.h"

#include <fcntl.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>

#include "proto/kernel_uapi.h"

namespace mrlease::guard {
namespace {

constexpr std::uint64_t kHeldEvents = FAN_OPEN_PERM | FAN_PRE_ACCESS;
// FAN_MARK_IGNORE: include/uapi/linux/fanotify.h, 6.0.
constexpr unsigned kArm = FAN_MARK_ADD | FAN_MARK_FILESYSTEM | FAN_MARK_IGNORE | FAN_MARK_IGNORED_SURV_MODIFY;

// The mask is looked at before the file system: a kernel that knows the bit says EOPNOTSUPP for a memfd, one that does
// not says EINVAL.
bool kernel_knows_pre_access(const sys::FanGroup& group) {
  sys::Fd memory(::memfd_create("mrlease-probe", MFD_CLOEXEC));
  int error = memory ? group.mark(FAN_MARK_ADD, FAN_PRE_ACCESS, memory.get()) : EMFILE;
  return error == 0 || error == EOPNOTSUPP;
}

}  // namespace

int Precontent::start(sys::Fd arming, sys::Fd events) {
  if (arming && events) {
    arming_.adopt(std::move(arming));
    events_.adopt(std::move(events));
    return 0;
  }
  if (int error = arming_.open(FAN_CLASS_PRE_CONTENT)) return error;
  if (!kernel_knows_pre_access(arming_)) return EINVAL;
  return events_.open(FAN_CLASS_PRE_CONTENT | FAN_REPORT_TID);
}

int Precontent::arm(int fd, std::uint64_t device) {
  if (armed_.contains(device)) return 0;
  int error = arming_.mark(kArm, FAN_PRE_ACCESS, fd);
  if (!error) armed_.insert(device);
  return error;
}

int Precontent::arm_root(const std::string& path) {
  sys::Fd root(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat st;
  if (!root || ::fstat(root.get(), &st)) return errno;
  int error = arm(root.get(), st.st_dev);
  if (!error) armed_as_root_.insert(st.st_dev);
  return error;
}

int Precontent::watch(WatchedFile* file) {
  if (int error = events_.mark(FAN_MARK_ADD, kHeldEvents, file->fd.get())) return error;
  file->kind = Kind::Precontent;
  file->text = "precontent: holds truncate, O_TRUNC opens, read, write, fallocate and mmap, but not stores through "
               "mappings, nor descriptors opened before ";
  if (armed_as_root_.contains(file->key.device)) {
    file->text += "the daemon started";
  } else if (int error = arm(file->fd.get(), file->key.device)) {
    file->text += "this watch (its file system cannot be armed: errno " + std::to_string(error) + ")";
  } else {
    file->text += "its file system was first watched (add it to the roots to arm it from the start)";
  }
  return 0;
}

void Precontent::unwatch(const WatchedFile& file) { events_.mark(FAN_MARK_REMOVE, kHeldEvents, file.fd.get()); }

int Precontent::on_readable() {
  const int error = desk_->read(&events_, Group::Precontent);
  return error == EAGAIN ? 0 : error;
}

void Precontent::disarm() {
  events_.flush_marks(false);
  arming_.flush_marks(true);
  armed_.clear();
  armed_as_root_.clear();
}

}  // namespace mrlease::guard
