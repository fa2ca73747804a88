// SPDX-License-Identifier: Apache-2.0
// A leased, registered range of a file.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "client-lib/src/backing/backing.h"
#include "client-lib/src/region/context.h"
#include "client-lib/src/region/posting_guard.h"
#include "client-lib/src/verbs/verbs.h"

namespace mrlease::client {

// One memory region of a lease. Under the region's operation_, but for the last two.
struct Registration {
  ibv_pd* pd = nullptr;
  int access = 0;
  std::uint32_t device = 0, driver = 0;  // the daemon's number for it; enum rdma_driver_id
  verbs::Mr mr;                          // null while recalled
  std::atomic<ibv_mr*> now{nullptr};     // what the application may use
  std::atomic<std::uint32_t> rkey{0};    // the last one
};

struct RegionSpec {
  ibv_pd* pd = nullptr;
  wire::Fd file;  // the library's own duplicate
  std::uint64_t offset = 0, length = 0;
  int access = 0;
  bool write = false;
  std::uint32_t accept_quirks = 0;
  Choice choice;
  bool share = false;
  OrphanLimits orphans;
  std::chrono::milliseconds orphan_keep{0};  // 0: for ever
  std::uint32_t peer_budget_ms = 200;
  // The application's own mapping of the file: what is mapped there changes while the region lives, and is the file again after
  // it. Page-aligned; nullptr: the library makes one.
  char* adopted = nullptr;
  // Where this choice cannot be had at last: a rule of the administrator wants bounce, or the device says no.
  bool or_bounce = false;
};

// Thread-safe. Two locks: `operation_` for what exchanges mappings or registrations (recalls, extend, dereg: they wait
// for the daemon and for the application under it), `mutex_` for the fields that getters read (nothing waits under it).
class Region final : public Services, public std::enable_shared_from_this<Region> {
 public:
  static Outcome create(Context& context, RegionSpec spec, mrl_region* handle, std::shared_ptr<Region>* out);
  ~Region() override;

  Outcome dereg();  // EBUSY, and only that: it cannot be deregistered, and goes on as it was
  Outcome sync(std::uint64_t offset, std::uint64_t length);
  Outcome extend(TakeBack how, std::uint64_t* size);  // EAGAIN: of a reattach, that a recall came in between
  // The lease's daemon is gone: take it again from the one behind `fresh`. ENOTCONN, EAGAIN: try again later. Anything else that
  // is in the way ends in FENCED, and is success here. knows_reclaim: the daemon does.
  Outcome reclaim(const std::shared_ptr<Connection>& fresh, bool knows_reclaim);
  Outcome complied(std::uint64_t recall);
  void info(mrl_info* out);
  PostingGuard& guard() { return guard_; }
  void* address() const { return layout_.base; }
  ibv_mr* mr() const { return registrations_.front().now.load(); }
  // One more memory region over it; *index counts them, the first is mr(). EAGAIN: it is recalled.
  Outcome add_mr(ibv_pd* pd, int access, unsigned* index);
  ibv_mr* mr(unsigned index) const;  // null: no such one, or recalled, or fenced
  std::uint32_t lkey() const { return lkey_.load(); }
  std::uint32_t rkey() const { return rkey_.load(); }
  std::vector<std::pair<const ibv_pd*, std::uint32_t>> rkeys() const;  // of each memory region, in their order

  // From the I/O thread; none of these blocks.
  void on_recall(wire::v1::Recall recall, wire::Fd store);
  void on_fenced(const std::string& why);
  void release_given_up();  // to the daemon that runs now, what it was to give up by the order of the one before
  void on_trimmed(std::uint64_t file_size);
  void on_disconnected();

  // Services
  const Layout& layout() const override { return layout_; }
  std::uint64_t length() const override { return spec_.length; }
  std::uint64_t on_file() const override { return size_; }
  const RegionSpec& spec() const { return spec_; }
  bool fenced() const { return fenced_; }
  const Pagemap& pagemap() const override { return context_.pagemap(); }
  Outcome quiesce(const RecallOrder& order) override;
  bool in_use() const override { return registered() && !quiesced_; }
  Outcome drop_mr() override;
  Outcome make_mr(std::uint64_t bytes) override;
  Outcome merge(const Store& store, const std::vector<protocol::FileRange>& ranges) override;
  std::uint64_t daemons() const override { return daemon_ + connection()->successors(); }
  Deadline took_over() const override { return connection()->took_over(); }
  void restored(mrl_backing now) override;
  OrphanLimits orphan_limits() const override { return orphan_limits_; }
  void set_file_size(std::uint64_t file_size) override;

