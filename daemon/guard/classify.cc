// SPDX-License-Identifier: Apache-2.0
#include "daemon/guard/classify.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>

#include <algorithm>

#include "daemon/guard/syscall_family.h"

namespace mrlease::guard {
namespace {

using core::BreakKind;
using core::Extent;

// Flags of a task behind whose shown system call something else may run; include/linux/sched.h.
constexpr std::uint32_t kExiting = 0x00000004;     // PF_EXITING: process accounting
constexpr std::uint32_t kIoWorker = 0x00000010;    // PF_IO_WORKER: io_uring
constexpr std::uint32_t kDumpCore = 0x00000200;    // PF_DUMPCORE
constexpr std::uint32_t kUserWorker = 0x00004000;  // PF_USER_WORKER, 6.4: vhost, io_uring
constexpr std::uint32_t kKernel = 0x00200000;      // PF_KTHREAD: knfsd, loop, ...
constexpr std::uint32_t kUntold = kExiting | kIoWorker | kDumpCore | kUserWorker | kKernel;

// Read and write flags that leave buffered I/O what it is; include/uapi/linux/fs.h. RWF_NOAPPEND 0x20 is 6.9's,
// RWF_ATOMIC (6.11) is direct I/O, RWF_DONTCACHE (6.14) drops pages.
constexpr std::uint32_t kTameRwf = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT | RWF_APPEND | 0x20;

bool in_native_call(const sys::SyscallState& call) {
  // A 32-bit task's stack lies below 4 GiB. (Its code too, but so does that of a static 64-bit program.)
  return !call.running && call.number >= 0 && call.sp >> 32 != 0;
}

Extent range_of(const EventFacts& event) {
  if (!event.has_range || event.count == 0 || event.offset + event.count < event.offset) return {};
  return {event.offset, event.offset + event.count};
}

// The kernel's event of truncate and ftruncate: from the page of the new end, nothing, or one page when the end is
// inside it.
bool may_truncate(const EventFacts& event) {
  return event.has_range && (event.count == 0 || event.count == event.page);
}

Verdict verdict(BreakKind kind, Extent extent, std::string name) {
  Verdict out;
  out.kind = kind;
  out.extent = extent;
  out.name = std::move(name);
  return out;
}

Verdict truncation(std::uint64_t size, std::string name) {
  Verdict out = verdict(BreakKind::Truncate, {size, core::kToEnd}, std::move(name));
  out.new_size = size;
  return out;
}

Verdict doubtful(const EventFacts& event, std::string name) {
  Verdict out;
  if (event.open) {
    out = truncation(0, "open, possibly O_TRUNC, by " + name);
  } else if (may_truncate(event)) {
    // Also a punch, a write or a read of that page: what has been written elsewhere has to be in the file before, and in the lease after it.
    out = verdict(BreakKind::Destructive, {event.offset, core::kToEnd}, name);
    out.shortens = true;
    out.new_size = event.offset;
  } else {
    out = verdict(BreakKind::Destructive, {}, name);
  }
  out.doubtful = true;
  return out;
}

bool is_file(const std::optional<FdFacts>& fd) { return fd && fd->same_file; }

bool tame_flags(const CallShape& shape, const sys::SyscallState& call) {
  return shape.flags < 0 || !(static_cast<std::uint32_t>(call.args[shape.flags]) & ~kTameRwf);
}

Verdict write(const EventFacts& event, const sys::SyscallState& call, const CallShape& shape, const FdFacts& fd) {
  std::uint32_t rwf = shape.family == Family::Write && shape.flags >= 0 ? call.args[shape.flags] : 0;
  // An appending write lands at the end of the file, the event shows where the description stood.
  bool append = (fd.flags & O_APPEND) || (rwf & RWF_APPEND);
  Extent extent = append ? Extent{} : range_of(event);
  if (fd.flags & O_DIRECT) return verdict(BreakKind::Destructive, extent, std::string("O_DIRECT ") + shape.name);
  bool tame = shape.family != Family::Write || tame_flags(shape, call);
  return verdict(tame ? BreakKind::Write : BreakKind::Destructive, extent, shape.name);
}

// Source or destination is told by which descriptor is the file.
Verdict move(const EventFacts& event, const sys::SyscallState& call, const CallShape& shape,
             const std::optional<FdFacts>& from, const std::optional<FdFacts>& to) {
  if (!from || !to || from->same_file == to->same_file) return doubtful(event, shape.name);
  if (from->same_file) return verdict(BreakKind::Read, range_of(event), std::string(shape.name) + " from it");
  // copy_file_range may share blocks instead of copying, which removes the destination's pages.
  if (shape.family == Family::CopyRange)
    return verdict(BreakKind::Destructive, range_of(event), std::string(shape.name) + " to it");
  return write(event, call, shape, *to);
}

Verdict truncate(const EventFacts& event, const sys::SyscallState& call, const char* name) {
  std::uint64_t size = call.args[1];
  bool agrees = may_truncate(event) && event.offset == size / event.page * event.page;
  return agrees ? truncation(size, name) : doubtful(event, name);
}

Verdict fallocate(const EventFacts& event, const sys::SyscallState& call) {
  auto mode = static_cast<std::uint32_t>(call.args[1]);
  if (!(mode & ~FALLOC_FL_KEEP_SIZE)) return verdict(BreakKind::Write, range_of(event), "fallocate");
  // Collapse and insert move everything behind.
  bool shifts = mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE);
  Extent extent = shifts ? Extent{event.offset, core::kToEnd} : range_of(event);
  const char* name = mode & FALLOC_FL_PUNCH_HOLE ? "fallocate (punch hole)" : "fallocate (collapse, insert or zero)";
  Verdict out = verdict(BreakKind::Destructive, extent, name);
  // Where it waits behind what shortens the file as well, the arbiter counts from there.
  // One beyond the file's end is refused by the kernel, but the file may have grown by the time.
  const std::uint64_t length = call.args[3];
  out.shortens = mode & FALLOC_FL_COLLAPSE_RANGE;
  if (out.shortens) {
    out.new_size = std::max(event.offset, event.file_size - std::min(event.file_size, length));
    out.shorter_by = length;
  }
  return out;
}

Verdict classify_open(const EventFacts& event, const sys::SyscallState& call, const CallShape& shape) {
  Verdict harmless;
  harmless.hold = false;
  if (shape.family == Family::Exec) return harmless;
  if (shape.family != Family::Open) return doubtful(event, shape.name);
  if (!opens_to_truncate(call)) return harmless;
  return truncation(0, shape.flags < 0 ? shape.name : std::string(shape.name) + " (O_TRUNC)");
}

}  // namespace

