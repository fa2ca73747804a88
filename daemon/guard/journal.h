// SPDX-License-Identifier: Apache-2.0
// What is held and what is passing, in memory that outlives the process. An event that was read cannot be read again, but
// the kernel matches answers by the NUMBER that the descriptor had in the process that read it: so a successor that knows
// the numbers can hold on, and answer. Written without a system call, directly after the read.
#pragma once

#include <cstdint>
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
  core::FileKey file;
  bool allowed = false;  // its answer was being given: it goes on, or does so already
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

  // Around a read: who is killed between may have taken events that are not in the journal.
  void begin_read();
  void end_read();
  void was_read(const sys::FanEvent& event, const core::FileKey& file, Group group);
  void allows(int number);    // before the kernel is told
  void answered(int number);  // before the number can be used again
  Slot passes(const core::FileKey& file, const TaskView& view);
  void left(Slot slot);

  // Somebody may be held of whom there is no note, by an event with a number below `end`; `taken` of those numbers are only taken for that.
  void begin_unnoted(int end, int taken);
  void end_unnoted(int lowest_free);  // nobody is any more, nor by a read that nothing has followed
  // A descriptor has come, and has the lowest number that was free.
  void got(int number);

  // Of the predecessor: was it killed within a read, or did it know that one before it was? And below which number, if it did.
  bool was_reading() const;
  int unnoted_below() const;
  int open_most() const;  // descriptors that were open at once, as far as got() tells
  std::vector<Orphan> orphans() const;
  std::vector<Passing> passing() const;

 private:
  struct Layout;
  Layout* memory_ = nullptr;
  std::vector<Slot> free_;
  int taken_ = 0;  // begin_unnoted()
};

}  // namespace mrlease::guard
