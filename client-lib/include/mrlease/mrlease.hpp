// SPDX-License-Identifier: Apache-2.0
// mrlease.h for C++17 and later: owners instead of pointers, exceptions instead of errno values. Header only.
//
// A failing call throws std::system_error: code() is the errno value, what() ends with mrl_last_error()'s sentence.
// All owners are move-only. A Region or Freeze must not outlive its Context.
#ifndef MRLEASE_HPP
#define MRLEASE_HPP

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "mrlease/mrlease.h"

namespace mrlease {

inline void check(int code) {
  if (code != 0) throw std::system_error(code, std::generic_category(), mrl_last_error());
}

using Event = mrl_event;
using Info = mrl_info;
using Caps = mrl_caps;

struct RegOptions {
  mrl_backing backing = MRL_BACKING_AUTO;
  std::uint32_t accept_quirks = 0;  // mrl_quirk, or-ed
  bool share = false;
  bool preserve_orphans = false;
  std::uint32_t peer_budget_ms = 0;  // 0: 200
};

// A leased, registered range of a file. The destructor deregisters and cannot tell of errors: call dereg() to learn
// whether the data is in the file.
class Region {
 public:
  Region() = default;
  explicit Region(mrl_region* owned) noexcept : region_(owned) {}
  Region(Region&& o) noexcept : region_(std::exchange(o.region_, nullptr)) {}
  Region& operator=(Region&& o) noexcept {
    if (this != &o) {
      reset();
      region_ = std::exchange(o.region_, nullptr);
    }
    return *this;
  }
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;
  ~Region() { reset(); }

  explicit operator bool() const noexcept { return region_ != nullptr; }
  mrl_region* get() const noexcept { return region_; }
  void* addr() const { return mrl_addr(region_); }
  std::size_t length() const { return mrl_length(region_); }
  std::uint32_t lkey() const { return mrl_lkey(region_); }
  std::uint32_t rkey() const { return mrl_rkey(region_); }
  ibv_mr* mr() const { return mrl_mr(region_); }
  ibv_mr* mr(unsigned index) const { return mrl_mr_at(region_, index); }
  unsigned add_mr(ibv_pd* pd, int access) {
    unsigned index = 0;
    check(mrl_add_mr(region_, pd, access, &index));
    return index;
  }
  Info info() const {
    Info i{};
    i.struct_size = sizeof i;
    check(mrl_get_info(region_, &i));
    return i;
  }
  void sync(std::uint64_t offset, std::uint64_t length = 0) { check(mrl_sync(region_, offset, length)); }
  std::uint64_t extend() {
    std::uint64_t size = 0;
    check(mrl_extend(region_, &size));
    return size;
  }
  std::uint64_t reattach() {
    std::uint64_t size = 0;
    check(mrl_reattach(region_, &size));
    return size;
  }
  void complied(std::uint64_t recall) { check(mrl_complied(region_, recall)); }
  void dereg() {
    if (region_ == nullptr) return;
    const int code = mrl_dereg(region_);
    if (code != EBUSY && code != EDEADLK) region_ = nullptr;  // else it is still there
    check(code);
  }

 private:
  void reset() noexcept {
    if (region_ != nullptr) (void)mrl_dereg(std::exchange(region_, nullptr));
  }
  mrl_region* region_ = nullptr;
};

// The posting guard for a scope. try_enter() says whether the region may be used now.
class Posting {
 public:
  // Nothing: the region is recalled, wait for RESTORED. Throws EKEYREVOKED when it is fenced.
  static std::optional<Posting> try_enter(const Region& region) {
    const int code = mrl_enter(region.get());
    if (code == 0) return Posting(region.get());
    if (code == EAGAIN) return std::nullopt;
    throw std::system_error(code, std::generic_category(), "the region is fenced");
  }
  Posting(Posting&& o) noexcept : region_(std::exchange(o.region_, nullptr)) {}
  Posting& operator=(Posting&&) = delete;
  Posting(const Posting&) = delete;
  ~Posting() {
    if (region_ != nullptr) mrl_leave(region_);
  }

 private:
  explicit Posting(mrl_region* region) : region_(region) {}
  mrl_region* region_;
};

// A hold on a file. The destructor thaws; thaw() also tells whether the hold had passed before (ETIMEDOUT).
class Freeze {
 public:
  Freeze() = default;
  Freeze(mrl_freeze* owned, std::uint64_t unsettled) noexcept : freeze_(owned), unsettled_(unsettled) {}
  Freeze(Freeze&& o) noexcept : freeze_(std::exchange(o.freeze_, nullptr)), unsettled_(o.unsettled_) {}
  Freeze& operator=(Freeze&& o) noexcept {
    if (this != &o) {
      reset();
      freeze_ = std::exchange(o.freeze_, nullptr);
      unsettled_ = o.unsettled_;
    }
    return *this;
  }
  Freeze(const Freeze&) = delete;
  Freeze& operator=(const Freeze&) = delete;
  ~Freeze() { reset(); }
  explicit operator bool() const noexcept { return freeze_ != nullptr; }
  std::uint64_t unsettled() const noexcept { return unsettled_; }  // pages that may be torn
  void thaw() {
    if (freeze_ != nullptr) check(mrl_thaw(std::exchange(freeze_, nullptr)));
  }