bool trusted(const TaskFacts& task) {
  return task.stat && task.call && !(task.stat->flags & kUntold) && in_native_call(*task.call);
}

bool reads_or_writes(const sys::SyscallState& call) {
  if (!in_native_call(call)) return false;
  const Family family = call_shape(call).family;
  return family == Family::Read || family == Family::Write;
}

bool opens_to_truncate(const sys::SyscallState& call) {
  const CallShape shape = call_shape(call);
  return shape.family == Family::Open && (shape.flags < 0 || (call.args[shape.flags] & O_TRUNC) != 0);
}

CallFds call_fds(const sys::SyscallState& call) {
  CallShape shape = call_shape(call);
  auto fd = [&](int argument) { return argument < 0 ? -1 : static_cast<int>(call.args[argument]); };
  return {fd(shape.from), fd(shape.to)};
}

Verdict classify(const EventFacts& event, const TaskFacts& task, const std::optional<FdFacts>& from,
                 const std::optional<FdFacts>& to) {
  if (!trusted(task)) return doubtful(event, "a task whose operation cannot be told");
  const sys::SyscallState& call = *task.call;
  CallShape shape = call_shape(call);
  if (event.open) return classify_open(event, call, shape);
  switch (shape.family) {
    case Family::Read:
      if (!is_file(from)) break;
      return verdict(tame_flags(shape, call) ? BreakKind::Read : BreakKind::Destructive, range_of(event), shape.name);
    case Family::Write:
      if (!is_file(to)) break;
      return write(event, call, shape, *to);
    case Family::Move:
    case Family::CopyRange: return move(event, call, shape, from, to);
    case Family::Ftruncate:
      if (!is_file(to)) break;
      return truncate(event, call, shape.name);
    case Family::Truncate: return truncate(event, call, shape.name);
    case Family::Fallocate:
      if (!is_file(to)) break;
      return fallocate(event, call);
    case Family::Madvise: return verdict(BreakKind::Destructive, range_of(event), shape.name);
    default: break;
  }
  return doubtful(event, std::string(shape.name) + " (system call " + std::to_string(call.number) + ")");
}

std::optional<Verdict> wanted(const Verdict& verdict, const core::Needs& needs) {
  if (!verdict.hold) return {};
  Verdict out = verdict;
  auto as = [&](BreakKind kind) {
    out.kind = kind;
    return out;
  };
  switch (verdict.kind) {
    case BreakKind::Truncate:
      if (needs.truncate) return out;
      if (!verdict.doubtful) return {};
      [[fallthrough]];
    case BreakKind::Destructive:
      if (needs.destructive || (needs.truncate && verdict.shortens))
        return as(BreakKind::Destructive);
      [[fallthrough]];
    case BreakKind::Write:
      if (needs.write) return as(BreakKind::Write);
      // What cannot be told may be a read as well; a known write is not.
      if (!verdict.doubtful) return {};
      [[fallthrough]];
    default: return needs.read ? std::optional(as(BreakKind::Read)) : std::nullopt;
  }
}

}  // namespace mrlease::guard
