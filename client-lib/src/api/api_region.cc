// SPDX-License-Identifier: Apache-2.0
// mrl_reg_file and what is done with a region.
#include <fcntl.h>

#include <optional>

#include "client-lib/src/api/handles.h"
#include "client-lib/src/api/registration_check.h"
#include "client-lib/src/region/file_mapping.h"

using namespace mrlease::client;

namespace {

Outcome choose(mrl_ctx* ctx, ibv_pd* pd, const mrl_reg_options& options, Choice* out) {
  DeviceCaps caps;
  const bool matters = options.backing != MRL_BACKING_DIRECT && options.backing != MRL_BACKING_BOUNCE;
  if (matters) {
    Outcome o = ctx->impl->caps(verbs::context_of(pd), &caps);
    if (!o.ok()) return o;
  }
  Outcome o = choose_backing(options.backing, options.accept_quirks, caps, ctx->impl->resolver() != nullptr, out);
  if (o.ok() && matters && out->backing == MRL_BACKING_ODP_COOPERATIVE && ctx->impl->resolver() == nullptr &&
      !ctx->impl->userfaultfd_reason().empty()) {
    out->reason += " (" + ctx->impl->userfaultfd_reason() + ")";
  }
  return o;
}

std::unique_ptr<mrl_region> new_handle(mrl_ctx* ctx) {
  std::lock_guard lock(ctx->mutex);
  if (ctx->ended.empty()) {
    auto made = std::make_unique<mrl_region>();
    made->context = ctx;
    return made;
  }
  auto again = std::move(ctx->ended.back());
  ctx->ended.pop_back();
  return again;
}

// May somebody else use that region, who wants this of it?
Outcome check_fits(const Region& there, const ibv_pd* pd, std::uint64_t end, int access, const mrl_reg_options* options) {
  const RegionSpec& spec = there.spec();
  const std::uint64_t base = reinterpret_cast<std::uint64_t>(there.address());
  if (there.fenced()) return {EKEYREVOKED, "the region there is fenced; mrl_dereg() it, then register again"};
  if (end - base > there.on_file())
    return {ERANGE, "the file was cut there: " + std::to_string(there.on_file()) + " bytes of the region are on it; mrl_extend() it first"};
  if (spec.pd != pd) return {EBUSY, "it is registered already, in another protection domain; mrl_dereg() that first"};
  if ((access & ~spec.access) != 0) return {EBUSY, "it is registered already, with less access; mrl_dereg() that first"};
  mrl_reg_options wanted;
  if (options == nullptr) return {};
  if (Outcome o = check_options(options, &wanted); !o.ok()) return o;
  const bool odp = wanted.backing == MRL_BACKING_ODP && spec.choice.backing == MRL_BACKING_ODP_COOPERATIVE;
  if (wanted.backing != MRL_BACKING_AUTO && wanted.backing != spec.choice.backing && !odp)
    return {EBUSY, "it is registered already, with backing " + std::string(mrl_backing_name(spec.choice.backing)) + "; mrl_dereg() that first"};
  if ((wanted.flags & MRL_REG_PRESERVE_ORPHANS) != 0 && !spec.orphans.preserve)
    return {EBUSY, "it is registered already, without MRL_REG_PRESERVE_ORPHANS; mrl_dereg() that first"};
  return {};
}

// The rest of the specification is filled in: which file, where.
Outcome register_region(mrl_ctx* ctx, const mrl_reg_options& options, RegionSpec spec, mrl_region** region) {
  Outcome o = choose(ctx, spec.pd, options, &spec.choice);
  if (!o.ok()) return o;
  spec.share = (options.flags & MRL_REG_SHARE) != 0;
  spec.orphans = {(options.flags & MRL_REG_PRESERVE_ORPHANS) != 0, options.orphan_bytes_max};
  spec.orphan_keep = std::chrono::milliseconds(options.orphan_keep_ms);
  spec.peer_budget_ms = options.peer_budget_ms;
  spec.accept_quirks = options.accept_quirks;
  spec.or_bounce = options.backing == MRL_BACKING_AUTO && spec.choice.backing != MRL_BACKING_BOUNCE;
  std::unique_ptr<mrl_region> made = new_handle(ctx);
  o = Region::create(*ctx->impl, std::move(spec), made.get(), &made->impl);
  std::lock_guard lock(ctx->mutex);
  if (!o.ok()) {
    ctx->ended.push_back(std::move(made));
    return o;
  }
  *region = made.get();
  ctx->cache.add(made.get(), reinterpret_cast<std::uint64_t>(made->impl->address()), made->impl->spec().length);
  ctx->regions[made.get()] = std::move(made);
  return {};
}

// A reference to what is registered there already, or why it cannot be had. Nothing: nothing is registered there.
std::optional<Outcome> find_region(mrl_ctx* ctx, const ibv_pd* pd, std::uint64_t address, std::size_t length, int access,
                                   const mrl_reg_options* options, mrl_region** region) {
  auto* const found = static_cast<mrl_region*>(ctx->cache.find(address, length));
  if (found == nullptr) return std::nullopt;
  if (Outcome o = check_fits(*found->impl, pd, address + length, access, options); !o.ok()) [[unlikely]] {
    if (found->put()) (void)end_region(found);
    return o;
  }
  *region = found;
  return Outcome{};
}

Outcome check_pointers(mrl_ctx* ctx, ibv_pd* pd, mrl_region** region) {
  if (ctx == nullptr) return missing("ctx");
  if (pd == nullptr) return missing("pd");
  return region == nullptr ? missing("region") : Outcome{};
}

Outcome register_file(mrl_ctx* ctx, ibv_pd* pd, int fd, std::uint64_t offset, std::size_t length, int access,
                      const mrl_reg_options* given, mrl_region** region) {
  mrl_reg_options options;
  CheckedFile file;
  RegionSpec spec;
  Outcome o = check_pointers(ctx, pd, region);
  if (o.ok()) o = check_options(given, &options);
  if (o.ok()) o = verbs::check_access(access, &spec.access);
  if (o.ok()) o = check_file(fd, offset, length, verbs::writes(access), &file);
  if (!o.ok()) return o;
  spec.pd = pd;
  spec.file = mrlease::wire::Fd(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!spec.file) return from_errno("duplicate of the file descriptor");
  spec.offset = offset;
  spec.length = length;
  spec.write = verbs::writes(access);
  return register_region(ctx, options, std::move(spec), region);
}

Outcome register_mapping(mrl_ctx* ctx, ibv_pd* pd, void* address, std::size_t length, int access, const mrl_reg_options* given,
                         mrl_region** region) {
  mrl_reg_options options;
  CheckedFile file;
  FileMapping mapping;
  RegionSpec spec;
  Outcome o = check_pointers(ctx, pd, region);
  if (o.ok() && address == nullptr) o = missing("addr");
  if (o.ok() && length == 0) o = {EINVAL, "length is 0; a lease covers at least one byte"};
  if (o.ok()) o = check_options(given, &options);
  if (o.ok()) o = verbs::check_access(access, &spec.access);
  if (!o.ok()) return o;
  const auto at = reinterpret_cast<std::uint64_t>(address);
  if (at + length < at) return {EINVAL, "addr plus length is beyond the address space"};
  spec.adopted = reinterpret_cast<char*>(page_down(at));
  spec.length = at + length - page_down(at);
  std::lock_guard lock(ctx->adopting);
  if (auto there = find_region(ctx, pd, at, length, spec.access, given, region)) return *there;
  o = find_file_mapping(spec.adopted, spec.length, verbs::writes(access), &mapping, [&](const MapsLine& line, mrlease::wire::Fd* opened) {
    return ctx->impl->open_mapped(line.begin, line.writable, opened);
  });
  if (o.ok()) o = check_file(mapping.file.get(), mapping.offset, spec.length, mapping.writable, &file);
  if (!o.ok()) return o;
  spec.pd = pd;
  spec.file = std::move(mapping.file);
  spec.offset = mapping.offset;
  spec.write = mapping.writable;  // the application goes on storing there
  return register_region(ctx, options, std::move(spec), region);
}

// The backing is the region's: the other device has to be able to do the same.
Outcome add_mr(mrl_region* region, ibv_pd* pd, int access, unsigned* index) {
  const RegionSpec& spec = region->impl->spec();
  int completed = 0;
  Outcome o = verbs::check_access(access, &completed);
  if (!o.ok()) return o;
  if (verbs::writes(access) && !spec.write)
    return {EACCES, "the access has writes, and the region was registered without; register it for writing first"};
  mrl_reg_options same{};
  same.backing = spec.choice.backing;
  same.accept_quirks = spec.accept_quirks;
  Choice choice;
  o = choose(region->context, pd, same, &choice);
  if (!o.ok()) return o;
  if (choice.backing != spec.choice.backing || choice.transparent != spec.choice.transparent)
    return {EOPNOTSUPP, "the region's backing does not work on that device: " + choice.reason};
  return region->impl->add_mr(pd, completed, index);
}

}  // namespace

