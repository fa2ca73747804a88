// SPDX-License-Identifier: Apache-2.0
// Messages of the wire, translated into events of the arbiter as the broker does it, in any order and with any answer; the
// auditor of the unit tests holds the arbiter to the promises, and everything must come to an end.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "daemon/session/translate.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/core/auditor.h"

using namespace mrlease;
using namespace mrlease::core;
namespace v1 = mrlease::wire::v1;

namespace {

constexpr std::uint64_t kPage = 4096, kPages = 16;
constexpr SessionId kSessions = 3;

void check_range(const v1::Range& range, const std::optional<Extent>& extent) {
  const bool overflows = range.length() != 0 && range.offset() + range.length() < range.offset();
  must(extent.has_value() != overflows, "a range that overflows");
  if (!extent) return;
  must(extent->begin == range.offset(), "a range's offset");
  must(range.length() == 0 ? extent->end == kToEnd : extent->end - extent->begin == range.length(), "a range's length");
}

class Run {
 public:
  explicit Run(FuzzedDataProvider& in) : in_(in), policy_(some_policy(in)), arbiter_(policy_), auditor_(policy_) {}

  void run() {
    for (int i = 0; i < 300 && in_.remaining_bytes() > 0; i++) act();
    drain();
    for (SessionId s = 1; s <= kSessions; s++) step(event::SessionGone{s});
    drain();
    must(arbiter_.leases() == 0 && arbiter_.breaks() == 0 && arbiter_.next_deadline() == kNever, "something is left");
  }

 private:
  static Policy some_policy(FuzzedDataProvider& in) {
    Policy p;
    p.on_timeout = static_cast<OnTimeout>(in.ConsumeIntegralInRange(0, 2));
    p.freeze_conflict = static_cast<FreezeConflict>(in.ConsumeIntegralInRange(0, 2));
    p.freeze_hold_max = 8000;
    return p;
  }

  std::uint64_t upto(std::uint64_t n) { return in_.ConsumeIntegralInRange<std::uint64_t>(0, n - 1); }
  FileKey file() { return {1, 1 + upto(2)}; }
  template <typename T>
  std::optional<T> take(std::vector<T>& from) {
    if (from.empty()) return {};
    const std::size_t i = upto(from.size());
    T x = from[i];
    from.erase(from.begin() + static_cast<long>(i));
    return x;
  }
  v1::Range pages() {
    v1::Range r;
    r.set_offset(upto(kPages) * kPage);
    r.set_length(upto(9) * kPage);
    return r;
  }

  void step(const Event& event) {
    auditor_.saw(event, now_);
    const Effects effects = arbiter_.step(event, now_);
    for (const Effect& effect : effects) {
      if (const auto* e = std::get_if<effect::Recall>(&effect)) recalled(*e);
      if (const auto* e = std::get_if<effect::StartWork>(&effect)) works_.push_back(e->work);
      if (const auto* e = std::get_if<effect::StartFence>(&effect)) fences_.push_back(e->lease);
      if (const auto* e = std::get_if<effect::WatchPassing>(&effect)) passing_.push_back(e->id);
    }
    auditor_.saw(effects, now_, arbiter_);
    for (const std::string& c : auditor_.complaints()) must(false, c.c_str());
    must(arbiter_.next_deadline() > now_, "a deadline that has passed was not applied");
  }

  void recalled(const effect::Recall& r) {
    must(session::to_wire(r.action) != v1::ACTION_NONE && session::to_wire(r.reason) != v1::REASON_UNKNOWN, "no words for a recall");
    must(!r.extent.empty(), "a recall of nothing");
    recalls_.push_back(r);
  }

  void sleep(Time ms) {
    const Time until = now_ + ms;
    while (arbiter_.next_deadline() <= until) {
      now_ = arbiter_.next_deadline();
      step(event::Tick{});
    }
    now_ = until;
    step(event::Tick{});
  }

  void act() {
    switch (upto(12)) {
      case 0: return register_lease();
      case 1: return file_break();
      case 2: return foreign();
      case 3:
      case 4: return recall_done();
      case 5:
        if (const auto work = take(works_)) step(event::WorkDone{*work, in_.ConsumeBool() ? 0 : EIO});
        return;
      case 6:
        if (const auto lease = take(fences_)) step(event::FenceDone{*lease, in_.ConsumeBool()});
        return;
      case 7:
        if (const auto id = take(passing_)) step(event::OperationLeft{*id, upto(2 * kPages) * kPage});
        return;
      case 8: return step(event::Thaw{1 + upto(next_break_ + 1), ++next_request_});
      case 9: return release_or_extend();
      case 10: return step(event::SessionGone{1 + upto(kSessions)});
      default: sleep(upto(9000));
    }
  }

