// SPDX-License-Identifier: Apache-2.0
// mrl_open and what needs no region.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "client-lib/src/api/handles.h"
#include "client-lib/src/protocol/frames.h"

using namespace mrlease::client;

namespace {

Outcome read_options(const mrl_open_options* given, Context::Options* out) {
  mrl_open_options o{};
  if (given != nullptr) {
    if (given->struct_size < sizeof(std::size_t)) {
      return {EINVAL, "options.struct_size is " + std::to_string(given->struct_size) +
                          "; set it to sizeof(struct mrl_open_options)"};
    }
    std::memcpy(static_cast<void*>(&o), given, std::min(given->struct_size, sizeof o));
  }
  if ((o.flags & ~static_cast<std::uint32_t>(MRL_OPEN_OWN_LOOP)) != 0) {
    return {EINVAL, "options.flags has bits that are none of enum mrl_open_flags: " + std::to_string(o.flags)};
  }
  const char* path = o.socket_path;
  if (path == nullptr) path = ::secure_getenv("MRLEASE_SOCKET");
  out->socket_path = path != nullptr ? path : MRL_DEFAULT_SOCKET;
  out->own_loop = (o.flags & MRL_OPEN_OWN_LOOP) != 0;
  out->callback = o.callback;
  out->user = o.user;
  return {};
}

Outcome check(int fd, const protocol::FileRange& range) {
  if (range.offset + range.length < range.offset) return {EINVAL, "offset plus length overflows"};
  if (::fcntl(fd, F_GETFD) < 0) return {EBADF, "file descriptor " + std::to_string(fd) + " is not open"};
  return {};
}

Outcome freeze_file(mrl_ctx* ctx, int fd, const protocol::FileRange& range, std::uint32_t hold_ms, mrl_freeze** freeze, std::uint64_t* unsettled) {
  if (ctx == nullptr) return missing("ctx");
  if (freeze == nullptr) return missing("freeze");
  if (hold_ms == 0) return {EINVAL, "hold_ms is 0; say how long the file may stand still"};
  Outcome o = check(fd, range);
  if (!o.ok()) return o;
  Reply reply;
  const auto connection = ctx->impl->connection();
  o = connection->call(protocol::freeze_file(range, hold_ms), {fd}, mrlease::wire::Frame::kFrozen, &reply);
  if (!o.ok()) return o;
  auto made = std::make_unique<mrl_freeze>();
  made->context = ctx;
  made->connection = connection;
  made->id = reply.frame.frozen().freeze();
  if (unsettled != nullptr) *unsettled = reply.frame.frozen().unsettled_pages();
  *freeze = made.get();
  std::lock_guard lock(ctx->mutex);
  ctx->freezes[made.get()] = std::move(made);
  return o;
}

// The freeze is gone in any case.
Outcome thaw(mrl_freeze* freeze) {
  mrl_ctx* ctx = freeze->context;
  Outcome o = freeze->connection->call(protocol::thaw_file(freeze->id), {}, mrlease::wire::Frame::kStatus, nullptr);
  std::lock_guard lock(ctx->mutex);
  ctx->freezes.erase(freeze);
  return o;
}

void copy_text(char* to, std::size_t size, const std::string& from) { std::snprintf(to, size, "%s", from.c_str()); }

}  // namespace

