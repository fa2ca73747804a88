// SPDX-License-Identifier: Apache-2.0
// Seeded random histories under an independent auditor. A seed that fails replays, step by step:
// MRLEASE_WALK_SEED=n unit_core --gtest_filter='RandomWalk.*'
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "tests/unit/core/auditor.h"
#include "tests/unit/core/trace.h"

namespace mrlease::core {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kPages = 16;

Policy policy_of(unsigned seed) {
  Policy p;
  p.on_timeout = static_cast<OnTimeout>(seed % 3);
  p.freeze_conflict = static_cast<FreezeConflict>(seed / 3 % 3);
  p.freeze_hold_max = 8000;
  return p;
}

class Walk {
 public:
  explicit Walk(unsigned seed) : random_(seed), policy_(policy_of(seed)), arbiter_(policy_), auditor_(policy_) {}

  void run(int steps) {
    for (int i = 0; i < steps && auditor_.complaints().empty(); ++i) act();
    if (auditor_.complaints().empty()) finish();
    for (const std::string& c : auditor_.complaints()) ADD_FAILURE() << c;
  }
  int truncates_allowed() const { return allowed_; }

 private:
  static constexpr SessionId kSessions = 5;

  void finish() {
    drain();
    for (SessionId s = 1; s <= kSessions; ++s) step(event::SessionGone{s});
    drain();
    EXPECT_EQ(arbiter_.leases(), 0u);
  }

  std::uint64_t upto(std::uint64_t n) { return random_() % n; }
  bool chance(unsigned percent) { return upto(100) < percent; }
  FileKey file() { return {1, 1 + upto(2)}; }
  template <typename T>
  T take(std::vector<T>& from) {
    const std::size_t i = upto(from.size());
    T x = from[i];
    from.erase(from.begin() + static_cast<long>(i));
    return x;
  }

  void step(const Event& event) {
    auditor_.saw(event, now_);
    const Effects effects = arbiter_.step(event, now_);
    if (std::getenv("MRLEASE_WALK_SEED")) {
      std::printf("%llu %s\n", static_cast<unsigned long long>(now_), describe(event).c_str());
      for (const Effect& effect : effects) std::printf("%s\n", describe(effect).c_str());
    }
    for (const Effect& effect : effects) {
      if (const auto* e = std::get_if<effect::Recall>(&effect)) recalls_.push_back(*e);
      if (const auto* e = std::get_if<effect::StartWork>(&effect)) works_.push_back(*e);
      if (const auto* e = std::get_if<effect::StartFence>(&effect)) fences_.push_back(e->lease);
      if (const auto* e = std::get_if<effect::WatchPassing>(&effect)) passing_.push_back(e->id);
      if (const auto* e = std::get_if<effect::BreakAnswered>(&effect)) allowed_ += e->deny_errno == 0;
    }
    auditor_.saw(effects, now_, arbiter_);
    if (arbiter_.next_deadline() <= now_) ADD_FAILURE() << "a deadline that has passed was not applied";
  }

  // As a timer would: every deadline on the way is met at its time.
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
    const std::uint64_t what = upto(100);
    if (what < 14) return request_lease();
    if (what < 34) return request_break();
    if (what < 56) return answer_recall();
    if (what < 72) return finish_work();
    if (what < 76) return finish_fence();
    if (what < 86) return leave();
    if (what < 88) return step(event::Thaw{1 + upto(next_break_ + 1), ++next_request_});
    if (what < 91) return release();
    if (what < 92) return step(event::SessionGone{1 + upto(kSessions)});
    if (what < 94) return extend();
    sleep(chance(20) ? upto(9000) : upto(400));
  }

  void request_lease() {
    Lease l;
    l.id = ++next_lease_;
    l.session = 1 + upto(kSessions);
    l.file = file();
    l.extent.begin = upto(kPages) * kPage;
    l.extent.end = l.extent.begin + (1 + upto(8)) * kPage;
    l.on_file_end = l.extent.end;
    l.backing = static_cast<Backing>(upto(kBackings));
    l.write = chance(75);
    l.share = chance(85);
    step(event::RequestLease{++next_request_, l});
  }