 private:
  void reset() noexcept {
    if (freeze_ != nullptr) (void)mrl_thaw(std::exchange(freeze_, nullptr));
  }
  mrl_freeze* freeze_ = nullptr;
  std::uint64_t unsettled_ = 0;
};

// A connection to mrleased. Must outlive its regions.
class Context {
 public:
  // Returns 0, or EINPROGRESS for a RECALL that Region::complied() will answer. An exception that leaves it counts as a
  // refusal (EIO): the lease is then fenced.
  using Callback = std::function<int(const Event&)>;

  explicit Context(Callback callback = {}, const std::string& socket_path = {}, bool own_loop = false)
      : callback_(callback ? std::make_unique<Callback>(std::move(callback)) : nullptr) {
    mrl_open_options o{};
    o.struct_size = sizeof o;
    o.socket_path = socket_path.empty() ? nullptr : socket_path.c_str();
    o.flags = own_loop ? static_cast<std::uint32_t>(MRL_OPEN_OWN_LOOP) : 0u;
    o.callback = callback_ ? &Context::on_event : nullptr;
    o.user = callback_.get();
    check(mrl_open(&o, &ctx_));
  }
  Context(Context&& o) noexcept : callback_(std::move(o.callback_)), ctx_(std::exchange(o.ctx_, nullptr)) {}
  Context& operator=(Context&& o) noexcept {
    if (this != &o) {
      reset();
      callback_ = std::move(o.callback_);
      ctx_ = std::exchange(o.ctx_, nullptr);
    }
    return *this;
  }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context() { reset(); }

  mrl_ctx* get() const noexcept { return ctx_; }
  int fd() const { return mrl_get_fd(ctx_); }
  void dispatch() { check(mrl_dispatch(ctx_)); }

  Region reg_file(ibv_pd* pd, int fd, std::uint64_t offset, std::size_t length, int access,
                  const RegOptions& options = {}) {
    const mrl_reg_options o = in_c(options);
    mrl_region* made = nullptr;
    check(mrl_reg_file(ctx_, pd, fd, offset, length, access, &o, &made));
    return Region(made);
  }
  Region reg_mr(ibv_pd* pd, void* addr, std::size_t length, int access, const RegOptions& options = {}) {
    const mrl_reg_options o = in_c(options);
    mrl_region* made = nullptr;
    check(mrl_reg_mr(ctx_, pd, addr, length, access, &o, &made));
    return Region(made);
  }
  void sync_file(int fd, std::uint64_t offset = 0, std::uint64_t length = 0) {
    check(mrl_file_sync(ctx_, fd, offset, length));
  }
  // Pages stand still while they are written out, for hold_ms at most.
  void sync_file_stable(int fd, std::uint64_t offset, std::uint64_t length, std::uint32_t hold_ms) {
    check(mrl_file_sync_stable(ctx_, fd, offset, length, hold_ms));
  }
  Freeze freeze_file(int fd, std::uint64_t offset, std::uint64_t length, std::uint32_t hold_ms) {
    mrl_freeze* made = nullptr;
    std::uint64_t unsettled = 0;
    check(mrl_file_freeze(ctx_, fd, offset, length, hold_ms, &made, &unsettled));
    return Freeze(made, unsettled);
  }
  Caps probe(ibv_context* device, int fd = -1) {
    Caps c{};
    c.struct_size = sizeof c;
    check(mrl_probe(ctx_, device, fd, &c));
    return c;
  }
  void close() {
    if (ctx_ == nullptr) return;
    const int code = mrl_close(ctx_);
    if (code != EBUSY && code != EDEADLK) ctx_ = nullptr;  // else it is still open
    check(code);
  }

 private:
  static mrl_reg_options in_c(const RegOptions& options) {
    mrl_reg_options o{};
    o.struct_size = sizeof o;
    o.backing = options.backing;
    o.accept_quirks = options.accept_quirks;
    o.flags = (options.share ? static_cast<std::uint32_t>(MRL_REG_SHARE) : 0u) |
              (options.preserve_orphans ? static_cast<std::uint32_t>(MRL_REG_PRESERVE_ORPHANS) : 0u);
    o.peer_budget_ms = options.peer_budget_ms;
    return o;
  }
  static int on_event(const mrl_event* event, void* user) {
    try {
      return (*static_cast<Callback*>(user))(*event);
    } catch (...) {  // no exception crosses the C library
      return EIO;
    }
  }
  void reset() noexcept {
    if (ctx_ != nullptr) (void)mrl_close(std::exchange(ctx_, nullptr));
  }
  std::unique_ptr<Callback> callback_;  // its address is the library's
  mrl_ctx* ctx_ = nullptr;
};

}  // namespace mrlease

#endif