  // Broker::on_register
  void register_lease() {
    v1::Register r;
    *r.mutable_range() = in_.ConsumeBool() ? pages() : wild();
    r.set_backing(static_cast<v1::Backing>(in_.ConsumeIntegralInRange(0, 6)));
    const auto backing = session::to_core(r.backing());
    auto extent = session::to_core(r.range());
    check_range(r.range(), extent);
    if (!backing || !extent || r.range().length() == 0 || extent->end > (kToEnd >> 1) || extent->begin % kPage != 0) return;
    must(session::to_wire(*backing) == r.backing(), "a backing comes back as another");
    if (kPlanted && extent->end > (1u << 20)) extent->begin = extent->end;
    must(!extent->empty(), "an empty lease");
    Lease l{++next_lease_, 1 + upto(kSessions), file(), *extent, extent->end, *backing, in_.ConsumeBool(), in_.ConsumeBool()};
    step(event::RequestLease{++next_request_, l});
  }

  v1::Range wild() {
    v1::Range r;
    r.set_offset(in_.ConsumeIntegral<std::uint64_t>());
    r.set_length(in_.ConsumeIntegral<std::uint64_t>());
    return r;
  }

  // Broker::on_file_break
  void file_break() {
    const v1::Range range = in_.ConsumeBool() ? pages() : wild();
    const auto extent = session::to_core(range);
    check_range(range, extent);
    if (!extent) return;
    const BreakKind kind = in_.ConsumeBool() ? BreakKind::Sync : BreakKind::Freeze;
    step(event::RequestBreak{++next_break_, file(), kind, *extent, 0, kind == BreakKind::Freeze ? upto(3000) : 0, 1 + upto(kSessions)});
  }

  void foreign() {
    event::RequestBreak b{++next_break_, file(), static_cast<BreakKind>(upto(kBreakKinds)), {}};
    if (b.kind == BreakKind::Sync || b.kind == BreakKind::Freeze) b.kind = BreakKind::Truncate;
    if (const auto extent = session::to_core(pages())) b.extent = *extent;
    b.new_size = upto(2 * kPages) * kPage + upto(kPage);
    if (b.kind == BreakKind::Truncate) b.extent = {b.new_size, kToEnd};
    step(b);
  }

  void recall_done() {
    const auto r = take(recalls_);
    if (!r) return;
    const auto how = upto(10);
    if (how < 2) recalls_.push_back(*r);  // will be answered twice
    if (how == 0) return step(event::RecallAnswered{r->recall, 1 + upto(kSessions), 0});
    step(event::RecallAnswered{r->recall, r->session, how == 9 ? EIO : 0});
  }

  void release_or_extend() {
    if (auditor_.leases().empty()) return;
    auto it = auditor_.leases().begin();
    std::advance(it, static_cast<long>(upto(auditor_.leases().size())));
    const Lease l = it->second.lease;
    if (in_.ConsumeBool()) step(event::ReleaseLease{++next_request_, l.id, l.session});
    else step(event::ExtendLease{++next_request_, l.id, l.session, upto(3 * kPages) * kPage});
  }

  // Everybody does what was asked.
  void drain() {
    for (int round = 0; round < 5000; round++) {
      while (!recalls_.empty()) {
        const effect::Recall r = recalls_.back();
        recalls_.pop_back();
        step(event::RecallAnswered{r.recall, r.session, 0});
      }
      while (const auto work = take(works_)) step(event::WorkDone{*work, 0});
      while (const auto lease = take(fences_)) step(event::FenceDone{*lease, true});
      while (const auto id = take(passing_)) step(event::OperationLeft{*id, kPages * kPage});
      if (!recalls_.empty() || !works_.empty() || !passing_.empty() || !fences_.empty()) continue;
      if (arbiter_.breaks() == 0 && arbiter_.next_deadline() == kNever) break;
      sleep(policy_.freeze_hold_max);
    }
    auditor_.drained();
    for (const std::string& c : auditor_.complaints()) must(false, c.c_str());
  }

  FuzzedDataProvider& in_;
  Policy policy_;
  Arbiter arbiter_;
  Auditor auditor_;
  Time now_ = 1;
  LeaseId next_lease_ = 0;
  BreakId next_break_ = 0;
  RequestId next_request_ = 0;
  std::vector<effect::Recall> recalls_;
  std::vector<WorkId> works_;
  std::vector<LeaseId> fences_;
  std::vector<BreakId> passing_;
};

}  // namespace

FUZZ(data, size) {
  FuzzedDataProvider in(data, size);
  Run(in).run();
  return 0;
}
