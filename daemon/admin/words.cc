// SPDX-License-Identifier: Apache-2.0
#include "daemon/admin/words.h"

#include <sys/sysmacros.h>

#include <utility>

#include "daemon/session/translate.h"

namespace mrlease::admin {

using session::LeaseState;

v1::Backing to_proto(core::Backing backing) {
  switch (backing) {
    case core::Backing::Direct: return v1::BACKING_DIRECT;
    case core::Backing::OdpTransparent: return v1::BACKING_ODP_TRANSPARENT;
    case core::Backing::OdpCooperative: return v1::BACKING_ODP_COOPERATIVE;
    case core::Backing::Bounce: return v1::BACKING_BOUNCE;
  }
  return v1::BACKING_UNSPECIFIED;
}

std::optional<core::Backing> to_core(v1::Backing backing) {
  switch (backing) {
    case v1::BACKING_DIRECT: return core::Backing::Direct;
    case v1::BACKING_ODP_TRANSPARENT: return core::Backing::OdpTransparent;
    case v1::BACKING_ODP_COOPERATIVE: return core::Backing::OdpCooperative;
    case v1::BACKING_BOUNCE: return core::Backing::Bounce;
    default: return {};
  }
}

v1::LeaseState to_proto(LeaseState state) {
  switch (state) {
    case LeaseState::Pending: return v1::LEASE_STATE_PENDING;
    case LeaseState::Active: return v1::LEASE_STATE_ACTIVE;
    case LeaseState::Recalling: return v1::LEASE_STATE_RECALLING;
    case LeaseState::Frozen: return v1::LEASE_STATE_FROZEN;
    case LeaseState::Trimmed: return v1::LEASE_STATE_TRIMMED;
    case LeaseState::Fencing: return v1::LEASE_STATE_FENCING;
    case LeaseState::Fenced: return v1::LEASE_STATE_FENCED;
  }
  return v1::LEASE_STATE_UNSPECIFIED;
}

std::optional<LeaseState> to_session(v1::LeaseState state) {
  for (const LeaseState s : {LeaseState::Pending, LeaseState::Active, LeaseState::Recalling, LeaseState::Frozen, LeaseState::Trimmed,
                             LeaseState::Fencing, LeaseState::Fenced})
    if (to_proto(s) == state) return s;
  return {};
}

v1::Guard to_proto(guard::Kind kind) {
  switch (kind) {
    case guard::Kind::None: return v1::GUARD_UNSPECIFIED;
    case guard::Kind::Precontent: return v1::GUARD_PRECONTENT;
    case guard::Kind::Lease: return v1::GUARD_LEASE;
    case guard::Kind::Seal: return v1::GUARD_SEAL;
    case guard::Kind::Observe: return v1::GUARD_OBSERVE;
  }
  return v1::GUARD_UNSPECIFIED;
}

v1::BreakKind to_proto(core::BreakKind kind) {
  switch (kind) {
    case core::BreakKind::Truncate: return v1::BREAK_KIND_TRUNCATE;
    case core::BreakKind::Destructive: return v1::BREAK_KIND_DESTRUCTIVE;
    case core::BreakKind::Write: return v1::BREAK_KIND_WRITE;
    case core::BreakKind::Read: return v1::BREAK_KIND_READ;
    case core::BreakKind::Sync: return v1::BREAK_KIND_SYNC;
    case core::BreakKind::Freeze: return v1::BREAK_KIND_FREEZE;
    case core::BreakKind::Revoke: return v1::BREAK_KIND_REVOKE;
  }
  return v1::BREAK_KIND_UNSPECIFIED;
}

v1::BreakSource to_proto(session::Source source) {
  switch (source) {
    case session::Source::Foreign: return v1::BREAK_SOURCE_FOREIGN;
    case session::Source::Late: return v1::BREAK_SOURCE_LATE;
    case session::Source::Client: return v1::BREAK_SOURCE_CLIENT;
    case session::Source::Admin: return v1::BREAK_SOURCE_ADMIN;
  }
  return v1::BREAK_SOURCE_UNSPECIFIED;
}

v1::BreakPhase to_proto(session::BreakPhase phase) {
  switch (phase) {
    case session::BreakPhase::Waiting: return v1::BREAK_PHASE_WAITING;
    case session::BreakPhase::Holding: return v1::BREAK_PHASE_HOLDING;
    case session::BreakPhase::Passing: return v1::BREAK_PHASE_PASSING;
  }
  return v1::BREAK_PHASE_UNSPECIFIED;
}

v1::Action to_proto(core::Action action) {
  switch (action) {
    case core::Action::None: return v1::ACTION_UNSPECIFIED;
    case core::Action::Quiesce: return v1::ACTION_QUIESCE;
    case core::Action::Reregister: return v1::ACTION_REREGISTER;
    case core::Action::Trim: return v1::ACTION_TRIM;
    case core::Action::Settle: return v1::ACTION_SETTLE;
    case core::Action::Freeze: return v1::ACTION_FREEZE;
    case core::Action::Thaw: return v1::ACTION_THAW;
    case core::Action::Dirty: return v1::ACTION_DIRTY;
    case core::Action::Release: return v1::ACTION_RELEASE;
  }
  return v1::ACTION_UNSPECIFIED;
}

v1::OnTimeout to_proto(core::OnTimeout on_timeout) {
  switch (on_timeout) {
    case core::OnTimeout::Fence: return v1::ON_TIMEOUT_FENCE;
    case core::OnTimeout::Deny: return v1::ON_TIMEOUT_DENY;
    case core::OnTimeout::Kill: return v1::ON_TIMEOUT_KILL;
  }
  return v1::ON_TIMEOUT_UNSPECIFIED;
}

v1::BreakResult result_of(const session::BreakNote& b) {
  if (b.source == session::Source::Late) return v1::BREAK_RESULT_LATE;
  if (!b.answered || b.code != 0) return v1::BREAK_RESULT_DENIED;
  return b.expired ? v1::BREAK_RESULT_EXPIRED : v1::BREAK_RESULT_ALLOWED;
}

const char* word(core::Backing backing) {
  switch (backing) {
    case core::Backing::Direct: return "direct";
    case core::Backing::OdpTransparent: return "odp_transparent";
    case core::Backing::OdpCooperative: return "odp_cooperative";
    case core::Backing::Bounce: return "bounce";
  }
  return "?";
}

const char* word(core::BreakKind kind) { return session::name(kind); }

const char* word(core::Action action) {
  switch (action) {
    case core::Action::None: return "none";
    case core::Action::Quiesce: return "quiesce";
    case core::Action::Reregister: return "reregister";
    case core::Action::Trim: return "trim";
    case core::Action::Settle: return "settle";
    case core::Action::Freeze: return "freeze";
    case core::Action::Thaw: return "thaw";
    case core::Action::Dirty: return "dirty";
    case core::Action::Release: return "release";
  }
  return "?";
}

const char* word(session::Source source) {
  switch (source) {
    case session::Source::Foreign: return "foreign";
    case session::Source::Late: return "late";
    case session::Source::Client: return "client";
    case session::Source::Admin: return "admin";
  }
  return "?";
}

const char* word(v1::BreakResult result) {
  switch (result) {
    case v1::BREAK_RESULT_ALLOWED: return "allowed";
    case v1::BREAK_RESULT_DENIED: return "denied";
    case v1::BREAK_RESULT_LATE: return "late";
    case v1::BREAK_RESULT_EXPIRED: return "expired";
    default: return "?";
  }
}

}  // namespace mrlease::admin