namespace mrlease::client {

Outcome end_region(mrl_region* region) {
  mrl_ctx* const ctx = region->context;
  ctx->cache.remove(region);
  Outcome o = region->impl->dereg();
  if (o.code == EBUSY) {
    ctx->cache.add(region, reinterpret_cast<std::uint64_t>(region->impl->address()), region->impl->spec().length);
    return o;
  }
  std::shared_ptr<Region> ended;  // goes without the lock
  std::lock_guard lock(ctx->mutex);
  ended = std::move(region->impl);
  auto found = ctx->regions.find(region);
  if (found != ctx->regions.end()) {
    ctx->ended.push_back(std::move(found->second));
    ctx->regions.erase(found);
  }
  return o;
}

}  // namespace mrlease::client

extern "C" {

int mrl_reg_file(mrl_ctx* ctx, ibv_pd* pd, int fd, uint64_t offset, size_t length, int access,
                 const mrl_reg_options* options, mrl_region** region) {
  return guarded([&] { return register_file(ctx, pd, fd, offset, length, access, options, region); });
}

int mrl_reg_mr(mrl_ctx* ctx, ibv_pd* pd, void* addr, size_t length, int access, const mrl_reg_options* options,
               mrl_region** region) {
  return guarded([&]() -> Outcome {
    // What is registered already, without a lock.
    if (ctx != nullptr && pd != nullptr && addr != nullptr && length != 0 && region != nullptr) [[likely]] {
      const auto at = reinterpret_cast<std::uint64_t>(addr);
      if (auto there = find_region(ctx, pd, at, length, access, options, region)) [[likely]]
        return *std::move(there);
    }
    return register_mapping(ctx, pd, addr, length, access, options, region);
  });
}

int mrl_dereg(mrl_region* region) {
  return guarded([&]() -> Outcome {
    if (region == nullptr) return missing("region");
    if (EventQueue::in_callback()) return {EDEADLK, "mrl_dereg() from a callback would wait for itself"};
    return region->put() ? end_region(region) : Outcome{};
  });
}

int mrl_add_mr(mrl_region* region, ibv_pd* pd, int access, unsigned* index) {
  return guarded([&]() -> Outcome {
    if (region == nullptr) return missing("region");
    if (pd == nullptr) return missing("pd");
    if (index == nullptr) return missing("index");
    return add_mr(region, pd, access, index);
  });
}

ibv_mr* mrl_mr_at(const mrl_region* region, unsigned index) { return region->impl->mr(index); }

void* mrl_addr(const mrl_region* region) { return region->impl->address(); }
size_t mrl_length(const mrl_region* region) { return region->impl->length(); }
uint32_t mrl_lkey(const mrl_region* region) { return region->impl->lkey(); }
uint32_t mrl_rkey(const mrl_region* region) { return region->impl->rkey(); }
ibv_mr* mrl_mr(const mrl_region* region) { return region->impl->mr(); }

int mrl_get_info(const mrl_region* region, mrl_info* info) {
  return guarded([&]() -> Outcome {
    if (region == nullptr) return missing("region");
    if (info == nullptr || info->struct_size < sizeof(std::size_t)) return missing("info (or its struct_size)");
    region->impl->info(info);
    return {};
  });
}

int mrl_sync(mrl_region* region, uint64_t offset, uint64_t length) {
  return guarded(
      [&]() -> Outcome { return region == nullptr ? missing("region") : region->impl->sync(offset, length); });
}

int mrl_extend(mrl_region* region, uint64_t* size) {
  return guarded([&]() -> Outcome { return region == nullptr ? missing("region") : region->impl->extend(TakeBack::Discard, size); });
}

int mrl_reattach(mrl_region* region, uint64_t* size) {
  return guarded([&]() -> Outcome {
    if (region == nullptr) return missing("region");
    if (EventQueue::in_callback()) return {EDEADLK, "mrl_reattach() from a callback could wait for a recall that waits for the callback"};
    return region->impl->extend(TakeBack::Reattach, size);
  });
}

int mrl_complied(mrl_region* region, uint64_t recall) {
  return guarded([&]() -> Outcome { return region == nullptr ? missing("region") : region->impl->complied(recall); });
}

int mrl_enter(mrl_region* region) { return region->impl->guard().enter(); }
void mrl_leave(mrl_region* region) { region->impl->guard().leave(); }

}  // extern "C"
