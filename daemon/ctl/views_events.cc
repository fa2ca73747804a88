// SPDX-License-Identifier: Apache-2.0
// What happened, in one line each.
#include "daemon/ctl/format.h"
#include "daemon/ctl/views.h"

namespace mrlease::ctl {
namespace {

std::string took(const google::protobuf::Duration& d) { return duration(seconds(d)); }

std::string error(int number) { return number == 0 ? "" : ", errno " + std::to_string(number); }

std::string joined(const google::protobuf::RepeatedPtrField<std::string>& words) {
  std::string text;
  for (const auto& w : words) text += (text.empty() ? "" : ", ") + printable(w);
  return text.empty() ? "nothing" : text;
}

std::string lease_of(std::uint64_t id, const v1::FileId& f) { return "lease " + std::to_string(id) + " of " + file(f); }

std::string tell(const v1::BreakDone& d) {
  std::string text = what(d.break_()) + " of " + file(d.break_().file()) + ": " + word(d.result()) + error(d.errno_value()) +
                     ", waited " + took(d.waited()) + ", all over after " + took(d.took());
  for (const auto& r : d.recalled()) {
    text += "; lease " + std::to_string(r.lease()) + " " + word(r.action());
    text += r.has_took() ? " in " + took(r.took()) : " never answered";
    text += error(r.errno_value()) + (r.fenced() ? ", fenced" : "");
  }
  return text;
}

std::string tell(const v1::LeaseFenced& f) {
  return lease_of(f.lease(), f.file()) + " of " + process(f.client()) + " fenced (" + printable(f.cause()) + ")" +
         (f.killed() ? ", the client was killed" : "") + ", took " + took(f.took());
}

std::string tell(const v1::Report& r) {
  std::string text = printable(r.text());
  if (r.has_file()) text += ": " + file(r.file());
  if (r.lease() != 0) text += ", lease " + std::to_string(r.lease());
  return text;
}

std::string body(const v1::Event& e) {
  using W = v1::Event::WhatCase;
  switch (e.what_case()) {
    case W::kLeaseGranted:
      return lease_of(e.lease_granted().id(), e.lease_granted().file()) + " granted to " + process(e.lease_granted().client()) +
             ": " + lease_range(e.lease_granted()) + ", " + word(e.lease_granted().backing());
    case W::kLeaseEnded:
      return lease_of(e.lease_ended().lease(), e.lease_ended().file()) + " of " + process(e.lease_ended().client()) +
             " ended: " + printable(e.lease_ended().reason());
    case W::kLeaseFenced: return tell(e.lease_fenced());
    case W::kBreakBegun: return what(e.break_begun()) + " of " + file(e.break_begun().file()) + " waits";
    case W::kBreakDone: return tell(e.break_done());
    case W::kFreezeHolds:
      return "freeze " + std::to_string(e.freeze_holds().break_id()) + " of " + file(e.freeze_holds().file()) + " holds";
    case W::kRecalled:
      return lease_of(e.recalled().lease(), e.recalled().file()) + ": " + process(e.recalled().client()) + " is asked to " +
             word(e.recalled().action()) + ", because of a " + word(e.recalled().reason());
    case W::kRecallAnswered:
      return "lease " + std::to_string(e.recall_answered().lease()) + ": " + process(e.recall_answered().client()) + " has done " +
             word(e.recall_answered().action()) + " after " + took(e.recall_answered().took()) + error(e.recall_answered().errno_value());
    case W::kSessionBegun: return process(e.session_begun().client()) + " connected";
    case W::kSessionEnded:
      return process(e.session_ended().client()) + " is gone with " + std::to_string(e.session_ended().leases()) +
             " leases: " + printable(e.session_ended().reason());
    case W::kReport: return tell(e.report());
    case W::kConfigReloaded:
      return "changed: " + joined(e.config_reloaded().changed()) + "; needs a restart: " + joined(e.config_reloaded().needs_restart());
    case W::WHAT_NOT_SET: break;
  }
  return "something that this mrleasectl does not know";
}

std::string name_of(const v1::Event& e) {
  const auto* field = v1::Event::descriptor()->FindFieldByNumber(e.what_case());
  return field ? field->name() : "unknown";
}

}  // namespace

std::string view(const v1::Event& e) {
  return time_of_day(e.time()) + " #" + std::to_string(e.sequence()) + " " + name_of(e) + ": " + body(e);
}

}  // namespace mrlease::ctl
