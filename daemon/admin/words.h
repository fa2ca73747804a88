// SPDX-License-Identifier: Apache-2.0
// From the daemon's words to those of proto/admin.proto. Pure.
#pragma once

#include "admin.pb.h"
#include "daemon/session/admin_view.h"

namespace mrlease::admin {

v1::Backing to_proto(core::Backing backing);
std::optional<core::Backing> to_core(v1::Backing backing);
v1::LeaseState to_proto(session::LeaseState state);
std::optional<session::LeaseState> to_session(v1::LeaseState state);
v1::Guard to_proto(guard::Kind kind);
v1::BreakKind to_proto(core::BreakKind kind);
v1::BreakSource to_proto(session::Source source);
v1::BreakPhase to_proto(session::BreakPhase phase);
v1::Action to_proto(core::Action action);
v1::OnTimeout to_proto(core::OnTimeout on_timeout);
v1::BreakResult result_of(const session::BreakNote& note);

void fill(v1::FileId* to, const session::FileRef& file);
void fill(v1::Range* to, const core::Extent& extent);
void fill(v1::Process* to, const session::Who& who);
void fill(v1::Lease* to, const session::LeaseNote& note);  // as it was granted
void fill(v1::Lease* to, const session::LeaseView& view);
void fill(v1::LeaseChange* to, const session::TermsChange& change);
void fill(v1::Break* to, const session::BreakNote& note, core::Time hold_max);
void fill(v1::File* to, const session::FileView& view, core::Time hold_max);
void fill(google::protobuf::Timestamp* to, session::Wall time);
void fill(google::protobuf::Duration* to, session::Span span);
// False: nothing that this API tells (metrics see it all the same).
bool fill(v1::Event* to, const session::Happening& happening);

// Lower-case words, as they stand in metrics and the audit log.
const char* word(core::Backing backing);  // "odp_transparent"
const char* word(core::BreakKind kind);
const char* word(core::Action action);
const char* word(session::Source source);
const char* word(v1::BreakResult result);

}  // namespace mrlease::admin
