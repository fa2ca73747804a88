// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/foreign.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/syscall.h>

#include <algorithm>

#include "tests/sim/world.h"

namespace mrlease::sim {

using core::BreakKind;

namespace {

constexpr std::uint32_t kIoWorker = 0x00000010;  // PF_IO_WORKER: what it shows is not what it does
constexpr u64 kStack = 0x7ffc00000000;

// The ledger's clock is a plain function, and there is one world at a time in a thread.
thread_local World* here = nullptr;

}  // namespace

Foreign::Foreign(World& world) : w_(world), ledger_(std::make_unique<guard::Ledger>(&outbox_, nullptr, virtual_now)) {
  here = &world;
  listener_.held = [this](const guard::ForeignOp& op) {
    w_.clock.in(0, [this, op, life = life_] {
      if (life == life_ && w_.daemon.up()) w_.daemon.held(op);
    });
  };
  listener_.left = [this](core::BreakId id, bool) {
    w_.clock.in(0, [this, id, life = life_] {
      if (life == life_ && w_.daemon.up()) w_.daemon.left(id);
    });
  };
}

guard::Clock::time_point Foreign::virtual_now() { return guard::Clock::time_point(std::chrono::milliseconds(here->clock.now())); }

guard::TaskView Foreign::look(int tid) {
  guard::TaskView view;
  view.tid = tid;
  const auto it = here->foreign.tasks_.find(tid);
  if (it == here->foreign.tasks_.end()) return view;  // the task is gone
  view.stat = it->second.facts.stat;
  view.call = it->second.facts.call;
  return view;
}

void Foreign::arrive(u64 luck) { start(next_tid_++, luck); }

void Foreign::start(int tid, u64 luck) {
  Dice d(luck);
  Task& t = tasks_[tid];
  t = {};
  t.tid = tid;
  t.luck = luck;
  t.file = &w_.files[d.upto(w_.files.size())];
  const u64 roll = d.upto(100);
  t.does = roll < 29 ? Does::Ftruncate : roll < 34 ? Does::Collapse : roll < 50 ? Does::Punch : roll < 66 ? Does::Write : roll < 82 ? Does::Read
           : roll < 90 ? Does::Direct : roll < 96 ? Does::Reflink : Does::OpenTrunc;
  const u64 most = w_.shape.pages * kPage;
  t.begin = d.upto(w_.shape.pages) * kPage;
  t.end = std::min(most, t.begin + (1 + d.upto(6)) * kPage);
  sys::SyscallState call;
  call.sp = kStack;
  call.args = {3, 0, t.end - t.begin, t.begin};
  t.event = {false, true, t.begin, t.end - t.begin, kPage, 0};
  const guard::FdFacts mine{true, O_RDWR}, other{false, O_RDONLY};
  switch (t.does) {
    case Does::Ftruncate:
      t.begin = d.chance(30) ? d.upto(most) : d.upto(w_.shape.pages + 1) * kPage;
      call.number = SYS_ftruncate;
      call.args = {3, t.begin};
      t.event.offset = t.begin / kPage * kPage;
      t.event.count = t.begin % kPage == 0 ? 0 : kPage;
      t.to = mine;
      break;
    case Does::OpenTrunc:
      t.begin = 0;
      call.number = SYS_openat;
      call.args = {static_cast<u64>(-100), 0, O_WRONLY | O_TRUNC};
      t.event = {true, false, 0, 0, kPage, 0};
      break;
    case Does::Punch:
      call.number = SYS_fallocate;
      call.args = {3, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, t.begin, t.end - t.begin};
      t.to = mine;
      break;
    case Does::Collapse:
      call.number = SYS_fallocate;
      call.args = {3, FALLOC_FL_COLLAPSE_RANGE, t.begin, t.end - t.begin};
      t.to = mine;
      break;
    case Does::Reflink:
      call.number = SYS_copy_file_range;
      call.args = {4, 0, 3, 0, t.end - t.begin, 0};
      t.from = other;
      t.to = mine;
      break;
    case Does::Write:
    case Does::Direct:
      call.number = SYS_pwrite64;
      t.to = guard::FdFacts{true, static_cast<u64>(O_RDWR | (t.does == Does::Direct ? O_DIRECT : 0))};
      break;
    case Does::Read:
      call.number = SYS_pread64;
      t.from = mine;
      break;
  }
  sys::TaskStat stat;
  stat.state = 'S';
  stat.start = luck;
  if (d.chance(10) && t.does != Does::Reflink) {  // an io_uring worker: it shows some call of its parent's
    stat.flags = kIoWorker;
    call.number = SYS_io_uring_enter;
  }
  t.facts = {stat, call};
  t.fails = d.chance(12);
  t.tells = d.chance(70);
  t.again = d.chance(10);
  const u64 bound = w_.shape.policy.passing_bound;
  t.runs = d.chance(80) ? d.upto(5) : d.chance(70) ? d.upto(bound) : bound + d.upto(2 * bound);
  t.endless = d.chance(1);
  guarded_ ? judge_when_read(tid) : go_unheld(tid);
}

void Foreign::write(File& file, u64 begin, u64 end, Done done) {
  const int tid = next_tid_++;
  Task& t = tasks_[tid];
  t.tid = tid;
  t.luck = mix(w_.seed, 10, tid);
  t.file = &file;
  t.does = Does::Write;
  t.begin = begin;
  t.end = end;
  sys::SyscallState call;
  call.sp = kStack;
  call.number = SYS_pwrite64;
  call.args = {3, 0, end - begin, begin};
  sys::TaskStat stat;
  stat.state = 'S';
  stat.start = t.luck;
  t.event = {false, true, begin, end - begin, kPage, 0};
  t.to = guard::FdFacts{true, O_RDWR};
  t.facts = {stat, call};
  t.done = std::move(done);
  guarded_ ? judge_when_read(tid) : go_unheld(tid);
}

// The kernel holds it until somebody reads.
void Foreign::judge_when_read(int tid) {
  if (w_.daemon.up()) judge(tid);
}

void Foreign::go_unheld(int tid) {
  Task& t = tasks_.at(tid);
  t.state = State::Running;
  t.let_go = w_.auditor.answers();
  t.endless = false;
  w_.clock.in(w_.draining ? 0 : t.runs, [this, tid, luck = t.luck] {
    const auto it = tasks_.find(tid);
    if (it != tasks_.end() && it->second.luck == luck && it->second.state == State::Running) leave(tid);
  });
}

void Foreign::judge(int tid) {
  Task& t = tasks_.at(tid);
  ledger_->came_again(t.file->key, tid);
  t.event.file_size = t.file->size;
  t.unwatched = t.file->unwatched;
  const guard::Verdict verdict = guard::classify(t.event, t.facts, t.from, t.to);
  const auto wanted = guard::wanted(verdict, w_.daemon.published(t.file->key));
  if (!wanted) {
    tell();
    t.let_go = w_.auditor.answers();
    w_.auditor.passed(t.file->key, verdict.kind, verdict.shortens, verdict.kind == BreakKind::Truncate ? core::Extent{verdict.new_size, core::kToEnd} : verdict.extent);
    carry_out(t);
    tasks_.erase(tid);
    return;
  }
  t.state = State::Held;
  guard::ForeignOp op;
  op.file = t.file->key;
  op.kind = wanted->kind;
  op.extent = wanted->extent;
  op.new_size = wanted->new_size;
  op.shortens = wanted->shortens;
  op.shorter_by = wanted->shorter_by;
  op.tid = tid;
  const core::BreakId id = ledger_->hold(op, look(tid), [this, tid](int deny) {
    const auto it = tasks_.find(tid);
    if (it == tasks_.end() || it->second.killed) {
      tasks_.erase(tid);
      return ENOENT;
    }
    if (deny == 0) return run(tid), 0;
    const auto done = it->second.done;
    tasks_.erase(it);
    if (done) done(deny, 0);
    return 0;
  });
  held_[id] = tid;
  t.id = id;
  w_.auditor.held(id, op.file, op.kind, w_.clock.now());
  tell();
}

void Foreign::run(int tid) {
  Task& t = tasks_.at(tid);
  t.state = State::Running;
  t.let_go = w_.auditor.answered_as(t.id);
  inside_.insert(t.id);
  if (t.endless && !w_.draining) return;
  w_.clock.in(w_.draining ? 0 : t.runs, [this, tid, luck = t.luck] {
    const auto it = tasks_.find(tid);
    if (it != tasks_.end() && it->second.luck == luck && it->second.state == State::Running) leave(tid);
  });
}

void Foreign::leave(int tid) {
  const Task t = tasks_.at(tid);
  carry_out(t);
  inside_.erase(t.id);
  inside_.erase(t.adopted);
  tasks_.erase(tid);
  if (t.fails && t.id != 0) w_.auditor.coverage().happened("an operation that failed after it was allowed");
  const bool changes = t.does != Does::Read && !t.fails;
  if (changes && t.tells && w_.daemon.up()) ledger_->modified(t.file->key, tid);
  if (t.again && !w_.draining) start(tid, mix(t.luck, 1));
  tell();
}

void Foreign::carry_out(const Task& t) {
  if (t.fails || t.killed) return;
  File& f = *t.file;
  switch (t.does) {
    case Does::Ftruncate:
    case Does::OpenTrunc: {
      const u64 first = (t.begin + kPage - 1) / kPage;
      w_.auditor.removes(f, first, f.pages.size(), true, t.unheard_of(), t.let_go);
      if (w_.auditor.overran(t.id)) w_.auditor.mislead(f, t.begin);
      f.unwatched += !t.known() && t.begin < f.size;
      f.size = t.begin;
      f.remove(first, f.pages.size());
      return;
    }
    case Does::Collapse: {  // what is behind it moves down; to the range's own end the kernel does not allow it
      if (t.end >= f.size || f.size % kPage != 0) return;
      // Else nobody can know where the file will end: DESIGN.md, What shortens a file.
      const bool told = (t.facts.stat->flags & kIoWorker) == 0 && !w_.auditor.overran(t.id) && t.unwatched == f.unwatched;
      w_.auditor.collapses(f, t.begin / kPage, t.end / kPage, told, t.unheard_of(), t.let_go);
      f.unwatched += !t.known();
      f.collapse(t.begin / kPage, t.end / kPage);
      return;
    }
    case Does::Punch:
    case Does::Direct:
    case Does::Reflink:
      w_.auditor.removes(f, t.begin / kPage, t.end / kPage, false, t.unheard_of(), t.let_go);
      f.remove(t.begin / kPage, t.end / kPage);
      if (t.does != Does::Punch) f.size = std::max(f.size, t.end);
      return;
    case Does::Write:
      if (t.done) return t.done(0, t.let_go);
      f.size = std::max(f.size, t.end);
      return;
    case Does::Read: return;
  }
}

void Foreign::kill(u64 luck) {
  std::vector<int> held;
  for (const auto& [tid, t] : tasks_)
    if (t.state != State::Running && !t.done) held.push_back(tid);
  if (held.empty()) return;
  const int tid = held[luck % held.size()];
  if (tasks_.at(tid).state == State::Waiting) tasks_.erase(tid);
  else tasks_.at(tid).killed = true;
}

void Foreign::answer(core::BreakId id, int deny_errno, bool watch_leaving) {
  // Nothing is owed to it afterwards: it is over at once. (How long such a one may take nobody can bound: see DESIGN.md.)
  if (const auto it = held_.find(id); it != held_.end() && tasks_.count(it->second) != 0) tasks_.at(it->second).watched = watch_leaving;
  if (const auto it = held_.find(id); it != held_.end() && !watch_leaving && tasks_.count(it->second) != 0) {
    tasks_.at(it->second).runs = 0;
    tasks_.at(it->second).endless = false;
  }
  held_.erase(id);
  w_.auditor.let_go(id);
  ledger_->answer(id, deny_errno, watch_leaving);
  tell();
}

void Foreign::tell() {
  for (const auto& note : outbox_.take()) note(listener_);
  arm();
}

void Foreign::arm() {
  const auto due = ledger_->next_due();
  if (due == guard::Clock::time_point::max()) return;
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(due.time_since_epoch()).count();
  const Time at = std::max<Time>(static_cast<Time>(ms), w_.clock.now() + 1);
  if (at >= armed_) return;
  armed_ = at;
  w_.clock.at(at, [this, at, life = life_] {
    if (armed_ != at || life != life_) return;
    armed_ = core::kNever;
    auto looks = ledger_->due(virtual_now());
    for (auto& watched : looks) watched.view = look(watched.view.tid);
    ledger_->poll(virtual_now(), std::move(looks), [] {});
    tell();
  });
}

void Foreign::daemon_died() {
  ++life_;
  armed_ = core::kNever;
  outbox_.take();
  held_.clear();
  inside_.clear();
  ledger_ = std::make_unique<guard::Ledger>(&outbox_, nullptr, virtual_now);
  for (auto it = tasks_.begin(); it != tasks_.end();) {
    if (it->second.state == State::Held) it->second.state = State::Waiting;
    it = it->second.killed ? tasks_.erase(it) : std::next(it);
  }
}

// The close of its groups lets go what they hold.
void Foreign::daemon_gone() {
  daemon_died();
  guarded_ = false;
  for (auto& [tid, t] : tasks_) t.forgotten = true;
  std::vector<int> held;
  for (const auto& [tid, t] : tasks_)
    if (t.state == State::Waiting) held.push_back(tid);
  for (const int tid : held) go_unheld(tid);
}

void Foreign::begin() {
  guarded_ = true;
  std::vector<int> waiting;
  for (auto& [tid, t] : tasks_) t.outlived |= t.state == State::Running;
  for (const auto& [tid, t] : tasks_)
    if (t.state == State::Waiting) waiting.push_back(tid);
  for (const int tid : waiting) judge(tid);
}

bool Foreign::inherited(const core::FileKey& file) const {
  return std::any_of(tasks_.begin(), tasks_.end(), [&](const auto& t) {
    return t.second.known_inside() && t.second.outlived && t.second.file->key == file;
  });
}

bool Foreign::passes() const {
  return std::any_of(tasks_.begin(), tasks_.end(), [](const auto& t) { return t.second.known_inside(); });
}

std::vector<guard::Overdue> Foreign::adopt() {
  std::vector<guard::Overdue> overdue;
  for (auto& [tid, t] : tasks_) {
    if (!t.known_inside()) continue;
    t.adopted = ledger_->adopt({t.file->key, look(tid)});
    inside_.insert(t.adopted);
    overdue.push_back({t.adopted, t.file->key});
  }
  return overdue;
}

void Foreign::hurry() {
  std::vector<int> running;
  for (const auto& [tid, t] : tasks_)
    if (t.state == State::Running) running.push_back(tid);
  for (const int tid : running) leave(tid);
}

}  // namespace mrlease::sim
