// SPDX-License-Identifier: Apache-2.0
// Sessions: their beginning, their end, and the small things that all of the broker uses.
#include "daemon/session/broker.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "daemon/session/translate.h"
#include "daemon/sys/name_of.h"
#include "daemon/sys/own_proc.h"
#include "daemon/sys/peer_pidfd.h"
#include "daemon/sys/proc_task.h"

namespace mrlease::session {

// A client may still answer a predecessor's recall: its number must not be one of ours.
Broker::Broker(asio::io_context& loop, Options options, Log log, Kept kept)
    : loop_(loop),
      options_(std::move(options)),
      log_(std::move(log)),
      arbiter_(options_.policy, kept.state == nullptr ? 0 : kept.state->head().starts << 32),
      timer_(loop),
      stop_timer_(loop),
      grace_timer_(loop),
      frozen_timer_(loop),
      mailbox_(loop),
      kept_(kept),
      chronicle_(loop, [this](const core::FileKey& file) { return path_of(file); }) {
  arbiter_.set_policy(options_.policy, terms_of(options_.rules, options_.policy));
  if (!workers_.ready() || !writers_back_.ready()) throw std::system_error(EAGAIN, std::generic_category(), "no thread for work on files");
}

Broker::~Broker() = default;

guard::Listener Broker::listener(std::function<void(std::string)> failed) {
  guard::Listener listener;
  listener.coming = [this] { mailbox_.announce(); };
  listener.held = [this](guard::ForeignOp op) {
    mailbox_.post([this, op = std::move(op)] {
      log_(0, "held: " + op.what);
      if (options_.break_something) return guard_->answer(op.id, 0, false);
      // The library maps the file in what it is recalled for, and would wait for itself behind the break that asks it, when others have bounce
      // pages there. No mapping is told of what comes into the file later, either.
      if (op.maps && has_lease(op.tid, op.file)) return guard_->answer(op.id, 0, false);
      // It may be another's: that one would wait for the thaw, and all other leases be out of its way, for the whole hold.
      if (!op.file_known) thaw_file(op.file);
      guard_breaks_[op.id] = op.file;
      chronicle_.foreign(op.id, op.tid, op.what);
      step(core::event::RequestBreak{op.id, op.file, op.kind, op.extent, op.new_size, 0, 0, op.tid != 0, 0, op.shortens, op.shorter_by});
    });
  };
  listener.left = [this](core::BreakId id, bool sure) {
    mailbox_.post([this, id, sure] {
      const auto it = guard_breaks_.find(id);
      if (it == guard_breaks_.end()) return;
      log_(0, "left: break " + std::to_string(id) + (sure ? "" : " (not known for sure)"));
      step(core::event::OperationLeft{id, file_size(it->second)});
    });
  };
  listener.observed = [this](core::FileKey file, std::string what) {
    mailbox_.post([this, file, what = std::move(what)] {
      log_(2, "late: " + what);
      if (options_.break_something || files_.count(file) == 0) return;
      changed_unheld(file, what);
    });
  };
  listener.failed = std::move(failed);
  return listener;
}

// Nothing was held: all that is left is to tell, and to take over the file's new end and, into bounce pages, its bytes.
void Broker::changed_unheld(const core::FileKey& file, const std::string& what) {
  const auto ask = [&](core::event::RequestBreak b) {
    guard_breaks_[b.id] = file;
    chronicle_.late(b.id, what);
    step(b);
  };
  const std::uint64_t size = file_size(file);
  ask({next_api_break_++, file, core::BreakKind::Truncate, {size, core::kToEnd}, size});
  // Who writes all the time is taken over once and again, and not once for each of his writes.
  if (const auto taking = taking_over_.find(file); taking != taking_over_.end()) {
    taking->second.again = true;
    return;
  }
  const core::BreakId id = next_api_break_++;
  taking_over_[file] = {id, false};
  ask({id, file, core::BreakKind::Write, {}});
}

void Broker::took_over(core::BreakId id) {
  const auto taken = std::find_if(taking_over_.begin(), taking_over_.end(), [&](const auto& each) { return each.second.id == id; });
  if (taken == taking_over_.end()) return;
  const auto [file, taking] = *taken;
  taking_over_.erase(taken);
  if (taking.again && files_.count(file) != 0) changed_unheld(file, "changed while a change was taken over");
}

void Broker::reconfigure(const Options& options) {
  options_ = options;
  step(core::event::Tick{});  // other terms count from now
  arbiter_.set_policy(options_.policy, terms_of(options_.rules, options_.policy));
  for (const auto& [id, lease] : leases_) arbiter_.set_terms(id, ruling(options_.rules, lease->fd.get(), lease->user, lease->write, lease->backing).rule);
  arm_timer();
}

// By the file's name of now.
Ruling Broker::ruling(const std::vector<Rule>& rules, int file, uid_t user, bool write, core::Backing backing) {
  if (rules.empty()) return {};
  return judge(rules, sys::name_of(file), user, write, backing);
}

std::uint64_t Broker::microseconds() {
  return static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now().time_since_epoch()).count());
}