 private:
  Region(Context& context, RegionSpec spec, mrl_region* handle);
  Outcome set_up();
  void keep_to(const wire::v1::Granted& granted);
  Outcome ask_daemon(const std::shared_ptr<Connection>& daemon, bool reclaim, Reply* granted);
  Outcome reclaim_lease(const std::shared_ptr<Connection>& fresh, bool knows_reclaim);
  Outcome reclaim_mr(std::uint64_t file_size);
  Outcome register_one(Registration& one, std::uint64_t bytes);
  Outcome drop_one(Registration& one);
  void none_now();  // the application may use none of them
  void now_all();   // what is registered
  void go_on();
  bool odp() const { return spec_.choice.backing == MRL_BACKING_ODP || spec_.choice.backing == MRL_BACKING_ODP_COOPERATIVE; }
  bool registered() const { return registrations_.front().mr.mr != nullptr; }
  Outcome tell_daemon(const Registration& one);
  Outcome deregister();
  Outcome lose(const Outcome& why);
  RecallOrder own_order(wire::v1::Reason reason) const;
  std::shared_ptr<Connection> connection() const;
  Outcome map(Reply& granted);
  Outcome make_backing();
  void give_up_lease();
  void let_go();
  void unmap();
  void serve(RecallOrder order);
  Outcome comply(RecallOrder& order);
  Outcome ask_application(const RecallOrder& order, Deadline until);
  void application_answered(std::uint64_t recall, int code);
  void restore_mapping();
  Outcome finish_without_daemon();
  struct TakingBack;
  void take_back(TakingBack what);
  void look_at_stats();
  void discard_later();
  Event event(mrl_event_type type) const;
  void push(Event event);
  bool stop_waiting() const { return fenced_.load() || closing_.load(); }
  Lane& lane(wire::v1::Action action);

  Context& context_;
  std::shared_ptr<Connection> connection_;  // that knows the lease; under mutex_
  RegionSpec spec_;
  wire::Fd bounce_;                         // bounce: the memory, for the next daemon
  mrl_region* const handle_;
  Layout layout_;
  PostingGuard guard_;
  std::unique_ptr<Backing> backing_;

  std::mutex operation_;
  bool gone_ = false;  // under operation_: deregistered, nothing is reachable
  std::uint64_t registered_bytes_ = 0;  // under operation_: by the last make_mr()
  bool dropped_ = false;                // under operation_: every memory region is deregistered, and none was registered since
  bool reattaching_ = false;            // under operation_: a part is in the file, and there is more, of this try or the next
  OrphanLimits orphan_limits_;          // as asked for, and allowed; with the next two
  std::chrono::milliseconds orphan_keep_{0};
  std::uint32_t peer_budget_ms_ = 200;
  bool left_behind_ = false;            // under operation_: one of which the daemon's word did not come is there for ever
  std::list<Registration> registrations_;  // under operation_, and to grow under mutex_ too; the first is the region's own
  std::atomic<std::uint32_t> lkey_{0}, rkey_{0};
  std::atomic<bool> fenced_{false}, closing_{false};
  std::atomic<bool> given_up_{false};  // has obeyed a Release: what is owed is the daemon's to write
  bool taken_ = false;     // under operation_: refused to a reclaim, since somebody else has the range
  Outcome lost_;           // under operation_: why no daemon will have the lease again, until its data is in the file
  bool quiesced_ = false;  // under operation_: the application waits for RESTORED
  std::atomic<std::uint64_t> lease_{0}, generation_{0}, recalls_{0}, size_{0}, bytes_cut_off_{0};
  std::atomic<std::uint64_t> daemon_{0};  // counts the daemons that have granted it: an older one's recalls are void

  mutable std::mutex mutex_;
  std::condition_variable answered_;
  std::uint64_t asked_recall_ = 0;  // 0: no recall waits for the application
  int answer_ = -1;                 // -1: none yet
  std::string guard_name_, coverage_;
  std::string unmerged_;  // why the last thaw failed, where that was the file's fault
  ExchangeStats stats_;
};

}  // namespace mrlease::client
