// SPDX-License-Identifier: Apache-2.0
#include "daemon/admin/drain.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "daemon/admin/words.h"
#include "daemon/sys/own_proc.h"

namespace mrlease::admin {

using std::chrono::milliseconds;
using std::chrono::system_clock;

namespace {

constexpr milliseconds kUsualTimeout{60000};
// Before the call's own deadline: the answer, which names what is left, has to reach the caller.
constexpr milliseconds kAnswerTime{200};
constexpr int kLeftMax = 1000;

}  // namespace

struct Drainer::Job {
  Job(CallPtr c, const v1::DrainRequest* q, v1::DrainResponse* r) : call(std::move(c)), request(q), response(r), timer(call->loop()) {}
  CallPtr call;
  const v1::DrainRequest* request;  // both are gone when the call is over
  v1::DrainResponse* response;
  asio::steady_timer timer;
  Area area;
  bool keep = false, over = false;
  std::size_t asked = 0;           // revokes under way
  std::vector<core::BreakId> breaks;
  std::vector<std::weak_ptr<const void>> held;
};

Drainer::Drainer(asio::io_context& loop, session::AdminView& view, Resolver& resolver, Drains* kept)
    : loop_(loop), view_(view), resolver_(resolver), kept_(kept) {
  if (kept_ == nullptr) return;
  kept_->each([this](keep::Slot slot, const keep::DrainRecord& r) {
    banned_.push_back({{std::string(r.path, ::strnlen(r.path, sizeof r.path)), r.mount, r.device}, 1, slot});
  });
  publish();
}

// Neither readlink nor fdinfo of a descriptor touches its file system. The number of a mount that is gone is another's some
// day: what is mounted there now counts only where the drained one was.
bool Drainer::holds(const Area& area, const core::FileKey& key, int fd, const std::vector<sys::Mount>& own) {
  const int id = sys::mount_id(fd);
  const sys::Mount* mount = sys::find_mount(own, id);
  // The path of a file on somebody else's mount is one of somebody else's tree.
  if (mount == nullptr) return area.mount >= 0 && key.device == area.device;
  return (id == area.mount && mount->point == area.path) || sys::is_under(sys::link_of(fd), area.path);
}

std::vector<core::FileKey> Drainer::files_in(const Area& area) const {
  const auto mounts = sys::read_mounts();
  std::vector<core::FileKey> files;
  for (const auto& key : view_.files({}, static_cast<std::size_t>(-1)))
    if (const auto fd = view_.descriptor(key); fd && holds(area, key, fd.get(), mounts)) files.push_back(key);
  return files;
}

void Drainer::find(const CallPtr& call, const std::string& path, std::function<void(Area)> then) {
  struct Found { grpc::Status status; Area area; };
  auto found = std::make_shared<Found>();
  resolver_.in_worker(
      call,
      [found, path] {
        fence::SharedFd fd;
        found->status = look_up_directory("path", path, &fd, &found->area.path);
        if (!found->status.ok()) return;
        const auto mounts = sys::read_mounts();
        const sys::Mount* mount = sys::find_mount(mounts, sys::mount_id(fd.get()));
        struct stat st {};
        if (mount == nullptr || mount->point != found->area.path || ::fstat(fd.get(), &st) != 0) return;
        found->area.mount = mount->id;
        found->area.device = st.st_dev;
      },
      [call, found, then = std::move(then)] {
        if (!found->status.ok()) return call->finish(found->status);
        then(found->area);
      });
}

void Drainer::drain(const CallPtr& call, const v1::DrainRequest* request, v1::DrainResponse* response) {
  auto job = std::make_shared<Job>(call, request, response);
  job->keep = request->keep();
  find(call, request->path(), [this, job](Area area) {
    job->area = std::move(area);
    start(job);
  });
}

void Drainer::start(const std::shared_ptr<Job>& job) {
  if (!ban(job->area))
    return job->call->finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "at most " + std::to_string(Drains::kMax) + " directories can be drained"});
  if (job->keep) keep(job->area);
  job->call->on_cancel([this, job] {
    job->over = true;
    job->timer.cancel();
    for (const core::BreakId id : job->breaks) view_.abandon(id);
    if (!job->keep) lift(job->area);
  });
  const bool bounded = job->call->deadline() != system_clock::time_point::max();
  auto until = system_clock::now() + (job->request->timeout_ms() != 0 ? milliseconds(job->request->timeout_ms()) : kUsualTimeout);
  if (bounded && (job->request->timeout_ms() == 0 || job->call->deadline() - kAnswerTime < until)) until = job->call->deadline() - kAnswerTime;
  job->timer.expires_after(until - system_clock::now());
  job->timer.async_wait([this, job](const asio::error_code& error) {
    if (!error) end(job, false);
  });
  revoke(job);
}

