// SPDX-License-Identifier: Apache-2.0
// Sync, freeze, thaw, revoke: ordinary breaks, whose owner is the call.
#include <cerrno>
#include <cstring>

#include "daemon/admin/service.h"
#include "daemon/admin/words.h"

namespace mrlease::admin {

namespace {

using session::AdminAnswer;
using session::AdminAsk;
using std::chrono::steady_clock;

grpc::Status refused(int code) {
  if (code == EBUSY)
    return {grpc::StatusCode::FAILED_PRECONDITION, "an operation on the file that was let through does not end; ask again when it has"};
  return {grpc::StatusCode::FAILED_PRECONDITION, std::strerror(code)};
}

// Who asks, for the audit log: a TLS client by its certificate's name.
std::string asker(const grpc::CallbackServerContext& context) {
  for (const auto& name : context.auth_context()->FindPropertyValues("x509_common_name"))
    return "the administrator " + std::string(name.data(), name.size());
  return "the administrator";
}

}  // namespace

Service::Unary* Service::Sync(Context* context, const v1::SyncRequest* request, v1::SyncResponse* response) {
  FileName name;
  core::Extent extent;
  auto checked = check_file("file", request->file(), &name);
  if (checked.ok()) checked = check_range("range", request->range(), &extent);
  return begin(context, std::move(checked), [=, this, who = asker(*context)](const CallPtr& call) {
    resolver_.resolve(call, "file", name, Wants::Descriptor, [=, this](Target target) {
      response->set_leases(p_.view.overlapping(target.key, extent));
      AdminAsk ask;
      ask.kind = core::BreakKind::Sync;
      ask.file = target.key;
      ask.fd = target.fd;
      ask.extent = extent;
      ask.what = "sync by " + who;
      ask.answered = [call, response, began = steady_clock::now()](const AdminAnswer& answer) {
        if (call->over()) return;
        if (answer.code != 0) return call->finish({grpc::StatusCode::DATA_LOSS, std::string("fsync: ") + std::strerror(answer.code)});
        fill(response->mutable_took(), steady_clock::now() - began);
        call->finish({});
      };
      const core::BreakId id = p_.view.ask(std::move(ask));
      call->on_cancel([this, id] { p_.view.abandon(id); });
    });
  });
}

// holds: the range stands still; over(expired): it no longer does.
void Service::freeze(const CallPtr& call, const v1::FreezeRequest* request, std::string who,
                     std::function<void(core::BreakId, v1::FreezeResponse)> holds, std::function<void(std::string)> over) {
  FileName name;
  core::Extent extent;
  const core::Time most = p_.view.options().policy.freeze_hold_max;
  auto checked = check_file("file", request->file(), &name);
  if (checked.ok()) checked = check_range("range", request->range(), &extent);
  if (checked.ok() && request->hold_ms() > most) checked = invalid("hold_ms", "at most " + std::to_string(most) + " (freeze-hold-max-ms)");
  if (!checked.ok()) return call->finish(std::move(checked));
  const core::Time hold = request->hold_ms() == 0 ? most : request->hold_ms();
  resolver_.resolve(call, "file", name, Wants::Key, [=, this](Target target) {
    if (!p_.view.can_freeze())
      return call->finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "as many freezes are under way as outlive a restart of the daemon"});
    AdminAsk ask;
    ask.kind = core::BreakKind::Freeze;
    ask.file = target.key;
    ask.fd = target.fd;
    ask.extent = extent;
    ask.hold = hold;
    ask.what = "freeze by " + who;
    ask.over = over;
    auto id = std::make_shared<core::BreakId>(0);
    ask.answered = [=, this, began = steady_clock::now()](const AdminAnswer& answer) {
      if (call->over()) return;
      if (answer.code == EBUSY) return call->finish(refused(answer.code));
      if (answer.code != 0)
        return call->finish({grpc::StatusCode::FAILED_PRECONDITION, std::string("bounce pages cannot be written to the file: ") + std::strerror(answer.code)});
      v1::FreezeResponse told;
      told.set_freeze(*id);
      told.set_unsettled_pages(answer.unsettled);
      fill(told.mutable_took(), steady_clock::now() - began);
      told.set_leases(p_.view.overlapping(target.key, extent));
      told.set_hold_ms(static_cast<std::uint32_t>(hold));
      if (const auto file = p_.view.file(target.key)) told.set_coverage(file->coverage.text);
      holds(*id, std::move(told));
    };
    *id = p_.view.ask(std::move(ask));
    call->on_cancel([this, id] { p_.view.abandon(*id); });
  });
}