  void request_break() {
    event::RequestBreak b{++next_break_, file(), static_cast<BreakKind>(upto(kBreakKinds)), {}};
    if (b.kind == BreakKind::Revoke && chance(60)) b.kind = BreakKind::Truncate;
    const std::uint64_t begin = upto(kPages) * kPage;
    if (chance(70)) b.extent = {begin, begin + (1 + upto(6)) * kPage};
    b.new_size = upto(2 * kPages) * kPage + (chance(40) ? upto(kPage) : 0);
    if (b.kind == BreakKind::Truncate) b.extent = {b.new_size, kToEnd};
    b.hold = upto(3000);
    const bool api = b.kind == BreakKind::Sync || b.kind == BreakKind::Freeze || b.kind == BreakKind::Revoke;
    b.owner = api && chance(50) ? 1 + upto(kSessions) : 0;
    step(b);
  }

  // Session 1 hardly ever answers, session 2 lies.
  void answer_recall() {
    if (recalls_.empty()) return;
    const effect::Recall r = take(recalls_);
    if (r.session == 1 && chance(90)) return recalls_.push_back(r);
    if (r.session == 2 && chance(40)) {
      recalls_.push_back(r);
      return step(event::RecallAnswered{r.recall, 3, 0});
    }
    if (chance(10)) recalls_.push_back(r);  // will be answered twice
    step(event::RecallAnswered{r.recall, r.session, chance(4) ? EIO : 0});
  }

  void finish_work() {
    if (works_.empty() || chance(10)) return;
    step(event::WorkDone{take(works_).work, chance(5) ? EIO : 0});
  }

  void finish_fence() {
    if (!fences_.empty()) step(event::FenceDone{take(fences_), chance(80)});
  }

  void leave() {
    if (passing_.empty()) {
      if (next_break_ > 0 && chance(10)) step(event::OperationLeft{1 + upto(next_break_), upto(kPages) * kPage});
      return;
    }
    step(event::OperationLeft{take(passing_), upto(2 * kPages) * kPage});
  }

  void release() {
    if (auditor_.leases().empty()) return;
    auto it = auditor_.leases().begin();
    std::advance(it, static_cast<long>(upto(auditor_.leases().size())));
    step(event::ReleaseLease{++next_request_, it->first, it->second.lease.session});
  }

  void extend() {
    if (auditor_.leases().empty()) return;
    auto it = auditor_.leases().begin();
    std::advance(it, static_cast<long>(upto(auditor_.leases().size())));
    step(event::ExtendLease{++next_request_, it->first, it->second.lease.session, upto(3 * kPages) * kPage});
  }

  // Everybody does what was asked; then nothing may be left.
  void drain() {
    for (int round = 0; round < 5000 && auditor_.complaints().empty(); ++round) {
      while (!recalls_.empty()) {
        const effect::Recall r = take(recalls_);
        step(event::RecallAnswered{r.recall, r.session, 0});
      }
      while (!works_.empty()) step(event::WorkDone{take(works_).work, 0});
      while (!fences_.empty()) step(event::FenceDone{take(fences_), true});
      while (!passing_.empty()) step(event::OperationLeft{take(passing_), upto(2 * kPages) * kPage});
      if (!recalls_.empty() || !works_.empty() || !passing_.empty() || !fences_.empty()) continue;
      if (arbiter_.breaks() == 0 && arbiter_.next_deadline() == kNever) break;
      sleep(policy_.freeze_hold_max);
    }
    EXPECT_EQ(arbiter_.breaks(), 0u);
    EXPECT_EQ(arbiter_.next_deadline(), kNever);
    auditor_.drained();
  }

  std::mt19937_64 random_;
  Policy policy_;
  Arbiter arbiter_;
  Auditor auditor_;
  Time now_ = 1;
  LeaseId next_lease_ = 0;
  BreakId next_break_ = 0;
  RequestId next_request_ = 0;
  std::vector<effect::Recall> recalls_;
  std::vector<effect::StartWork> works_;
  std::vector<LeaseId> fences_;
  std::vector<BreakId> passing_;
  int allowed_ = 0;
};

TEST(RandomWalk, KeepsThePromises) {
  const char* one = std::getenv("MRLEASE_WALK_SEED");
  const char* many = std::getenv("MRLEASE_WALK_SEEDS");
  const unsigned first = one ? static_cast<unsigned>(std::atoi(one)) : 1;
  const unsigned last = one ? first : many ? static_cast<unsigned>(std::atoi(many)) : 300;
  int allowed = 0;
  for (unsigned seed = first; seed <= last; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Walk walk(seed);
    walk.run(400);
    allowed += walk.truncates_allowed();
    ASSERT_FALSE(testing::Test::HasFailure()) << "replay: MRLEASE_WALK_SEED=" << seed;
  }
  EXPECT_GT(allowed, static_cast<int>(last - first)) << "the walk must get somewhere";
}

}  // namespace
}  // namespace mrlease::core
