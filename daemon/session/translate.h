// SPDX-License-Identifier: Apache-2.0
// Between the words of the wire and those of the core. Pure.
#pragma once

#include <optional>

#include "daemon/core/events.h"
#include "daemon/guard/guard.h"
#include "daemon/session/rules.h"
#include "proto/framing.h"

namespace mrlease::session {

std::optional<core::Backing> to_core(wire::v1::Backing backing);  // nothing: not a backing that can be leased
wire::v1::Backing to_wire(core::Backing backing);
wire::v1::Action to_wire(core::Action action);
wire::v1::Reason to_wire(core::BreakKind kind);
wire::v1::Guard to_wire(guard::Kind kind);
// Without its store. now: the client hears how much time is left.
wire::Frame to_wire(const core::effect::Recall& recall, core::Time now);
// length 0 means to the end; nothing: the range overflows.
std::optional<core::Extent> to_core(const wire::v1::Range& range);

const char* name(core::Backing backing);
const char* name(core::BreakKind kind);
const char* name(guard::Kind kind);

// What the rule says of the client's own part.
void limit(const ClientLimits& limits, wire::v1::Granted* granted);

}  // namespace mrlease::session
