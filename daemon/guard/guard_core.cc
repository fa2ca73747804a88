// SPDX-License-Identifier: Apache-2.0
#include "daemon/guard/guard_core.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "daemon/guard/lease_guard.h"
#include "daemon/guard/seal.h"

namespace mrlease::guard {
namespace {

// While files are watched the guard wakes up so often at least: for the dead man, and for notices that it has not been
// waiting for. One timer that goes on by itself: setting one costs whoever was just held (8 us in a virtual machine).
constexpr std::chrono::milliseconds kTick{250};

timespec to_timespec(std::chrono::nanoseconds t) {
  const auto ns = std::max<std::int64_t>(0, t.count());
  return {ns / 1000000000, ns % 1000000000};
}

[[noreturn]] void refuse(int error) {
  const char* text = "fanotify does not work here";
  if (error == EPERM) text = "fanotify needs CAP_SYS_ADMIN: run the daemon as root, outside a user namespace";
  if (error == ENOSYS) text = "the kernel has no fanotify: use one built with CONFIG_FANOTIFY=y";
  if (error == EMFILE) text = "no fanotify group left: raise fs.fanotify.max_user_groups or the limit of descriptors";
  throw std::system_error(error, std::generic_category(), text);
}

}  // namespace

std::unique_ptr<Guard> Guard::create(Options options, Listener listener, Heritage heritage) {
  return std::make_unique<GuardCore>(std::move(options), std::move(listener), true, std::move(heritage));
}

std::unique_ptr<Guard> create_lease_guard(Options options, Listener listener) {
  return std::make_unique<GuardCore>(std::move(options), std::move(listener), false);
}

GuardCore::GuardCore(Options options, Listener listener, bool precontent_allowed, Heritage heritage)
    : options_(std::move(options)), listener_(std::move(listener)), begun_(!heritage.follows) {
  if (heritage.journal != nullptr) journal_ = Journal(heritage.journal);
  // File names instead of descriptors: nothing of the file is opened by this group.
  if (heritage.notices) notices_.adopt(std::move(heritage.notices));
  else if (int error = notices_.open(FAN_CLASS_NOTIF | FAN_REPORT_FID | FAN_REPORT_TID)) refuse(error);
  leases_.open(std::move(heritage.perm), heritage.follows);
  ledger_.hold_back([this](const core::FileKey& file) { return leases_.settled(file); });
  if (precontent_allowed) start_precontent(&heritage);
  wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  alarm_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!wake_ || !alarm_) refuse(errno);
  heartbeat();
  lookout_ = Lookout::begin([this](Lookout& lookout, Lookout::Shift shift) { run({&lookout, shift}); });
}

void GuardCore::start_precontent(Heritage* heritage) {
  auto engine = std::make_unique<Precontent>(&desk_);
  int error = engine->start(std::move(heritage->arming), std::move(heritage->events));
  if (error == EINVAL || error == EOPNOTSUPP) return;  // older than 6.14: the lease guard
  if (error) refuse(error);
  for (const auto& root : options_.roots)
    if (int e = engine->arm_root(root)) arming_trouble_ += "; not armed: " + root + " (" + std::strerror(e) + ")";
  precontent_ = std::move(engine);
}

GuardCore::~GuardCore() {
  disarm();
  stop_ = true;
  wake();
  lookout_->end();
}

void GuardCore::wake() const {
  std::uint64_t one = 1;
  [[maybe_unused]] ssize_t n = ::write(wake_.get(), &one, sizeof one);  // full: it is awake already
}

std::string GuardCore::describe() const {
  std::string text = precontent_ ? "precontent (FAN_PRE_ACCESS), lease where a file system lacks it"
                                 : "lease (the kernel has no FAN_PRE_ACCESS: 6.14 or newer has)";
  return text + arming_trouble_;
}

