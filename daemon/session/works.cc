// SPDX-License-Identifier: Apache-2.0
// What may block or take long: stores, file work, fences. Done in workers, but for a glance at a few bounce pages; the result comes back to
// the loop.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <system_error>
#include <utility>

#include "daemon/core/break_table.h"
#include "daemon/core/extents.h"
#include "daemon/session/broker.h"
#include "daemon/session/countdown.h"
#include "daemon/session/descriptors.h"
#include "daemon/session/kept_names.h"
#include "daemon/session/translate.h"
#include "daemon/store/dirty_again.h"

namespace mrlease::session {

namespace v1 = wire::v1;
namespace effect = core::effect;
using wire::Frame;

namespace {

// What a break does not touch need not be looked at: a read of one page waits for one page. In bytes of the lease.
core::Extent within(const core::Extent& lease, const core::Extent& touched) {
  return {std::max(touched.begin, lease.begin) - lease.begin, touched.end - std::min(touched.end, lease.begin)};
}

store::Bounce::Result flush(store::Bounce& bounce, const core::Extent& lease, const core::Extent& touched) {
  const core::Extent part = within(lease, touched);
  return bounce.flush(part.begin, part.end);
}

// A break may touch thousands of leases, and thousands of breaks may wait for each other: workers do the rest.
constexpr int kGlances = 16;

}  // namespace

void Broker::in_worker(std::function<void()> work, std::function<void()> then) { in_worker(workers_, std::move(work), std::move(then)); }

void Broker::in_worker(WorkerPool& pool, std::function<void()> work, std::function<void()> then) {
  pool.run([this, work = std::move(work), then = std::move(then)] {
    try {
      work();
    } catch (const std::exception& e) {  // out of memory: the work's own result says nothing of it, the log does
      asio::post(loop_, [this, what = std::string(e.what())] { log_(3, "a worker: " + what); });
    }
    asio::post(loop_, then);
  });
}

void Broker::grant_bounce(LeaseHold& lease) {
  struct Made {
    std::shared_ptr<store::Bounce> bounce;
    Verdict refused;
  };
  auto made = std::make_shared<Made>();
  const std::uint64_t filled = lease.clients_memory ? 0 : lease.extent.end - lease.extent.begin;
  bounce_filling_ += filled;
  in_worker(
      [made, fd = lease.fd, extent = lease.extent, truncates = lease.truncates, end = lease.end_reclaimed, write = lease.write,
       memory = std::exchange(lease.clients_memory, {}), filling = bounce_filling_] {
        try {
          if (!memory) made->refused = check_memory(filling, extent.end - extent.begin);
          if (made->refused.code != 0) return;
          const std::uint64_t length = extent.end - extent.begin;
          const store::Bounce::Reclaimed reclaimed{memory ? ::fcntl(memory.get(), F_DUPFD_CLOEXEC, 3) : -1,
                                                   end > extent.begin ? end - extent.begin : 0, write};
          made->bounce = memory ? std::make_shared<store::Bounce>(fd, extent.begin, length, truncates, reclaimed)
                                : std::make_shared<store::Bounce>(fd, extent.begin, length, truncates);
        } catch (const std::system_error& e) {
          made->refused = {e.code().value(), "bounce pages: " + e.code().message()};
        } catch (const std::bad_alloc&) {
          made->refused = {ENOMEM, std::string("bounce pages: ") + std::strerror(ENOMEM)};
        }
      },
      [this, made, filled, hold = find_lease(lease.id), id = lease.id] {
        bounce_filling_ -= filled;
        const auto found = find_lease(id);
        if (!found) {
          for (const auto& work : hold->parked) work_done(work, {});
          return;
        }
        if (made->bounce) {
          found->bounce = made->bounce;
          // What broke in while it was filled.
          const auto parked = std::move(found->parked);
          for (const auto& work : parked) apply(work);
          if (find_lease(id) != found) return reply_status(found->session, found->request, EKEYREVOKED, "the lease was revoked while its pages were filled");
          return keep_lease(found, [this, found] { send_granted(*found); });
        }
        reply_status(found->session, found->request, made->refused.code, made->refused.message);
        for (const auto& work : found->parked) work_done(work, {});
        step(core::event::ReleaseLease{0, id, found->session});
      });
}

// The frozen store is the daemon's own, so that it can write it to the file for a client that is hung or dead.
void Broker::make_store(const effect::Recall& e, const std::shared_ptr<LeaseHold>& lease) {
  Store store;
  store.extent = e.extent;
  store.trim = e.action == core::Action::Trim;
  store.charge = accounts_.charge(lease->user, {.descriptors = 1});
  const std::uint64_t length = store.extent.end - store.extent.begin;
  try {
    if (!spare_store_) {
      store.id = next_store_++;
      note_numbers();
      spare_store_ = fence::SharedFd(store::open_store("mrlease-store"));
      if (keeps()) kept_.keeper->put(named('t', store.id), spare_store_.get());
    } else {
      store.id = spare_store_id_;
    }
    store.memfd = std::exchange(spare_store_, {});
    store::size_store(store.memfd.get(), length);
  } catch (const std::system_error& x) {
    log_(3, "no store for lease " + std::to_string(lease->id) + ": " + x.what());
    return step(core::event::RecallAnswered{e.recall, e.session, ENOMEM});
  }
  recalls_[e.recall].store = store.id;
  // Nothing was written to a direct lease's store before its client has filled and registered it: a rescue before that
  // would put old data back.
  store.live = lease->backing != core::Backing::Direct;
  if (lease->fencing) return drop_names({named('t', store.id)});
  if (!keep_store(*lease, store, e.recall)) {
    log_(3, "no store for lease " + std::to_string(lease->id) + ": a restart would forget it: " +
                std::to_string(keep::StoreRecord::kMax) + " are the limit");
    drop_names({named('t', store.id)});
    return step(core::event::RecallAnswered{e.recall, e.session, ENOSPC});
  }
  lease->stores.push_back(store);
  send_recall(e, *lease, &lease->stores.back());
}

// Between breaks: making a memfd takes longer than all else that stands between a held truncate and its recall.
void Broker::prepare_store() {
  if (spare_store_ || spare_coming_) return;
  const std::uint64_t id = next_store_++;
  note_numbers();
  try {
    if (!keeps()) {
      spare_store_id_ = id;
      spare_store_ = fence::SharedFd(store::open_store("mrlease-store"));
      return;
    }
  } catch (const std::system_error&) {  // the next one that is needed says so
    return;
  }
  auto made = std::make_shared<fence::SharedFd>();
  spare_coming_ = true;
  in_worker(
      [made, id, keeper = kept_.keeper] {
        try {
          *made = fence::SharedFd(store::open_store("mrlease-store"));
          keeper->put(named('t', id), made->get());
        } catch (const std::system_error&) {
        }
      },
      [this, made, id] {
        spare_coming_ = false;
        if (!*made) return;
        spare_store_ = std::move(*made);
        spare_store_id_ = id;
      });
}

void Broker::send_recall(const effect::Recall& e, LeaseHold& lease, const Store* store) {
  Session* s = find_session(lease.session);
  if (s == nullptr || s->gone) return;
  Frame frame = to_wire(e, now());
  std::vector<fence::SharedFd> fds;
  if (store != nullptr) {
    frame.mutable_recall()->set_store(store->id);
    recalls_[e.recall].store = store->id;
    if (e.action == core::Action::Freeze || e.action == core::Action::Trim)
      fds.push_back(store->memfd);
  }
  if (e.action == core::Action::Settle || e.action == core::Action::Reregister)
    tell_size(lease, std::min(lease.size_told, std::max(e.size, lease.extent.begin)));
  reply(*s, 0, std::move(frame), std::move(fds));
}

void Broker::do_work(const effect::StartWork& e, store::Bounce* bounce, const LeaseHold* lease, int fd, std::uint64_t file_end,
                     const Options& options, store::Bounce::Result* result) {
  const bool writes = bounce != nullptr && lease->write;
  const std::uint64_t lease_end = lease != nullptr ? std::min(file_end, lease->extent.end) : 0;
  switch (e.kind) {
    case core::Work::Flush: if (writes) *result = flush(*bounce, lease->extent, e.extent); break;
    case core::Work::FreezeFlush: if (writes) *result = bounce->flush_settled(options.settle_patience(), options.settle_pause()); break;
    case core::Work::Merge:
      if (bounce == nullptr) break;
      bounce->trim(file_end);
      *result = bounce->merge_from_file();
      break;
    case core::Work::HoldFlush: if (bounce != nullptr) bounce->trim(core::kToEnd); break;  // waits for what runs, cuts nothing
    case core::Work::ResumeFlush: if (bounce != nullptr) bounce->trim(file_end); break;
    case core::Work::Writeback:
      // All of its pages are there, pinned: no hole gets a block.
      if (lease != nullptr && lease->backing == core::Backing::Direct) result->code = store::dirty_again(fd, lease->extent.begin, lease_end);
      if (result->code != 0) {
        result->text = std::string("dirtying its pages: ") + std::strerror(result->code);
        break;
      }
      [[fallthrough]];
    case core::Work::Fsync:
      if (writes) {
        *result = bounce->sync();
      } else if (fd >= 0 && ::fsync(fd) != 0) {
        result->code = errno;
        result->text = std::string("fsync: ") + std::strerror(errno);
        if (lease != nullptr && lease->write) (void)store::dirty_again(fd, lease->extent.begin, lease_end);
      }
      break;
    case core::Work::None: break;
  }
}

// Two changes of threads take longer than this look.
bool Broker::nothing_to_flush(const LeaseHold& lease, const core::Extent& touched) {
  if (++glances_ > kGlances) return false;
  const core::Extent part = within(lease.extent, touched);
  return lease.bounce->nothing_to_flush(part.begin, part.end);
}

void Broker::apply(const effect::StartWork& e) {
  const auto lease = find_lease(e.lease);
  if (lease && lease->backing == core::Backing::Bounce && !lease->bounce) {
    // Its pages are being filled from the file. What comes before an operation finds nothing to write, but in pages that
    // are reclaimed; what comes after it has to see what the operation did; a sync is of the whole file.
    const bool later = e.kind == core::Work::Merge || e.kind == core::Work::ResumeFlush || core::syncs(e.kind);
    if (later || lease->reclaimed) return lease->parked.push_back(e);
    return work_done(e, {});
  }
  if (e.kind == core::Work::Flush && lease && lease->bounce && nothing_to_flush(*lease, e.extent)) return work_done(e, {});
  // A lease without bounce pages that ends while it is frozen: its stores are what it owes.
  if (lease && !lease->bounce && e.kind == core::Work::Flush)
    return rescue_stores(lease, [this, e](int code) {
      store::Bounce::Result result;
      result.code = code;
      if (result.code != 0) result.text = "a frozen store";
      work_done(e, result);
    });
  fence::SharedFd fd = lease ? lease->fd : fence::SharedFd();
  if (!lease)
    for (const auto& [id, b] : api_breaks_)
      if (b.kind == core::BreakKind::Sync && b.file == e.file) fd = b.fd;
  auto result = std::make_shared<store::Bounce::Result>();
  const std::uint64_t file_end = lease ? std::max(size_left(*lease), lease->extent.begin) : 0;
  const bool periodic = e.kind == core::Work::Writeback;
  if (periodic) ++writing_back_[e.file].works;
  in_worker(periodic ? writers_back_ : workers_,
            [e, lease, bounce = lease ? lease->bounce : nullptr, fd, file_end, options = options_, result] {
              do_work(e, bounce.get(), lease.get(), fd.get(), file_end, options, result.get());
            },
            [this, e, lease, result, file_end, periodic] {
              if (core::trims(e.kind) && lease) tell_trimmed(*lease, file_end);
              if (core::syncs(e.kind) && result->code != 0) sync_failed(e.file, e.lease, [] {});
              work_done(e, *result);
              if (periodic) written_back(e.file);
            });
}

// Asked for when all is known that a predecessor left, and all have reclaimed who do: see Broker::defer(). And not beside the last one, which
// the arbiter does not wait for longer than for any work, but whose fsync(2) may hang.
void Broker::apply(const effect::SyncDue& e) {
  asio::post(loop_, [this, file = e.file] {
    if (stopping_) return;
    awaited_.empty() ? write_back(file) : after_grace_.push_back([this, file] { write_back(file); });
  });
}

void Broker::write_back(const core::FileKey& file) {
  if (const auto it = writing_back_.find(file); it != writing_back_.end()) {
    it->second.again = true;
    return;
  }
  const core::BreakId id = next_api_break_++;
  note_numbers();
  core::event::RequestBreak sync{id, file, core::BreakKind::Sync, {}};
  sync.periodic = true;
  step(sync);
}

void Broker::written_back(const core::FileKey& file) {
  const auto it = writing_back_.find(file);
  if (--it->second.works > 0) return;
  const bool again = it->second.again;
  writing_back_.erase(it);
  if (again && !stopping_) write_back(file);
}

// The kernel tells an error once to each open file, and leases may share one: the file's others would be told that all is well. told: the
// lease that has heard it itself, or 0. done: what they wrote since the last good sync is on its way again.
void Broker::sync_failed(const core::FileKey& file, core::LeaseId told, std::function<void()> done) {
  const Countdown all(std::move(done));
  for (const auto& [id, lease] : leases_) {
    if (id == told || lease->file != file || !lease->write) continue;
    in_worker([lease = lease, end = std::min(size_left(*lease), lease->extent.end)] {
      if (lease->bounce) lease->bounce->sync_failed();
      else (void)store::dirty_again(lease->fd.get(), lease->extent.begin, end);
    }, all.add());
  }
  all.start();
}

void Broker::work_done(const effect::StartWork& e, const store::Bounce::Result& result) {
  if (result.code != 0)
    log_(3, "lease " + std::to_string(e.lease) + ": writing to the file: " + std::strerror(result.code) + " " + result.text);
  if (result.conflicts != 0)
    log_(2, "lease " + std::to_string(e.lease) + ": " + std::to_string(result.conflicts) +
                " pages were written both by RDMA and by a foreign write: RDMA's stay");
  chronicle_.wrote(e.lease, result.pages_written, result.conflicts);
  const bool tells = result.code != 0 || e.kind == core::Work::FreezeFlush;
  for (auto& [id, b] : api_breaks_) {
    if (!tells) break;
    const bool synced = core::syncs(e.kind) && b.kind == core::BreakKind::Sync;
    const bool frozen = e.kind == core::Work::FreezeFlush && b.kind == core::BreakKind::Freeze;
    if (b.file != e.file || !(synced || frozen)) continue;
    if (result.code != 0) b.failed = {result.code, result.text};
    if (!frozen) continue;
    b.unsettled += result.unsettled;
    chronicle_.unsettled(id, result.unsettled);
  }
  step(core::event::WorkDone{e.work, result.code});
}

// As recalls tell it: what was cut off is off the file until it is extended, though somebody has made it longer since.
std::uint64_t Broker::size_left(const LeaseHold& lease) {
  const core::Lease* known = arbiter_.find(lease.id);
  return known != nullptr ? core::size_left(*known, file_size(lease.file)) : file_size(lease.file);
}

// The break is over: what lies beyond the file's end now is cut off, and the client is told when that is new.
void Broker::tell_trimmed(LeaseHold& lease, std::uint64_t size) {
  if (!lease.bounce || size >= lease.size_told) return;
  tell_size(lease, size);
  notice(lease, v1::Notice::TRIMMED, size, "the file was truncated");
}

}  // namespace mrlease::session
