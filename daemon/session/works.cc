// SPDX-License-Identifier: Apache-2.0
// What may block or take long: stores, file work, fences. Done in workers; the result comes back to the loop.
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <system_error>

#include "daemon/session/broker.h"
#include "daemon/session/translate.h"

namespace mrlease::session {

namespace v1 = wire::v1;
namespace effect = core::effect;
using wire::Frame;

void Broker::in_worker(std::function<void()> work, std::function<void()> then) {
  workers_.run([this, work = std::move(work), then = std::move(then)] {
    work();
    asio::post(loop_, then);
  });
}

void Broker::grant_bounce(LeaseHold& lease) {
  struct Made {
    std::shared_ptr<store::Bounce> bounce;
    std::error_code error;
  };
  auto made = std::make_shared<Made>();
  in_worker(
      [made, fd = lease.fd, extent = lease.extent, truncates = lease.truncates] {
        try {
          made->bounce = std::make_shared<store::Bounce>(fd, extent.begin, extent.end - extent.begin, truncates);
        } catch (const std::system_error& e) {
          made->error = e.code();
        }
      },
      [this, made, id = lease.id] {
        const auto found = find_lease(id);
        if (!found) return;
        if (made->bounce) {
          found->bounce = made->bounce;
          return send_granted(*found);
        }
        reply_status(found->session, found->request, made->error.value(), "bounce pages: " + made->error.message());
        step(core::event::ReleaseLease{0, id, found->session});
      });
}

// The frozen store is the daemon's own, so that it can write it to the file for a client that is hung or dead.
void Broker::make_store(const effect::Recall& e, const std::shared_ptr<LeaseHold>& lease) {
  Store store;
  store.id = next_store_++;
  store.extent = e.extent;
  store.trim = e.action == core::Action::Trim;
  recalls_[e.recall].store = store.id;
  const std::uint64_t length = store.extent.end - store.extent.begin;
  try {
    store.memfd = fence::SharedFd(store::create_store("mrlease-store", length));
  } catch (const std::system_error& x) {
    log_(3, "no store for lease " + std::to_string(lease->id) + ": " + x.what());
    return step(core::event::RecallAnswered{e.recall, e.session, ENOMEM});
  }
  const auto send = [this, e, lease, store](int code) {
    if (code != 0) return step(core::event::RecallAnswered{e.recall, e.session, code});
    if (lease->fencing || !find_lease(lease->id)) return;
    lease->stores.push_back(store);
    send_recall(e, *lease, &lease->stores.back());
  };
  // A sparse store takes no time; one that is filled from the file does.
  if (lease->backing != core::Backing::Direct) return send(0);
  auto code = std::make_shared<int>(0);
  in_worker([code, store, length, lease] { *code = store::fill(store.memfd.get(), store.extent.begin, length, lease->fd.get()); },
            [code, send] { send(*code); });
}

void Broker::send_recall(const effect::Recall& e, LeaseHold& lease, const Store* store) {
  Session* s = find_session(lease.session);
  if (s == nullptr || s->gone) return;
  Frame frame;
  v1::Recall& r = *frame.mutable_recall();
  r.set_lease(e.lease);
  r.set_recall(e.recall);
  r.set_action(to_wire(e.action));
  r.set_reason(to_wire(e.reason));
  r.set_offset(e.extent.begin);
  r.set_length(e.extent.end - e.extent.begin);
  r.set_size(e.size);
  const core::Time at = now();
  r.set_deadline_ms(static_cast<std::uint32_t>(e.deadline > at ? e.deadline - at : 0));
  std::vector<std::shared_ptr<wire::Fd>> fds;
  if (store != nullptr) {
    r.set_store(store->id);
    recalls_[e.recall].store = store->id;
    if (e.action == core::Action::Freeze || e.action == core::Action::Trim)
      fds.push_back(std::make_shared<wire::Fd>(::dup(store->memfd.get())));
  }
  if (e.action == core::Action::Settle || e.action == core::Action::Reregister)
    lease.size_told = std::min(lease.size_told, std::max(e.size, lease.extent.begin));
  reply(*s, 0, std::move(frame), std::move(fds));
}

void Broker::apply(const effect::StartWork& e) {
  const auto lease = find_lease(e.lease);
  fence::SharedFd fd = lease ? lease->fd : fence::SharedFd();
  if (!lease)
    for (const auto& [id, b] : api_breaks_)
      if (b.kind == core::BreakKind::Sync && b.file == e.file) fd = b.fd;
  auto result = std::make_shared<store::Bounce::Result>();
  const int rounds = options_.settle_rounds, settle = options_.settle_ms;
  in_worker(
      [e, lease, fd, result, rounds, settle] {
        store::Bounce* bounce = lease ? lease->bounce.get() : nullptr;
        const bool writes = bounce != nullptr && lease->write;
        switch (e.kind) {
          case core::Work::Flush: if (writes) *result = bounce->flush(); break;
          case core::Work::FreezeFlush: if (writes) *result = bounce->flush_settled(rounds, settle); break;
          case core::Work::Merge: if (bounce != nullptr) *result = bounce->merge_from_file(); break;
          case core::Work::Fsync:
            if (writes) *result = bounce->flush();
            if (result->code == 0 && fd && ::fsync(fd.get()) != 0) result->code = errno;
            break;
          case core::Work::HoldFlush:    // works of a lease run one at a time, and the next comes after this break
          case core::Work::ResumeFlush:  // in the loop, below
          case core::Work::None: break;
        }
      },
      [this, e, lease, result] {
        if (e.kind == core::Work::ResumeFlush && lease) resume_bounce(lease);
        work_done(e, *result);
      });
}

void Broker::work_done(const effect::StartWork& e, const store::Bounce::Result& result) {
  if (result.code != 0)
    log_(3, "lease " + std::to_string(e.lease) + ": writing to the file: " + std::strerror(result.code) + " " + result.text);
  if (result.conflicts != 0)
    log_(2, "lease " + std::to_string(e.lease) + ": " + std::to_string(result.conflicts) +
                " pages were written both by RDMA and by a foreign write: RDMA's stay");
  if (e.kind == core::Work::FreezeFlush)
    for (auto& [id, b] : api_breaks_)
      if (b.kind == core::BreakKind::Freeze && b.file == e.file) b.unsettled += result.unsettled;
  step(core::event::WorkDone{e.work, result.code});
}

// The break is over: what lies beyond the file's end now is cut off, and the client is told when that is new.
void Broker::resume_bounce(const std::shared_ptr<LeaseHold>& lease) {
  if (!lease->bounce) return;
  const std::uint64_t size = std::max(file_size(lease->file), lease->extent.begin);
  if (size >= lease->size_told) return;
  lease->bounce->trim(size);
  lease->size_told = size;
  notice(*lease, v1::Notice::TRIMMED, size, "the file was truncated");
}

void Broker::fence_lease(const std::shared_ptr<LeaseHold>& lease, bool kill, std::function<void(bool)> done) {
  lease->fencing = true;
  Session* s = find_session(lease->session);
  fence::Order order;
  if (s != nullptr) {
    order.userfaultfd = s->userfaultfd;
    order.pidfd = s->pidfd;
  }
  order.kill_at_once = kill;
  order.deadline = std::chrono::milliseconds(std::max<core::Time>(options_.policy.fence_deadline * 3 / 4, 1));
  for (const LeaseMr& mr : lease->mrs) order.mrs.push_back(mr.mr);
  // What the client has exchanged is known from the recalls: only there can a device fault wait.
  const std::uint64_t base = lease->mrs.empty() ? 0 : lease->mrs.front().mr.address;
  for (const Store& store : lease->stores)
    if (base != 0) order.gated.push_back({base + (store.extent.begin - lease->extent.begin), store.extent.end - store.extent.begin});
  fence::run(std::move(order), [this, lease, done = std::move(done)](fence::Result result) {
    asio::post(loop_, [this, lease, done, result = std::move(result)] {
      if (!result.text.empty()) log_(1, "fence of lease " + std::to_string(lease->id) + ": " + result.text);
      lease->destroyed = result.outcome != fence::Outcome::Failed;
      lease->mrs.clear();
      done(result.outcome == fence::Outcome::Destroyed);
    });
  });
}

// What RDMA wrote into frozen stores goes to the file.
void Broker::rescue_stores(const std::shared_ptr<LeaseHold>& lease, std::function<void()> done) {
  std::vector<Store> stores;
  stores.swap(lease->stores);
  if (stores.empty() || !lease->write) return done();
  auto report = std::make_shared<std::string>();
  in_worker(
      [lease, stores = std::move(stores), report] {
        std::lock_guard lock(lease->file_mutex);
        for (const Store& store : stores) {
          std::uint64_t pages = 0;
          const std::uint64_t end = std::min(store.extent.end, lease->extent.end);
          const int code = store::merge_all(store.memfd.get(), store.extent.begin, end - store.extent.begin, lease->fd.get(), &pages,
                                           lease->truncates);
          *report += std::to_string(pages) + " pages of a frozen store written to the file";
          if (code != 0) *report += std::string(", then ") + std::strerror(code);
        }
      },
      [this, lease, report, done = std::move(done)] {
        log_(1, "lease " + std::to_string(lease->id) + ": " + *report);
        done();
      });
}

}  // namespace mrlease::session
