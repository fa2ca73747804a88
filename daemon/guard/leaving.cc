// SPDX-License-Identifier: Apache-2.0
#include "daemon/guard/leaving.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace mrlease::guard {
namespace {

// include/linux/sched.h: PF_IO_WORKER, PF_USER_WORKER, PF_KTHREAD. They never return to user mode.
constexpr std::uint32_t kWorker = 0x00000010 | 0x00004000 | 0x00200000;
// Where such tasks sleep when they have nothing to do: io_uring/io-wq.c, io_uring/sqpoll.c, kernel/workqueue.c,
// kernel/kthread.c.
constexpr std::array kIdle = {"io_wq_worker", "io_wqe_worker", "io_sq_thread", "worker_thread", "kthread_worker_fn"};

// On a CPU all the time: in user mode, if so much of its time was spent there. Ticks are samples that the kernel scales,
// so one or two more prove nothing.
constexpr std::uint64_t kTicks = 4;

bool spun_in_user_mode(const sys::TaskStat& held, const sys::TaskStat& now) {
  std::uint64_t user = now.utime - held.utime, system = now.stime - held.stime;
  return now.utime > held.utime && user >= kTicks && user > system;
}

}  // namespace

bool is_worker(const sys::TaskStat& stat) { return stat.flags & kWorker; }

TaskView look_at_call(int tid) {
  TaskView view;
  view.tid = tid;
  view.call = sys::read_syscall(tid);
  return view;
}

void complete(TaskView* view) {
  view->stat = sys::read_stat(view->tid);
  if (!view->stat && !sys::is_gone(view->tid)) {  // no descriptor is left to look with, or no memory
    view->hidden = true;
    view->call.reset();
  }
  if (view->stat && is_worker(*view->stat)) view->wchan = sys::read_wchan(view->tid);
}

TaskView look(int tid) {
  TaskView view = look_at_call(tid);
  complete(&view);
  return view;
}

TaskView hidden_task(int tid) {
  TaskView view;
  view.tid = tid;
  view.hidden = !sys::is_gone(tid);
  return view;
}

bool has_left(const TaskView& held, const TaskView& now) {
  if (now.hidden) return false;
  if (!now.stat || now.stat->state == 'Z' || now.stat->state == 'X') return true;
  if (!held.stat) return false;  // was hidden from the start: only its end can be seen
  if (held.stat->start != now.stat->start) return true;
  if (is_worker(*now.stat))  // its system call is made up
    return std::any_of(kIdle.begin(), kIdle.end(), [&](const char* idle) { return now.wchan == idle; });
  bool told = held.call && now.call && !held.call->running && !now.call->running;
  if (told) return *held.call != *now.call;
  return spun_in_user_mode(*held.stat, *now.stat);
}

Clock::duration look_interval(unsigned n) {
  using std::chrono::microseconds;
  constexpr microseconds kSteps[] = {microseconds(200), microseconds(1000), microseconds(5000), microseconds(20000),
                                     microseconds(100000)};
  return kSteps[std::min<std::size_t>(n, std::size(kSteps) - 1)];
}

}  // namespace mrlease::guard