extern "C" {

int mrl_open(const mrl_open_options* options, mrl_ctx** ctx) {
  return guarded([&]() -> Outcome {
    if (ctx == nullptr) return missing("ctx");
    Context::Options read;
    Outcome o = read_options(options, &read);
    auto made = std::make_unique<mrl_ctx>();
    if (o.ok()) o = Context::open(read, &made->impl);
    if (o.ok()) *ctx = made.release();
    return o;
  });
}

int mrl_close(mrl_ctx* ctx) {
  return guarded([&]() -> Outcome {
    if (ctx == nullptr) return missing("ctx");
    if (EventQueue::in_callback()) return {EDEADLK, "mrl_close() from a callback would wait for itself"};
    Outcome first, kept;
    for (auto at = ctx->regions.begin(); at != ctx->regions.end();) {
      const Outcome o = end_region((at++)->first);  // which takes it out
      Outcome& told = o.code == EBUSY ? kept : first;
      if (told.ok()) told = o;
    }
    if (!kept.ok()) return kept;  // devices reach files by them: their leases must not end
    for (auto& [handle, freeze] : ctx->freezes) {
      (void)freeze->connection->call(protocol::thaw_file(freeze->id), {}, mrlease::wire::Frame::kStatus, nullptr);
    }
    ctx->impl.reset();  // ends the threads
    delete ctx;
    return first;
  });
}

const char* mrl_last_error(void) { return last_error(); }

int mrl_get_fd(mrl_ctx* ctx) { return ctx->impl->events().fd(); }

int mrl_dispatch(mrl_ctx* ctx) {
  return guarded([&]() -> Outcome {
    if (ctx == nullptr) return missing("ctx");
    ctx->impl->events().dispatch();
    return {};
  });
}

int mrl_file_sync(mrl_ctx* ctx, int fd, uint64_t offset, uint64_t length) {
  return guarded([&]() -> Outcome {
    if (ctx == nullptr) return missing("ctx");
    if (Outcome o = check(fd, {offset, length}); !o.ok()) return o;
    return ctx->impl->connection()->call(protocol::sync_file({offset, length}), {fd}, mrlease::wire::Frame::kStatus,
                                        nullptr);
  });
}

int mrl_file_freeze(mrl_ctx* ctx, int fd, uint64_t offset, uint64_t length, uint32_t hold_ms, mrl_freeze** freeze,
                    uint64_t* unsettled) {
  return guarded([&] { return freeze_file(ctx, fd, {offset, length}, hold_ms, freeze, unsettled); });
}

int mrl_thaw(mrl_freeze* freeze) {
  return guarded([&] { return freeze == nullptr ? missing("freeze") : thaw(freeze); });
}

int mrl_file_sync_stable(mrl_ctx* ctx, int fd, uint64_t offset, uint64_t length, uint32_t hold_ms) {
  return guarded([&]() -> Outcome {
    const protocol::FileRange range{offset, length};
    mrl_freeze* freeze = nullptr;
    if (Outcome o = freeze_file(ctx, fd, range, hold_ms, &freeze, nullptr); !o.ok()) return o;
    const int code = ::fsync(fd) == 0 ? 0 : errno;
    const Outcome thawed = thaw(freeze);
    if (code != 0) {
      // The kernel has told us, and calls the pages clean: the daemon has them written again, as after a sync of its own that failed.
      (void)ctx->impl->connection()->call(protocol::sync_file(range, true), {fd}, mrlease::wire::Frame::kStatus, nullptr);
      return from_errno("fsync", code);
    }
    if (thawed.code == ETIMEDOUT) return {EAGAIN, "on the disk, but perhaps not all of its pages stood still so long: " + thawed.text};
    return thawed;
  });
}

int mrl_probe(mrl_ctx* ctx, ibv_context* device, int fd, mrl_caps* caps) {
  return guarded([&]() -> Outcome {
    if (ctx == nullptr) return missing("ctx");
    if (device == nullptr) return missing("device");
    if (caps == nullptr || caps->struct_size < sizeof(std::size_t)) return missing("caps (or its struct_size)");
    DeviceCaps found;
    Outcome o = ctx->impl->caps(device, &found);
    if (!o.ok()) return o;
    mrl_caps out{};
    out.odp = found.odp;
    out.odp_waits = found.waits ? 1 : 0;
    out.userfaultfd = ctx->impl->resolver() != nullptr ? 1 : 0;
    std::string text = "odp: " + found.odp_text + "; " + found.waits_text;
    if (fd >= 0) {
      const Outcome direct = probe_direct(device, fd);
      out.direct_ext = direct.ok() ? 1 : 0;
      text += direct.ok() ? "; direct: the file can be pinned for writing" : "; direct: " + direct.text;
    }
    if (out.userfaultfd == 0) text += "; userfaultfd: " + ctx->impl->userfaultfd_reason();
    copy_text(out.reason, sizeof out.reason, text);
    out.struct_size = caps->struct_size;
    std::memcpy(static_cast<void*>(caps), &out, std::min(caps->struct_size, sizeof out));
    return {};
  });
}

const char* mrl_backing_name(enum mrl_backing backing) {
  switch (backing) {
    case MRL_BACKING_AUTO:
      return "auto";
    case MRL_BACKING_DIRECT:
      return "direct";
    case MRL_BACKING_ODP:
      return "odp";
    case MRL_BACKING_ODP_COOPERATIVE:
      return "odp-cooperative";
    case MRL_BACKING_BOUNCE:
      return "bounce";
  }
  return "unknown";
}

}  // extern "C"
