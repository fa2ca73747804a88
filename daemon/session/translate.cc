// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/translate.h"

namespace mrlease::session {

namespace v1 = wire::v1;

std::optional<core::Backing> to_core(v1::Backing backing) {
  switch (backing) {
    case v1::BACKING_DIRECT: return core::Backing::Direct;
    case v1::BACKING_ODP_TRANSPARENT: return core::Backing::OdpTransparent;
    case v1::BACKING_ODP_COOPERATIVE: return core::Backing::OdpCooperative;
    case v1::BACKING_BOUNCE: return core::Backing::Bounce;
    default: return std::nullopt;
  }
}

v1::Backing to_wire(core::Backing backing) {
  switch (backing) {
    case core::Backing::Direct: return v1::BACKING_DIRECT;
    case core::Backing::OdpTransparent: return v1::BACKING_ODP_TRANSPARENT;
    case core::Backing::OdpCooperative: return v1::BACKING_ODP_COOPERATIVE;
    case core::Backing::Bounce: return v1::BACKING_BOUNCE;
  }
  return v1::BACKING_AUTO;
}

v1::Action to_wire(core::Action action) {
  switch (action) {
    case core::Action::None: return v1::ACTION_NONE;
    case core::Action::Quiesce: return v1::ACTION_QUIESCE;
    case core::Action::Reregister: return v1::ACTION_REREGISTER;
    case core::Action::Trim: return v1::ACTION_TRIM;
    case core::Action::Settle: return v1::ACTION_SETTLE;
    case core::Action::Freeze: return v1::ACTION_FREEZE;
    case core::Action::Thaw: return v1::ACTION_THAW;
    case core::Action::Dirty: return v1::ACTION_DIRTY;
    case core::Action::Release: return v1::ACTION_RELEASE;
  }
  return v1::ACTION_NONE;
}

v1::Reason to_wire(core::BreakKind kind) {
  switch (kind) {
    case core::BreakKind::Truncate: return v1::REASON_TRUNCATE;
    case core::BreakKind::Destructive: return v1::REASON_DESTRUCTIVE;
    case core::BreakKind::Write: return v1::REASON_WRITE;
    case core::BreakKind::Read: return v1::REASON_READ;
    case core::BreakKind::Sync: return v1::REASON_SYNC;
    case core::BreakKind::Freeze: return v1::REASON_FREEZE;
    case core::BreakKind::Revoke: return v1::REASON_REVOKE;
  }
  return v1::REASON_UNKNOWN;
}

v1::Guard to_wire(guard::Kind kind) {
  switch (kind) {
    case guard::Kind::None: return v1::GUARD_NONE;
    case guard::Kind::Precontent: return v1::GUARD_PRECONTENT;
    case guard::Kind::Lease: return v1::GUARD_LEASE;
    case guard::Kind::Seal: return v1::GUARD_SEAL;
    case guard::Kind::Observe: return v1::GUARD_OBSERVE;
  }
  return v1::GUARD_NONE;
}

wire::Frame to_wire(const core::effect::Recall& e, core::Time now) {
  wire::Frame frame;
  v1::Recall& r = *frame.mutable_recall();
  r.set_lease(e.lease);
  r.set_recall(e.recall);
  r.set_action(to_wire(e.action));
  r.set_reason(to_wire(e.reason));
  r.set_offset(e.extent.begin);
  r.set_length(e.extent.end - e.extent.begin);
  r.set_size(e.size);
  r.set_deadline_ms(static_cast<std::uint32_t>(e.deadline > now ? e.deadline - now : 0));
  return frame;
}

std::optional<core::Extent> to_core(const v1::Range& range) {
  if (range.length() == 0) return core::Extent{range.offset(), core::kToEnd};
  if (range.offset() > core::kToEnd - range.length()) return std::nullopt;
  return core::Extent{range.offset(), range.offset() + range.length()};
}

const char* name(core::Backing backing) {
  switch (backing) {
    case core::Backing::Direct: return "direct";
    case core::Backing::OdpTransparent: return "odp (transparent)";
    case core::Backing::OdpCooperative: return "odp (cooperative)";
    case core::Backing::Bounce: return "bounce";
  }
  return "?";
}

const char* name(core::BreakKind kind) {
  switch (kind) {
    case core::BreakKind::Truncate: return "truncate";
    case core::BreakKind::Destructive: return "destructive";
    case core::BreakKind::Write: return "write";
    case core::BreakKind::Read: return "read";
    case core::BreakKind::Sync: return "sync";
    case core::BreakKind::Freeze: return "freeze";
    case core::BreakKind::Revoke: return "revoke";
  }
  return "?";
}

const char* name(guard::Kind kind) {
  switch (kind) {
    case guard::Kind::None: return "none";
    case guard::Kind::Precontent: return "precontent";
    case guard::Kind::Lease: return "lease";
    case guard::Kind::Seal: return "seal";
    case guard::Kind::Observe: return "observe";
  }
  return "?";
}

void limit(const ClientLimits& limits, wire::v1::Granted* granted) {
  granted->set_discard_orphans(limits.preserve_orphans == false);
  granted->set_orphan_bytes_max(limits.orphan_bytes_max.value_or(0));
  granted->set_orphan_keep_ms_max(static_cast<std::uint32_t>(limits.orphan_keep_max.value_or(0)));
  granted->set_peer_budget_ms_max(static_cast<std::uint32_t>(limits.peer_budget_max.value_or(0)));
}

}  // namespace mrlease::session
