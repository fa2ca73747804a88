// SPDX-License-Identifier: Apache-2.0
// Drives an arbiter step by step and looks through its effects.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "daemon/core/arbiter.h"
#include "daemon/core/break_table.h"

namespace mrlease::core {

inline constexpr FileKey kFile{8, 100};
inline constexpr FileKey kOtherFile{8, 200};
inline constexpr std::uint64_t kPg = 4096;
inline constexpr std::uint64_t kSize = 16 * kPg;  // of a lease, unless said otherwise

class Harness {
 public:
  explicit Harness(Policy policy = {}) : arbiter(policy) {}

  Arbiter arbiter;
  Time now = 1000;
  Effects last;                     // of the latest step
  std::vector<Effect> all;

  Effects& step(const Event& event) {
    last = arbiter.step(event, now);
    all.insert(all.end(), last.begin(), last.end());
    return last;
  }
  Effects& wait(Time ms) {
    now += ms;
    return step(event::Tick{});
  }

  template <typename E>
  std::vector<E> got() const {
    return pick<E>(last);
  }
  template <typename E>
  std::vector<E> ever() const {
    return pick<E>(all);
  }
  template <typename E>
  E only() const {
    const std::vector<E> found = got<E>();
    EXPECT_EQ(found.size(), 1u) << "effects of this kind in the last step";
    return found.empty() ? E{} : found[0];
  }
  template <typename E>
  bool none() const {
    return got<E>().empty();
  }

  static Lease lease(LeaseId id, Backing backing, Extent extent = {0, kSize}, SessionId session = 0) {
    Lease l;
    l.id = id;
    l.session = session ? session : id;
    l.file = kFile;
    l.extent = extent;
    l.on_file_end = extent.end;
    l.backing = backing;
    l.write = l.share = true;
    return l;
  }
  void grant(const Lease& l) {
    step(event::RequestLease{l.id, l});
    ASSERT_EQ(only<effect::Granted>().lease, l.id);
  }
  void grant(LeaseId id, Backing backing, Extent extent = {0, kSize}, SessionId session = 0) {
    grant(lease(id, backing, extent, session));
  }
  Effects& ask(BreakId id, BreakKind kind, Extent extent = {}, Time hold = 0, SessionId owner = 0) {
    return step(event::RequestBreak{id, kFile, kind, extent, 0, hold, owner});
  }
  Effects& truncate(BreakId id, std::uint64_t size) {
    return step(event::RequestBreak{id, kFile, BreakKind::Truncate, {size, kToEnd}, size});
  }
  Effects& answer(const effect::Recall& r, int code = 0) {
    return step(event::RecallAnswered{r.recall, r.session, code});
  }
  Effects& work_done(const effect::StartWork& w, int code = 0) { return step(event::WorkDone{w.work, code}); }
  Effects& left(BreakId id, std::uint64_t size) { return step(event::OperationLeft{id, size}); }

  // In the last step: answered with this code.
  bool answered(BreakId id, int code = 0) const {
    for (const auto& a : got<effect::BreakAnswered>()) {
      if (a.id == id) return a.deny_errno == code;
    }
    return false;
  }
  bool over(BreakId id) const {
    const auto d = got<effect::BreakDone>();
    return std::any_of(d.begin(), d.end(), [&](const effect::BreakDone& e) { return e.id == id; });
  }

 private:
  template <typename E>
  static std::vector<E> pick(const std::vector<Effect>& effects) {
    std::vector<E> found;
    for (const Effect& e : effects) {
      if (const E* x = std::get_if<E>(&e)) found.push_back(*x);
    }
    return found;
  }
};

}  // namespace mrlease::core
