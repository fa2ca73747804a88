// SPDX-License-Identifier: Apache-2.0
// On-demand pages, exchanged under the memory region while the peer at most waits. The application is asked only when that
// wait would be longer than the peer's budget.
#include <utility>

#include "client-lib/src/backing/backing.h"

namespace mrlease::client {
namespace {

class Transparent final : public Backing {
 public:
  Transparent(Services& services, Resolver& resolver, std::uint32_t peer_budget_ms)
      : services_(services),
        exchange_(
            resolver, services.pagemap(), services.layout(),
            [this](const Store& store, const auto& ranges) { return services_.merge(store, ranges); }, peer_budget_ms) {
  }

  Outcome start() {
    exchange_.on_long_stall([this](Deadline until) {
      if (order_ == nullptr || asked_) return;
      asked_ = true;
      (void)services_.quiesce({order_->recall, {}, until});
    });
    exchange_.on_daemons([this] { return services_.daemons(); }, [this] { return services_.took_over(); });
    return exchange_.start();
  }

  Outcome comply(RecallOrder order) override {
    order_ = &order;
    Outcome done = comply_with(order);
    order_ = nullptr;
    if (std::exchange(asked_, false)) services_.restored(MRL_BACKING_ODP);
    return done;
  }

  Outcome extend(std::uint64_t file_size, TakeBack how) override { return extend_over(services_, exchange_.orphans(), file_size, how); }
  void set_peer_budget(std::uint32_t ms) override { exchange_.set_budget(ms); }
  void discard_orphans(Deadline cut_before) override { exchange_.orphans().discard(cut_before); }
  std::uint64_t first_orphan() const override { return exchange_.orphans().first(); }
  Outcome merge_locally() override { return exchange_.thaw_all(Deadline::max()); }
  void restore() override { (void)exchange_.restore(); }
  ExchangeStats stats() const override { return exchange_.stats(); }

 private:
  Outcome comply_with(RecallOrder& order) {
    const wire::v1::Recall& r = order.recall;
    switch (r.action()) {
      case wire::v1::ACTION_FREEZE:
      case wire::v1::ACTION_TRIM:
        return swap_in(order);
      case wire::v1::ACTION_THAW:
        return exchange_.thaw(r.store(), order.deadline);
      case wire::v1::ACTION_SETTLE: {
        Outcome settled = exchange_.settle(r.store(), r.size(), order.deadline);
        if (settled.ok()) set_file_size(services_, r.size(), exchange_.orphans());
        return settled;
      }
      default:
        return not_for_this_backing(r, "transparent odp");
    }
  }

  Outcome swap_in(RecallOrder& order) {
    const wire::v1::Recall& r = order.recall;
    Store store;
    Outcome frozen = store_of_recall(r, std::move(order.store), &store);
    if (frozen.ok()) frozen = exchange_.freeze(std::move(store), r.offset(), r.length());
    if (!frozen.ok() || r.action() != wire::v1::ACTION_TRIM || !services_.orphan_limits().preserve) return frozen;
    // The pages go with the truncate: take them now, but leave time to answer.
    const auto now = std::chrono::steady_clock::now();
    const Outcome kept = exchange_.prefill(r.store(), now + (order.deadline - now) / 2, kept_to(services_, r.size()));
    // What there was no time for goes with the truncate. To refuse would be a fence.
    return kept.code == ETIMEDOUT ? Outcome{} : kept;
  }

  Services& services_;
  RecallOrder* order_ = nullptr;  // that is complied with
  bool asked_ = false;            // the application is quiet, for this one
  Exchange exchange_;
};

}  // namespace

Outcome make_transparent(Services& services, Resolver& resolver, std::uint32_t peer_budget_ms, std::unique_ptr<Backing>* out) {
  auto made = std::make_unique<Transparent>(services, resolver, peer_budget_ms);
  Outcome started = made->start();
  if (started.ok()) *out = std::move(made);
  return started;
}

}  // namespace mrlease::client