Service::Unary* Service::Freeze(Context* context, const v1::FreezeRequest* request, v1::FreezeResponse* response) {
  return begin(context, {}, [=, this, who = asker(*context)](const CallPtr& call) {
    freeze(
        call, request, who,
        [=, this](core::BreakId id, v1::FreezeResponse told) {
          *response = std::move(told);
          // Nobody knows of the freeze then.
          call->on_lost([this, id] { p_.view.abandon(id); });
          call->finish({});
        },
        {});  // it outlives the call, and the daemon
  });
}

grpc::ServerWriteReactor<v1::HoldFreezeResponse>* Service::HoldFreeze(Context* context, const v1::FreezeRequest* request) {
  const auto call = std::make_shared<StreamCall<v1::HoldFreezeResponse>>(p_.loop, p_.office, context);
  auto* reactor = call->reactor();
  asio::post(p_.loop, [=, this, who = asker(*context)] {
    if (call->over()) return;
    admit(call, [=, this](const CallPtr&) {
      freeze(
          call, request, who,
          [call](core::BreakId, v1::FreezeResponse told) {
            v1::HoldFreezeResponse message;
            *message.mutable_holds() = std::move(told);
            call->write(std::move(message));
          },
          [call](std::string why) {
            if (call->over()) return;
            v1::HoldFreezeResponse message;
            message.set_over(true);
            message.set_reason(why.empty() ? "thawed" : std::move(why));
            call->write(std::move(message));
            call->finish({});
          });
    });
  });
  return reactor;
}

Service::Unary* Service::Thaw(Context* context, const v1::ThawRequest* request, v1::ThawResponse* response) {
  auto checked = request->freeze() == 0 ? invalid("freeze", "missing") : grpc::Status();
  return begin(context, std::move(checked), [this, id = request->freeze(), response](const CallPtr& call) {
    if (!p_.view.holds(id))
      return call->finish({grpc::StatusCode::NOT_FOUND, "freeze: no freeze " + std::to_string(id) + " now; if there was, " + p_.view.why_over(id)});
    p_.view.thaw(id, [call, response, began = steady_clock::now()](const std::string& why) {
      if (call->over()) return;
      response->set_expired(!why.empty());
      response->set_reason(why);
      fill(response->mutable_took(), steady_clock::now() - began);
      call->finish({});
    });
  });
}

Service::Unary* Service::Revoke(Context* context, const v1::RevokeRequest* request, v1::RevokeResponse* response) {
  FileName name;
  grpc::Status checked;
  if (request->what_case() == v1::RevokeRequest::kFile) checked = check_file("file", request->file(), &name);
  else if (request->lease() == 0) checked = invalid("what", "missing: give a lease, or a file");
  const auto revoke = [=, this, who = asker(*context)](const CallPtr& call, const core::FileKey& file, core::Extent extent, core::LeaseId only,
                                                       std::size_t leases) {
    AdminAsk ask;
    ask.kind = core::BreakKind::Revoke;
    ask.file = file;
    ask.extent = extent;
    ask.only = only;
    ask.what = "revoke by " + who;
    ask.answered = [call, response, leases, began = steady_clock::now()](const AdminAnswer& answer) {
      if (call->over()) return;
      if (answer.code != 0) return call->finish(refused(answer.code));
      response->set_revoked(static_cast<std::uint32_t>(leases));
      response->set_fenced(answer.fenced);
      fill(response->mutable_took(), steady_clock::now() - began);
      call->finish({});
    };
    p_.view.ask(std::move(ask));  // goes on when the caller has gone
  };
  return begin(context, std::move(checked), [=, this, id = request->lease()](const CallPtr& call) {
    if (id != 0) {
      const auto lease = p_.view.lease(id);
      if (!lease) return call->finish({grpc::StatusCode::NOT_FOUND, "lease: no lease " + std::to_string(id) + "; it may have ended"});
      return revoke(call, lease->note.file.key, lease->note.extent, id, 1);
    }
    resolver_.resolve(call, "file", name, Wants::Key,
                      [=, this](Target target) { revoke(call, target.key, {}, 0, p_.view.leases_of(target.key).size()); });
  });
}

}  // namespace mrlease::admin
