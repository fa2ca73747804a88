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

// A page with what comes before it. Some 80 events, FAN_PRE_ACCESS with its range (48 bytes).
constexpr std::size_t kReadMax = 4064;

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
  std::atomic<std::uint32_t> reading;     // 0, or the group
  std::uint32_t space[5];
  alignas(8) char read[kReadMax];
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

std::span<char> Journal::begin_read(Group group) {
  if (memory_ == nullptr) {
    own_buffer_.resize(kReadMax);
    return own_buffer_;
  }
  std::memset(memory_->read, 0, sizeof memory_->read);
  memory_->reading = static_cast<std::uint32_t>(group);
  return memory_->read;
}

void Journal::end_read() {
  if (memory_ != nullptr) memory_->reading = 0;
}

void Journal::note_read() {
  if (memory_ == nullptr || memory_->reading == 0) return;
  for (sys::FanEvent& event : sys::events_in(memory_->read)) {
    const int number = event.fd.get();
    if (number >= 0 && number < kNumbersMax && memory_->held[number].used == 0) was_read(event, {}, static_cast<Group>(memory_->reading.load()));
    event.fd.release();  // a number of the predecessor's
  }
  end_read();
}

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
