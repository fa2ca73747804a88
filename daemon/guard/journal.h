// SPDX-License-Identifier: Apache-2.0
// What is held and what is passing, in memory that outlives the process. An event that was read cannot be read again, but
// the kernel matches answers by the NUMBER that the descriptor had in the process that read it: so a successor that knows
// the numbers can hold on, and answer. Written without a system call, directly after the read.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "daemon/core/types.h"
#include "daemon/guard/leaving.h"
#include "daemon/sys/fanotify.h"

namespace mrlease::guard {

enum class Group : std::uint32_t { Precontent = 1, Perm = 2 };

// A predecessor's event that nobody has answered, as far as it could tell.
struct Orphan {
  int number = -1;
  Group group = Group::Precontent;
  std::uint64_t mask = 0;
  int tid = 0;
  bool has_range = false;
  std::uint64_t offset = 0, count = 0;
  core::FileKey file;    // no file's: it was killed before it had looked
  bool allowed = false;  // its answer was being given: it goes on, or does so already
  bool seen() const { return file != core::FileKey{}; }
};

// An operation that was allowed and had not left.
struct Passing {
  core::FileKey file;
  TaskView view;
  std::uint32_t slot = 0xffffffff;  // Journal::Slot
};

// Not thread-safe: the guard's lock is held around every call. One without memory does nothing.
class Journal {
 public:
  using Slot = std::uint32_t;
  static constexpr Slot kNoSlot = 0xffffffff;
  static constexpr int kNumbersMax = 65536;  // events on higher numbers are not known to a successor
  static constexpr Slot kPassingMax = 4096;

  Journal() = default;
  explicit Journal(void* memory);  // bytes() of it, zeros when new
  static std::size_t bytes();
  explicit operator bool() const { return memory_ != nullptr; }

  // Around a read of this group's queue, into the buffer that begin_read() gives. The kernel has put an event there before it
  // counts as read, and a kill takes effect when the read returns (fanotify_read(), fs/notify/fanotify/fanotify_user.c). So who is
  // killed within a read leaves there what it had got.
  std::span<char> begin_read(Group group);
  void end_read();
  void was_read(const sys::FanEvent& event, const core::FileKey& file, Group group);
  void allows(int number);    // before the kernel is told
  void answered(int number);  // before the number can be used again
  Slot passes(const core::FileKey& file, const TaskView& view);
  void left(Slot slot);

  // Of a predecessor that was killed within a read: what it had got and not noted is noted now, but for the files.
  void note_read();
  std::vector<Orphan> orphans() const;
  std::vector<Passing> passing() const;

 private:
  struct Layout;
  Layout* memory_ = nullptr;
  std::vector<Slot> free_;
  std::vector<char> own_buffer_;  // of one without memory
};

}  // namespace mrlease::guard