// Again until nothing is left: a lease that was asked for before the ban may be granted behind a break.
void Drainer::revoke(const std::shared_ptr<Job>& job) {
  if (job->over) return;
  const auto files = files_in(job->area);
  if (files.empty()) return wait_closed(job);
  job->asked = files.size();
  job->breaks.clear();
  for (const auto& key : files) {
    const auto leases = view_.leases_of(key);
    const auto held = view_.held_for(key);
    job->held.insert(job->held.end(), held.begin(), held.end());
    session::AdminAsk ask;
    ask.kind = core::BreakKind::Revoke;
    ask.file = key;
    ask.what = "revoke by drain of " + job->area.path;
    ask.answered = [this, job, n = leases.size()](const session::AdminAnswer& answer) {
      if (job->over) return;
      if (answer.code == 0) job->response->set_revoked(job->response->revoked() + static_cast<std::uint32_t>(n));
      if (--job->asked > 0) return;
      // One that was refused (an operation on the file does not end) is tried again in a while, until the deadline.
      if (answer.code == 0) return revoke(job);
      auto pause = std::make_shared<asio::steady_timer>(loop_, milliseconds(100));
      pause->async_wait([this, job, pause](const asio::error_code&) { revoke(job); });
    };
    job->breaks.push_back(view_.ask(std::move(ask)));
  }
}

// The leases have ended; what the daemon had open for them is closed by workers, and umount waits for that.
void Drainer::wait_closed(const std::shared_ptr<Job>& job) {
  auto closed = std::make_shared<bool>(false);
  resolver_.in_worker(
      [held = job->held, closed] {
        const auto any = [&] { return std::any_of(held.begin(), held.end(), [](const auto& weak) { return !weak.expired(); }); };
        for (int i = 0; i < 100 && any(); ++i) std::this_thread::sleep_for(milliseconds(1));
        *closed = !any();
      },
      [this, job, closed] {
        if (job->over) return;
        if (*closed) return end(job, true);
        wait_closed(job);
      });
}

void Drainer::end(const std::shared_ptr<Job>& job, bool drained) {
  if (job->over || job->call->over()) return;
  job->over = true;
  job->timer.cancel();
  job->response->set_drained(drained);
  if (drained) keep(job->area);
  if (!drained && !job->keep) lift(job->area);
  if (!drained)
    for (const auto& key : files_in(job->area))
      for (const core::LeaseId id : view_.leases_of(key))
        if (const auto lease = view_.lease(id); lease && job->response->left_size() < kLeftMax) fill(job->response->add_left(), *lease);
  job->call->finish({});
}

void Drainer::undrain(const CallPtr& call, const v1::UndrainRequest* request) {
  find(call, request->path(), [this, call](Area area) {
    const auto it = find_ban(area.path);
    if (it == banned_.end()) return call->finish({grpc::StatusCode::NOT_FOUND, "path: " + area.path + " is not drained"});
    erase(it);
    call->finish({});
  });
}

std::vector<Drainer::Ban>::iterator Drainer::find_ban(const std::string& path) {
  return std::find_if(banned_.begin(), banned_.end(), [&](const Ban& ban) { return ban.area.path == path; });
}

// Something else may be mounted there by now: the last one who asks knows what is.
bool Drainer::ban(const Area& area) {
  const auto it = find_ban(area.path);
  if (it == banned_.end() && banned_.size() >= Drains::kMax) return false;
  if (it == banned_.end()) {
    banned_.push_back({area});
  } else {
    ++it->wanted;
    if (it->area != area) {
      it->area = area;
      const keep::Slot before = std::exchange(it->slot, keep::kNoSlot);
      if (before != keep::kNoSlot) keep(area);
      if (kept_ != nullptr) kept_->clear(before);
    }
  }
  publish();
  return true;
}

// It stays until undrain() from now on, also when the daemon goes.
void Drainer::keep(const Area& area) {
  const auto it = find_ban(area.path);
  if (kept_ == nullptr || it == banned_.end() || it->slot != keep::kNoSlot) return;
  keep::DrainRecord r;
  r.device = area.device;
  r.mount = area.mount;
  area.path.copy(r.path, sizeof r.path - 1);
  it->slot = kept_->put(r);
}

void Drainer::lift(const Area& area) {
  const auto it = find_ban(area.path);
  if (it == banned_.end() || --it->wanted > 0) return;
  erase(it);
}

void Drainer::erase(std::vector<Ban>::iterator ban) {
  if (kept_ != nullptr) kept_->clear(ban->slot);
  banned_.erase(ban);
  publish();
}

void Drainer::publish() {
  if (banned_.empty()) return view_.ban({});
  view_.ban([this](const core::FileKey& key, int fd) -> std::string {
    const auto mounts = sys::read_mounts();
    for (const Ban& ban : banned_)
      if (holds(ban.area, key, fd, mounts)) return ban.area.path + " is being drained by the administrator: no new leases there until `mrleasectl undrain`";
    return {};
  });
}

}  // namespace mrlease::admin