std::chrono::microseconds Broker::patience(uid_t user) const {
  const auto pace = paces_.find(user);
  if (pace == paces_.end()) return {};
  return std::chrono::microseconds(pace->second.wait(microseconds(), options_.messages_per_second_max));
}

core::Time Broker::now() const { return microseconds() / 1000; }

bool Broker::has_lease(int task, const core::FileKey& file) {
  return std::any_of(leases_.begin(), leases_.end(), [&](const auto& each) {
    const Session* s = each.second->file == file ? find_session(each.second->session) : nullptr;
    return s != nullptr && sys::is_thread_of(s->peer.pid, task);
  });
}

void Broker::accept(Connection::Socket socket) {
  ucred credentials{};
  socklen_t length = sizeof credentials;
  if (::getsockopt(socket.native_handle(), SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) return;
  // Up to here Hello is answered with it.
  if (const Verdict room = check_room(socket.native_handle(), 0.5); room.code != 0) return log_(2, room.message + "; a client is refused");
  if (const Verdict v = check_room_of(credentials.uid, {.sessions = 1, .descriptors = 2}); v.code != 0)
    return log_(2, "a client of user " + std::to_string(credentials.uid) + " is refused: " + v.message);  // the socket closes
  auto session = std::make_unique<Session>();
  session->id = next_session_++;
  session->peer = {credentials.pid, credentials.uid, credentials.gid};
  session->connection = std::make_shared<Connection>(std::move(socket));
  const int pidfd = sys::pidfd_of_peer(session->connection->native_handle(), credentials.pid, credentials.uid);
  // 0: of no pid namespace of ours, which Hello is answered with. Of any other we must have one: a fence may have to kill it.
  if (const int why = errno; pidfd < 0 && credentials.pid != 0) {
    log_(2, "process " + std::to_string(credentials.pid) + " of user " + std::to_string(credentials.uid) +
                " has connected, and is gone or another's by now (" + std::strerror(why) + "): refused");
    return;
  }
  if (pidfd >= 0) session->pidfd = fence::SharedFd(pidfd);
  const core::SessionId id = session->id;
  Session& s = *(sessions_[id] = std::move(session));
  charge(s);
  s.connection->start([this, id](wire::Frame f, std::vector<wire::Fd>& fds) { on_frame(id, std::move(f), fds); },
                      [this, id](std::string why) { session_closed(id, why); }, [this, user = s.peer.uid] { return patience(user); });
  watch_exit(s);
}

// A forked child may hold the socket open: the end of the process is seen on its pidfd.
void Broker::watch_exit(Session& s) {
  if (!s.pidfd) return;
  // Without a duplicate: with the socket and a lease's file it is three descriptors a connection. So the watch gives it back at its end.
  s.exit_watch = {new asio::posix::stream_descriptor(loop_, s.pidfd.get()), [pidfd = s.pidfd](asio::posix::stream_descriptor* watch) {
                    watch->release();
                    delete watch;
                  }};
  s.exit_watch->async_wait(asio::posix::stream_descriptor::wait_read,
                           [this, id = s.id, keep = s.exit_watch](const asio::error_code& error) {
                             if (!error) session_closed(id, "the process has ended");
                           });
}

// First the device access ends, then what was owed is merged, then everything is freed: design.md section 4.
void Broker::session_closed(core::SessionId id, const std::string& why) {
  Session* s = find_session(id);
  if (s == nullptr || s->gone) return;
  s->gone = true;
  chronicle_.session_ended(id, why, s->leases.size());
  if (s->exit_watch) s->exit_watch->cancel();
  log_(s->leases.empty() ? 0 : 1, "session " + std::to_string(id) + " (" + s->program + "): " + why);
  Leases leases;
  for (const core::LeaseId lease_id : s->leases)
    if (auto lease = find_lease(lease_id)) leases.push_back(std::move(lease));
  fence_session(id, leases, false, [this, id, leases](fence::Outcome) {
    // A client that lives brings back to the file, when it hears of it, what a break has got out of the way: not sooner.
    if (Session* still = find_session(id)) still->connection->close();
    drop_descriptors(id, [this, id, leases] { rescue_trimmed(leases, [this, id] { session_ended(id); }); });
  });
}

void Broker::session_ended(core::SessionId id) {
  step(core::event::SessionGone{id});
  for (auto it = requests_.begin(); it != requests_.end();)
    it = it->second.session == id ? requests_.erase(it) : std::next(it);
  // A Register that still waited is known to nobody else.
  if (Session* s = find_session(id)) {
    const std::set<core::LeaseId> left = s->leases;
    for (const core::LeaseId lease : left)
      if (arbiter_.find(lease) == nullptr) drop_lease(lease);
  }
  if (Session* s = find_session(id)) {
    outliving_.insert(s->leases.begin(), s->leases.end());
    forget_session(*s);
  }
  sessions_.erase(id);
  accounts_.forget_unused();
  std::erase_if(paces_, [now = microseconds()](const auto& pace) { return pace.second.idle(now); });
  note_holders();
}

void Broker::stop(std::function<void()> done) {
  if (stopping_) return;
  stopping_ = true;
  auto left = std::make_shared<std::size_t>(1);
  const auto finish = [this, done = std::move(done)] {
    if (!keeps())  // else a successor may come, and nobody has to notice
      for (auto& [id, s] : sessions_) s->connection->close();
    timer_.cancel();
    grace_timer_.cancel();
    frozen_timer_.cancel();
    done();
  };
  const auto one_less = [left, finish] {
    if (--*left == 0) finish();
  };
  // Clients go on using their bounce pages; nobody writes them to the file any more after this, unless a successor comes,
  // to whom a freeze goes over: whoever copies the frozen file must not see a change of it.
  for (const auto& [id, lease] : leases_) {
    if (!lease->bounce || !lease->write || (keeps() && frozen_now(*lease))) continue;
    ++*left;
    in_worker([bounce = lease->bounce] { bounce->flush(); }, one_less);
  }
  stop_timer_.expires_after(std::chrono::milliseconds(options_.policy.work_deadline));
  stop_timer_.async_wait([left, finish](const asio::error_code& error) {
    if (!error && *left != 0) finish();
  });
  one_less();
}

Session* Broker::find_session(core::SessionId id) {
  const auto it = sessions_.find(id);
  return it == sessions_.end() ? nullptr : it->second.get();
}

std::shared_ptr<LeaseHold> Broker::find_lease(core::LeaseId id) {
  const auto it = leases_.find(id);
  return it == leases_.end() ? nullptr : it->second;
}

std::shared_ptr<LeaseHold> Broker::own_lease(Session& s, core::LeaseId id, core::RequestId request) {
  auto lease = find_lease(id);
  if (lease && lease->session == s.id) return lease;
  reply_status(s.id, request, ENOENT, "no lease " + std::to_string(id) + " of this session");
  return nullptr;
}

void Broker::reply(Session& s, core::RequestId request, wire::Frame frame, std::vector<fence::SharedFd> fds) {
  if (s.gone) return;
  frame.set_id(s.next_frame++);
  frame.set_reply_to(request);
  s.connection->send(frame, std::move(fds));
}

void Broker::reply_status(core::SessionId session, core::RequestId request, int code, std::string message) {
  Session* s = find_session(session);
  if (s == nullptr) return;
  wire::Frame frame;
  frame.mutable_status()->set_code(code);
  if (code != 0) frame.mutable_status()->set_message(message.empty() ? std::strerror(code) : message);
  reply(*s, request, std::move(frame));
}

void Broker::notice(LeaseHold& lease, wire::v1::Notice::Kind kind, std::uint64_t size, std::string message) {
  Session* s = find_session(lease.session);
  if (s == nullptr) return;
  wire::Frame frame;
  auto* body = frame.mutable_notice();
  body->set_lease(lease.id);
  body->set_kind(kind);
  body->set_size(size);
  body->set_message(std::move(message));
  reply(*s, 0, std::move(frame));
}

core::RequestId Broker::new_request(core::SessionId session, core::RequestId frame_id, core::LeaseId lease) {
  const core::RequestId id = next_request_++;
  requests_[id] = {session, frame_id, lease};
  return id;
}

// Only of files that hold a lease: their descriptor was checked, so that fstat cannot block.
std::uint64_t Broker::file_size(const core::FileKey& file) {
  const auto it = files_.find(file);
  struct stat st {};
  if (it == files_.end() || ::fstat(it->second.fd.get(), &st) != 0) return 0;
  return static_cast<std::uint64_t>(st.st_size);
}

std::string Broker::path_of(const core::FileKey& file) const {
  const auto it = files_.find(file);
  int fd = it == files_.end() ? -1 : it->second.fd.get();
  for (const auto& [id, api] : api_breaks_)
    if (fd < 0 && api.file == file) fd = api.fd.get();
  return fd < 0 ? std::string() : sys::link_of(fd);
}

void Broker::charge(Session& s) {
  // The socket and the process, its devices, its userfaultfd.
  s.charge = accounts_.charge(s.peer.uid, {.sessions = 1, .descriptors = 2 + s.devices.size() + (s.userfaultfd ? 1 : 0)});
}

void Broker::charge(LeaseHold& lease) {
  lease.charge = accounts_.charge(lease.user, usage_of(lease.backing, lease.extent.end - lease.extent.begin));
}

Usage Broker::usage_of(core::Backing backing, std::uint64_t length) {
  if (backing != core::Backing::Bounce) return {.leases = 1, .descriptors = 1};
  return {.leases = 1, .bounce_bytes = length, .descriptors = 3};  // the file, the pages, the notes of what was flushed
}

void Broker::drop_lease(core::LeaseId id) {
  const auto it = leases_.find(id);
  if (it == leases_.end()) return;
  const auto lease = it->second;
  leases_.erase(it);
  outliving_.erase(id);
  forget_lease(*lease);
  for (const core::RecallId recall : std::exchange(lease->recalls, {})) recalls_.erase(recall);
  lease->charge.reset();
  if (Session* s = find_session(lease->session)) {
    s->leases.erase(id);
    if (s->leases.empty()) note_holders();
  }
  // What it holds may be large or a device's last descriptor: closing takes time.
  workers_.run([lease] {});
  const auto file = files_.find(lease->file);
  if (file == files_.end()) return;
  FileEntry& entry = file->second;
  if (--entry.leases == 0) {
    guard_->unwatch(lease->file);
    files_.erase(file);
    return;
  }
  if (entry.fd_owner != id) return;
  // The guard has a duplicate of its own; ours goes over to another lease's.
  for (const auto& [other_id, other] : leases_) {
    if (other->file != lease->file) continue;
    entry.fd = other->fd;
    entry.fd_owner = other_id;
    return;
  }
}

}  // namespace mrlease::session
