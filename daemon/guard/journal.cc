// SPDX-License-Identifier: Apache-2.0
#include "daemon/guard/journal.h"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace mrlease::guard {

namespace {

constexpr std::uint32_t kHeld = 1, kAllowed = 2;

// As in keep/records.h: fields are only added, a zero means what a daemon without the field meant.
struct HeldRecord {
  std::atomic<std::uint32_t> used;  // kHeld, kAllowed
  std::uint32_t group;
  std::uint64_t mask, offset, count;
  std::int32_t tid;
  std::uint32_t has_range;
  std::uint64_t device, inode;
  std::uint32_t space[14];
};
static_assert(sizeof(HeldRecord) == 112);

struct PassingRecord {
  std::uint32_t used;  // by std::atomic_ref
  std::int32_t tid;
  std::uint64_t device, inode;
  std::uint32_t has_stat, flags;
  std::uint64_t utime, stime, start;
  std::uint32_t state, has_call, running;
  std::int32_t pad;
  std::int64_t number;
  std::uint64_t args[6], sp, pc;
  char wchan[64];
};

bool in_use(PassingRecord& r) { return std::atomic_ref(r.used).load() != 0; }
void use(PassingRecord& r, std::uint32_t value) { std::atomic_ref(r.used).store(value); }

PassingRecord pack(const core::FileKey& file, const TaskView& view) {
  PassingRecord r{};
  r.tid = view.tid;
  r.device = file.device;
  r.inode = file.inode;
  r.has_stat = view.stat.has_value();
  if (view.stat) {
    r.flags = view.stat->flags;
    r.utime = view.stat->utime;
    r.stime = view.stat->stime;
    r.start = view.stat->start;
    r.state = static_cast<unsigned char>(view.stat->state);
  }
  r.has_call = view.call.has_value();
  if (view.call) {
    r.running = view.call->running;
    r.number = view.call->number;
    std::copy(view.call->args.begin(), view.call->args.end(), r.args);
    r.sp = view.call->sp;
    r.pc = view.call->pc;
  }
  view.wchan.copy(r.wchan, sizeof r.wchan - 1);
  return r;
}

Passing unpack(const PassingRecord& r) {
  Passing p;
  p.file = {r.device, r.inode};
  p.view.tid = r.tid;
  if (r.has_stat) p.view.stat = sys::TaskStat{static_cast<char>(r.state), r.flags, r.utime, r.stime, r.start, {}};
  if (r.has_call) {
    sys::SyscallState call;
    call.running = r.running != 0;
    call.number = r.number;
    std::copy(std::begin(r.args), std::end(r.args), call.args.begin());
    call.sp = r.sp;
    call.pc = r.pc;
    p.view.call = call;
  }
  p.view.wchan = r.wchan;
  return p;
}

}  // namespace

struct Journal::Layout {
  std::atomic<std::int32_t> highest;      // number that was ever journaled
  std::atomic<std::uint32_t> reach;       // of passing
  std::atomic<std::uint32_t> reading;
  std::atomic<std::int32_t> unnoted;      // zero where an earlier daemon knew nothing of it; likewise the next
  std::atomic<std::int32_t> open_most;
  char pad[4076];
  HeldRecord held[kNumbersMax];
  PassingRecord passing[kPassingMax];
};

std::size_t Journal::bytes() { return (sizeof(Layout) + 4095) / 4096 * 4096; }

Journal::Journal(void* memory) : memory_(static_cast<Layout*>(memory)) {
  for (Slot i = std::min<Slot>(memory_->reach, kPassingMax); i-- > 0;)
    if (!in_use(memory_->passing[i])) free_.push_back(i);
}

void Journal::was_read(const sys::FanEvent& event, const core::FileKey& file, Group group) {
  const int number = event.fd.get();
  if (memory_ == nullptr || number < 0) return;
  if (number > memory_->highest) memory_->highest = number;
  got(number);
  if (number >= kNumbersMax) return;
  HeldRecord& r = memory_->held[number];
  r.group = static_cast<std::uint32_t>(group);
  r.mask = event.mask;
  r.tid = event.tid;
  r.has_range = event.has_range;
  r.offset = event.offset;
  r.count = event.count;
  r.device = file.device;
  r.inode = file.inode;
  r.used = kHeld;
}

void Journal::begin_read() {
  if (memory_ != nullptr) memory_->reading = 1;
}

void Journal::end_read() {
  if (memory_ != nullptr) memory_->reading = 0;
}

bool Journal::was_reading() const { return memory_ != nullptr && (memory_->reading != 0 || memory_->unnoted != 0); }

void Journal::begin_unnoted(int end, int taken) {
  taken_ = taken;
  if (memory_ != nullptr) memory_->unnoted = end;
}

// How many were open before counts no more: it includes what was only taken, if the one before was killed meanwhile.
void Journal::end_unnoted(int lowest_free) {
  taken_ = 0;
  if (memory_ == nullptr) return;
  memory_->open_most = lowest_free + 1;
  memory_->unnoted = 0;
  memory_->reading = 0;
}

void Journal::got(int number) {
  if (memory_ != nullptr && number - taken_ >= memory_->open_most) memory_->open_most = number - taken_ + 1;
}

int Journal::unnoted_below() const { return memory_ == nullptr ? 0 : static_cast<int>(memory_->unnoted); }

int Journal::open_most() const { return memory_ == nullptr ? 0 : static_cast<int>(memory_->open_most); }

void Journal::allows(int number) {
  if (memory_ != nullptr && number >= 0 && number < kNumbersMax) memory_->held[number].used = kAllowed;
}

void Journal::answered(int number) {
  if (memory_ != nullptr && number >= 0 && number < kNumbersMax) memory_->held[number].used = 0;
}

Journal::Slot Journal::passes(const core::FileKey& file, const TaskView& view) {
  if (memory_ == nullptr || view.tid == 0) return kNoSlot;
  Slot slot = kNoSlot;
  if (!free_.empty()) {
    slot = free_.back();
    free_.pop_back();
  } else if (memory_->reach < kPassingMax) {
    slot = memory_->reach++;
  } else {
    return kNoSlot;
  }
  PassingRecord& there = memory_->passing[slot];
  const PassingRecord packed = pack(file, view);
  there = packed;  // not marked yet
  use(there, 1);
  return slot;
}

void Journal::left(Slot slot) {
  if (memory_ == nullptr || slot == kNoSlot) return;
  use(memory_->passing[slot], 0);
  free_.push_back(slot);
}

std::vector<Orphan> Journal::orphans() const {
  std::vector<Orphan> out;
  if (memory_ == nullptr) return out;
  const int last = std::min<int>(memory_->highest, kNumbersMax - 1);
  for (int i = 0; i <= last; i++) {
    const HeldRecord& r = memory_->held[i];
    if (r.used == 0) continue;
    Orphan o{i, static_cast<Group>(r.group), r.mask, r.tid, r.has_range != 0, r.offset, r.count, {r.device, r.inode}, r.used == kAllowed};
    out.push_back(o);
  }
  return out;
}

std::vector<Passing> Journal::passing() const {
  std::vector<Passing> out;
  if (memory_ == nullptr) return out;
  for (Slot i = 0; i < std::min<Slot>(memory_->reach, kPassingMax); i++)
    if (in_use(memory_->passing[i])) {
      out.push_back(unpack(memory_->passing[i]));
      out.back().slot = i;
    }
  return out;
}

}  // namespace mrlease::guard
