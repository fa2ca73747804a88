// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/fanotify.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/fanotify.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>
#include <string>
#include <string_view>

#include "daemon/sys/own_proc.h"
#include "proto/kernel_uapi.h"

namespace mrlease::sys {
namespace {

// struct fanotify_event_info_range, include/uapi/linux/fanotify.h, 6.14.
struct RangeRecord {
  fanotify_event_info_header header;
  __u32 pad;
  __u64 offset;
  __u64 count;
};

void take_range(const char* record, std::size_t size, FanEvent* event) {
  RangeRecord range;
  if (size < sizeof range) return;
  std::memcpy(&range, record, sizeof range);
  event->has_range = true;
  event->offset = range.offset;
  event->count = range.count;
}

void take_file_id(const char* record, std::size_t size, FanEvent* event) {
  // fanotify_event_info_fid: header, fsid, then a struct file_handle.
  constexpr std::size_t kFsid = sizeof(fanotify_event_info_header), kHandle = kFsid + sizeof(__kernel_fsid_t);
  unsigned bytes = 0;
  int type = 0;
  if (size < kHandle + 8) return;
  std::memcpy(&event->id.fsid, record + kFsid, sizeof event->id.fsid);
  std::memcpy(&bytes, record + kHandle, sizeof bytes);
  std::memcpy(&type, record + kHandle + 4, sizeof type);
  if (bytes > size - kHandle - 8) return;
  event->id.type = type;
  event->id.bytes.assign(record + kHandle + 8, bytes);
}

FanEvent parse(const char* at, const fanotify_event_metadata& meta) {
  FanEvent event;
  event.mask = meta.mask;
  event.fd.reset(meta.fd >= 0 ? meta.fd : -1);
  event.tid = meta.pid;
  for (std::size_t offset = meta.metadata_len; offset + sizeof(fanotify_event_info_header) <= meta.event_len;) {
    fanotify_event_info_header header;
    std::memcpy(&header, at + offset, sizeof header);
    if (header.len < sizeof header || offset + header.len > meta.event_len) break;
    if (header.info_type == FAN_EVENT_INFO_TYPE_RANGE) take_range(at + offset, header.len, &event);
    if (header.info_type == FAN_EVENT_INFO_TYPE_FID) take_file_id(at + offset, header.len, &event);
    offset += header.len;
  }
  return event;
}

}  // namespace

std::vector<FanEvent> events_in(std::span<const char> buffer) {
  std::vector<FanEvent> events;
  while (buffer.size() >= FAN_EVENT_METADATA_LEN) {
    fanotify_event_metadata meta;
    std::memcpy(&meta, buffer.data(), sizeof meta);
    if (meta.event_len < FAN_EVENT_METADATA_LEN || meta.event_len > buffer.size()) break;
    events.push_back(parse(buffer.data(), meta));
    buffer = buffer.subspan(meta.event_len);
  }
  return events;
}

int FanGroup::open(unsigned flags) {
  // An overflowing queue would let operations through unseen, hence unlimited. The descriptor that comes with an event is an open of the
  // file: where somebody has a lease on it (F_SETLEASE) the read of the event would wait for him, for fs.lease-break-time if he
  // likes, and nobody would be answered. With O_NONBLOCK it fails (__break_lease(), fs/locks.c), and the kernel denies that
  // operation, of which nobody hears here.
  int fd = ::fanotify_init(flags | FAN_CLOEXEC | FAN_NONBLOCK | FAN_UNLIMITED_QUEUE | FAN_UNLIMITED_MARKS,
                           O_RDONLY | O_LARGEFILE | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return errno;
  fd_.reset(fd);
  return 0;
}

std::set<std::uint64_t> FanGroup::marked_inodes() const {
  // fanotify_fdinfo() in fs/notify/fdinfo.c: "fanotify ino:4f261 sdev:... mask:...".
  constexpr std::string_view kBefore = "fanotify ino:";
  std::set<std::uint64_t> inodes;
  std::istringstream in(read_proc("self/fdinfo/" + std::to_string(fd_.get())));
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(kBefore)) inodes.insert(std::strtoull(line.c_str() + kBefore.size(), nullptr, 16));
  return inodes;
}

int FanGroup::mark(unsigned flags, std::uint64_t mask, int file) const {
  return ::fanotify_mark(fd_.get(), flags, mask, file, nullptr) ? errno : 0;
}

int FanGroup::flush_marks(bool file_system) const {
  unsigned flags = FAN_MARK_FLUSH | (file_system ? FAN_MARK_FILESYSTEM : 0);
  return ::fanotify_mark(fd_.get(), flags, 0, AT_FDCWD, "/") ? errno : 0;
}

int FanGroup::read(std::span<char> buffer, std::vector<FanEvent>* events) const {
  const ssize_t length = ::read(fd_.get(), buffer.data(), buffer.size());
  if (length < 0) return errno;
  for (FanEvent& event : events_in(buffer.first(static_cast<std::size_t>(length)))) events->push_back(std::move(event));
  return 0;
}

bool FanGroup::readable() const {
  pollfd p{fd_.get(), POLLIN, 0};
  return ::poll(&p, 1, 0) > 0 && (p.revents & POLLIN);
}

int FanGroup::respond(int event_fd, std::uint32_t response) const {
  fanotify_response answer{event_fd, response};
  return ::write(fd_.get(), &answer, sizeof answer) == sizeof answer ? 0 : errno;
}

}  // namespace mrlease::sys