Coverage GuardCore::watch(const core::FileKey& key, int fd) {
  std::lock_guard lock(mutex_);
  WatchedFile* file = files_.find(key);
  if (!file) {
    sys::Fd own(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
    if (!own) return {Kind::None, std::string("none: no descriptor left to watch the file: ") + std::strerror(errno)};
    sys::FileId id;
    sys::file_id(own.get(), &id);  // without one, changes are found by looking at the tasks only
    file = &files_.add(key, std::move(own), id);
    place(file);
    set_alarm(Clock::now() + tick());
  }
  ++file->watches;
  wake();  // new timers
  return {file->kind, file->text};
}

// Finds the best way to hold operations on a file.
void GuardCore::place(WatchedFile* file) {
  int fd = file->fd.get();
  if (auto sealed = sealed_memory(fd)) {
    file->kind = Kind::Seal;
    file->text = *sealed;
    return;
  }
  // Changes are to be seen before anything is held: the end of an operation may follow at once.
  int blind = notices_.mark(FAN_MARK_ADD, FAN_MODIFY, fd);
  if (precontent_ && precontent_->watch(file) == 0) return;
  if (!blind) blind = notices_.mark(FAN_MARK_ADD, FAN_MODIFY | FAN_OPEN | FAN_CLOSE, fd);
  leases_.watch(file);
  if (!blind) return;
  file->text += "; changes cannot be seen: " + std::string(std::strerror(blind));
  if (file->kind == Kind::Observe && !file->lease.perm_mark) file->kind = Kind::None;
}

void GuardCore::unwatch(const core::FileKey& key) {
  std::lock_guard lock(mutex_);
  WatchedFile* file = files_.find(key);
  if (!file || --file->watches > 0) return;
  notices_.mark(FAN_MARK_REMOVE, FAN_MODIFY | FAN_OPEN | FAN_CLOSE, file->fd.get());
  if (file->kind == Kind::Precontent) precontent_->unwatch(*file);
  else if (file->kind != Kind::Seal) leases_.unwatch(file);
  files_.remove(file);
  if (!files_.empty()) return;
  set_alarm({});
  wake();  // what has not left yet is looked at without it
}

std::chrono::nanoseconds GuardCore::tick() const { return std::min<std::chrono::nanoseconds>(kTick, options_.dead_man / 3); }

// At `due`, and then every tick. Clock's start: never.
void GuardCore::set_alarm(Clock::time_point due) {
  itimerspec at{};
  at.it_value = to_timespec(due.time_since_epoch());
  at.it_interval = to_timespec(tick());
  ::timerfd_settime(alarm_.get(), TFD_TIMER_ABSTIME, &at, nullptr);
}

void GuardCore::publish(const core::FileKey& key, const core::Needs& needs) {
  std::lock_guard lock(mutex_);
  if (WatchedFile* file = files_.find(key)) file->needs = needs;
}

void GuardCore::answer(core::BreakId id, int deny_errno, bool watch_leaving) {
  bool others_wait = false;
  {
    std::lock_guard lock(mutex_);
    // A held task makes no notification: all of its older ones are queued now, and must not count for what is let go.
    read_notices();
    ledger_.answer(id, deny_errno, watch_leaving);
    others_wait = ledger_.any_held();
  }
  // Whoever was let go may have been woken on this CPU, where all that follows would be in its way.
  if (!others_wait) ::sched_yield();
  std::lock_guard lock(mutex_);
  if (!outbox_.empty()) return wake();
  // Woken at once the guard thread would have nothing to do but take a CPU from whoever was let go.
  const auto due = next_due();
  if (due != Clock::time_point::max()) set_alarm(std::min(due, Clock::now() + tick()));
}

bool GuardCore::heartbeat() {
  const auto now = Clock::now();
  last_heartbeat_ = now.time_since_epoch().count();
  if (replied_ != asked_) return now - asked_at_ < options_.dead_man;
  ++asked_;
  asked_at_ = now;
  wake();
  return true;
}

void GuardCore::disarm() {
  std::lock_guard lock(mutex_);
  desk_.stand_open();
  ledger_.allow_all();
  if (precontent_) precontent_->disarm();
  leases_.disarm();
  notices_.flush_marks(false);
  wake();
}

void GuardCore::run(const Watch& watch) {
  deliver();
  for (Ready ready;; ready = wait_for_work()) {  // at first what whoever was on duty before has left undone
    const std::uint64_t asked = asked_;
    if (!take_events(watch, ready)) return;
    deliver();  // first: somebody waits for it
    if (!look_after(watch, ready)) return;
    deliver();
    replied_ = asked;
    if (stop_) return;  // whose bell may have been among those that were heard above
  }
}

// look: touches nothing of the guard's. unseen: what it is taken for where nobody is to look at that task. The lock is open meanwhile.
// Nothing: this thread is relieved, and the guard may be gone.
template <class LookAt, class Unseen>
auto GuardCore::at(const Watch& watch, Lock& lock, int tid, const LookAt& look, const Unseen& unseen) -> std::optional<decltype(look())> {
  if (!watch.lookout->goes(watch.shift, tid)) return unseen();
  lock.unlock();
  std::optional seen(look());
  if (!watch.lookout->is_back(watch.shift)) return {};
  lock.lock();
  return seen;
}

bool GuardCore::look_at_events(const Watch& watch, Lock& lock) {
  while (const auto look = desk_.next()) {
    auto sight = at(watch, lock, look->tid, [&] { return observe(*look); }, [&] { return see_nothing(*look); });
    if (!sight) return false;
    desk_.seen(*look, std::move(*sight));
  }
  return true;
}

bool GuardCore::look_at_passing(const Watch& watch, Lock& lock) {
  const auto now = Clock::now();
  auto due = ledger_.due(now);
  for (auto& [id, view] : due) {
    const int tid = view.tid;
    auto seen = at(watch, lock, tid, [tid] { return look(tid); }, [tid] { return hidden_task(tid); });
    if (!seen) return false;
    view = std::move(*seen);
  }
  ledger_.poll(now, std::move(due), [this] { read_notices(); });
  return true;
}

bool GuardCore::name_changes(const Watch& watch, Lock& lock) {
  while (const auto* change = outbox_.next_change()) {
    const int tid = change->tid;
    const auto comm = at(watch, lock, tid, [tid] { return sys::read_comm(tid); }, [] { return std::string("?"); });
    if (!comm) return false;
    outbox_.name_change(*comm);
  }
  return true;
}

Clock::time_point GuardCore::next_due() const {
  return std::min({ledger_.next_due(), begun_ ? leases_.next_due() : Clock::time_point::max(), desk_.next_due()});
}

GuardCore::Ready GuardCore::wait_for_work() {
  std::array<pollfd, 7> fds{{{wake_.get(), POLLIN, 0},
                             {alarm_.get(), POLLIN, 0},
                             {notices_.fd(), POLLIN, 0},
                             {-1, POLLIN, 0},
                             {leases_.perm_fd(), POLLIN, 0},
                             {precontent_ ? precontent_->fd() : -1, POLLIN, 0},
                             {-1, POLLIN, 0}}};
  timespec timeout{}, *limit = nullptr;
  {
    std::lock_guard lock(mutex_);
    fds[3].fd = leases_.taker().breaks_fd();
    fds[6].fd = leases_.taker().end_fd();
    // A break of which it is not known whether anything needs it would be let through.
    if (!begun_) fds[2].fd = fds[3].fd = fds[4].fd = fds[5].fd = fds[6].fd = -1;
    if (!leases_.reads_perm()) fds[4].fd = -1;
    // Something was just held: notices do not wake the guard before the next event, answer or tick. The FAN_MODIFY of the
    // operation would, perhaps on the CPU of the task that is still inside it.
    if (std::exchange(quiet_, false)) fds[2].fd = -1;
    const auto due = next_due();
    if (due != Clock::time_point::max()) {
      timeout = to_timespec(due - Clock::now());
      limit = &timeout;
    }
  }
  if (::ppoll(fds.data(), fds.size(), limit, nullptr) <= 0) return {};
  const bool notices = fds[2].fd < 0 || fds[2].revents != 0;
  const bool breaks = fds[3].revents != 0 || fds[6].revents != 0;
  return {notices, fds[0].revents != 0, fds[1].revents != 0, breaks, fds[4].revents != 0, fds[5].revents != 0};
}

bool GuardCore::take_events(const Watch& watch, const Ready& ready) {
  Lock lock(mutex_);
  // Notices that are older than an event are read before it, else they would pass for the event's.
  if (ready.notices) read_notices();
  if (ready.precontent) precontent_->on_readable();
  if (!look_at_events(watch, lock)) return false;
  if (ready.precontent) quiet_ = !outbox_.empty();
  return true;
}

bool GuardCore::look_after(const Watch& watch, const Ready& ready) {
  Lock lock(mutex_);
  std::uint64_t count;
  [[maybe_unused]] ssize_t n = 0;
  if (ready.wake) n = ::read(wake_.get(), &count, sizeof count);
  if (ready.alarm) n = ::read(alarm_.get(), &count, sizeof count);
  if (ready.breaks) leases_.on_breaks();
  if (ready.perm) leases_.on_perm_readable();
  desk_.poll(Clock::now());
  if (!look_at_events(watch, lock) || !look_at_passing(watch, lock) || !name_changes(watch, lock)) return false;
  const auto now = Clock::now();
  if (begun_ && now >= next_tick_) {  // and not with each alarm that an answer has set
    next_tick_ = now + tick();
    leases_.on_tick();
  }
  if (begun_) leases_.poll(now);
  check_main_loop(now);
  return true;
}

void GuardCore::read_notices() {
  alignas(fanotify_event_metadata) std::array<char, 8192> buffer;
  std::vector<sys::FanEvent> events;
  while (notices_.read(buffer, &events) == 0) {
    for (const auto& event : events) on_notice(event);
    events.clear();
  }
}

void GuardCore::on_notice(const sys::FanEvent& event) {
  WatchedFile* file = files_.find(event.id);
  if (!file) return;
  if (file->kind != Kind::Precontent) return leases_.on_notice(file, event.mask, event.tid);
  if (!(event.mask & FAN_MODIFY) || ledger_.modified(file->key, event.tid)) return;
  // Neither held nor let through just now: a descriptor from before the file system was armed.
  bool matters = file->needs.write || file->needs.destructive;
  if (!matters || file->passed.contains(event.tid) || sys::is_own_thread(event.tid)) return;
  outbox_.add_change({file->key, event.tid, " through a descriptor from before the file system was armed"});
}

void GuardCore::check_main_loop(Clock::time_point now) {
  Clock::duration silent = now.time_since_epoch() - Clock::duration(last_heartbeat_.load());
  if (failed_ || silent < options_.dead_man || !ledger_.any_held()) return;
  failed_ = true;
  if (options_.successor_comes) {  // to whom all that is held goes over, held
    outbox_.add([](const Listener& listener) { listener.failed("the main loop is silent: a successor takes over"); });
    return;
  }
  desk_.stand_open();  // nobody would answer
  ledger_.allow_all();
  outbox_.add([](const Listener& listener) {
    listener.failed("the main loop is silent: everything held was allowed; restart the daemon");
  });
}

void GuardCore::deliver() {
  std::vector<Outbox::Note> notes;
  {
    std::lock_guard lock(mutex_);
    notes = outbox_.take();
  }
  for (const auto& note : notes) note(listener_);
}

}  // namespace mrlease::guard
