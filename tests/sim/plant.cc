// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/plant.h"

#include <algorithm>
#include <cerrno>

#include "tests/sim/daemon.h"

namespace mrlease::sim {

namespace effect = core::effect;
namespace event = core::event;
using core::BreakKind;

namespace {

template <typename E>
void drop(core::Effects& effects) {
  std::erase_if(effects, [](const core::Effect& e) { return std::holds_alternative<E>(e); });
}

}  // namespace

const std::vector<std::string>& Plant::names() {
  static const std::vector<std::string> all = {
      "drop recalls", "answer truncates early", "restore early", "forget fences", "lose leases at a restart", "forget at a restart what is owed",
      "forget freezes at a restart", "forget at a restart who was quiesced", "forget at a restart who has given up", "forget at a restart what is inside", "restore at a restart under what is inside",
      "thaw early", "flush what is frozen",
      "skip the last flush", "swallow ends of leases", "swallow answers", "answer twice", "believe a stranger",
      "believe a liar", "no limit", "do not charge for who has gone", "no fence at exit", "forget what is handed back", "no kill at a hang-up", "hang up before the fence", "no grace", "sync early", "deny against policy", "grant what conflicts",
      "do not tell the guard", "do not tell the guard of reads", "no timer", "the last come is served first", "put back what was cut off",
      "new keys after a truncate", "let writes into what is frozen", "forget before the fence", "settle to half"};
  return all;
}

core::Event Plant::twist(core::Event e) const {
  if (auto* b = std::get_if<event::RequestBreak>(&e); b != nullptr && is("thaw early") && b->kind == BreakKind::Freeze)
    b->hold = std::max<core::Time>(1, b->hold / 4);
  return e;
}

void Plant::answer_early(const core::Event& e, core::Effects& effects, BreakKind kind) {
  std::erase_if(effects, [this](const core::Effect& x) {
    const auto* a = std::get_if<effect::BreakAnswered>(&x);
    const auto* p = std::get_if<effect::WatchPassing>(&x);
    return (a != nullptr && early_.count(a->id) != 0) || (p != nullptr && early_.count(p->id) != 0);
  });
  const auto* b = std::get_if<event::RequestBreak>(&e);
  if (b == nullptr || b->kind != kind) return;
  const auto answers = [&](const core::Effect& x) {
    const auto* a = std::get_if<effect::BreakAnswered>(&x);
    return a != nullptr && a->id == b->id;
  };
  if (std::any_of(effects.begin(), effects.end(), answers) || !early_.insert(b->id).second) return;
  if (kind != BreakKind::Sync) effects.push_back(effect::WatchPassing{b->id});
  effects.push_back(effect::BreakAnswered{b->id, 0});
}

void Plant::spoil(const core::Event& e, core::Effects& effects, Daemon& daemon) {
  if (name_.empty()) return;
  if (is("drop recalls")) drop<effect::Recall>(effects);
  if (is("forget fences")) drop<effect::StartFence>(effects);
  if (is("swallow ends of leases")) drop<effect::Forget>(effects);
  if (is("swallow answers")) drop<effect::BreakAnswered>(effects);
  if (is("answer truncates early")) answer_early(e, effects, BreakKind::Truncate);
  if (is("sync early")) answer_early(e, effects, BreakKind::Sync);
  if (is("let writes into what is frozen")) answer_early(e, effects, BreakKind::Write);
  if (const auto* r = std::get_if<event::RequestLease>(&e)) asked_[r->request] = r->lease.id;
  core::Effects more;
  for (core::Effect& x : effects) {
    if (auto* a = std::get_if<effect::BreakAnswered>(&x)) {
      if (is("answer twice")) more.push_back(*a);
      if (is("deny against policy")) a->deny_errno = EBUSY;
    }
    if (auto* r = std::get_if<effect::Recall>(&x); r != nullptr && is("settle to half") && r->action == core::Action::Settle) r->size /= 2;
    if (const auto* f = std::get_if<effect::StartFence>(&x); f != nullptr && is("forget before the fence")) x = effect::Forget{f->lease};
    if (const auto* p = std::get_if<effect::WatchPassing>(&x); p != nullptr && is("restore early")) daemon.left(p->id);
    if (const auto* r = std::get_if<effect::Refused>(&x); r != nullptr && is("grant what conflicts") && r->code == EBUSY)
      x = effect::Granted{r->request, asked_[r->request]};
    if (const auto* w = std::get_if<effect::StartWork>(&x); w != nullptr && is("skip the last flush") && w->kind == core::Work::Flush) {
      daemon.step(event::WorkDone{w->work, 0});
      x = effect::Report{};
    }
  }
  effects.insert(effects.end(), more.begin(), more.end());
}

}  // namespace mrlease::sim
