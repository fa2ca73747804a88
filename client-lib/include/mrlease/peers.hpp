// SPDX-License-Identifier: Apache-2.0
// peers.h for C++17 and later, as mrlease.hpp is for mrlease.h. Header only.
#ifndef MRLEASE_PEERS_HPP
#define MRLEASE_PEERS_HPP

#include <chrono>
#include <vector>

#include "mrlease/mrlease.hpp"
#include "mrlease/peers.h"

namespace mrlease {

// The owner's side. Must outlive the Context whose callback calls event(): no event may come any more when it goes.
class Peers {
 public:
  Peers() { check(mrl_peers_create(&peers_)); }
  Peers(Peers&& o) noexcept : peers_(std::exchange(o.peers_, nullptr)) {}
  Peers& operator=(Peers&&) = delete;
  Peers(const Peers&) = delete;
  ~Peers() {
    if (peers_ != nullptr) (void)mrl_peers_destroy(peers_);
  }

  std::uint64_t add(ibv_qp* control, const std::vector<ibv_qp*>& data) {
    std::uint64_t peer = 0;
    check(mrl_peers_add(peers_, control, data.data(), data.size(), &peer));
    return peer;
  }
  void remove(std::uint64_t peer) { check(mrl_peers_remove(peers_, peer)); }
  // Ok while the peer is there; else why it is not: see mrl_peers_status().
  std::error_code status(std::uint64_t peer) const {
    return std::error_code(mrl_peers_status(peers_, peer), std::generic_category());
  }
  void offer(const Region& region, std::uint64_t id) { check(mrl_peers_offer(peers_, region.get(), id)); }
  void withdraw(const Region& region, std::chrono::milliseconds patience) {
    check(mrl_peers_withdraw(peers_, region.get(), static_cast<std::uint32_t>(patience.count())));
  }
  void hold(const Region& region, std::chrono::milliseconds patience) {
    check(mrl_peers_hold(peers_, region.get(), static_cast<std::uint32_t>(patience.count())));
  }
  void release(const Region& region) { check(mrl_peers_release(peers_, region.get())); }
  // For the Context's callback, which returns what this returns.
  int event(const Event& event) { return mrl_peers_event(peers_, &event); }
  mrl_peers_info info() const {
    mrl_peers_info i{};
    i.struct_size = sizeof i;
    check(mrl_peers_get_info(peers_, &i));
    return i;
  }

 private:
  mrl_peers* peers_ = nullptr;
};

// A peer's side. Must outlive its RemotePostings.
class Peer {
 public:
  explicit Peer(ibv_qp* control) { check(mrl_peer_create(control, &peer_)); }
  Peer(Peer&& o) noexcept : peer_(std::exchange(o.peer_, nullptr)) {}
  Peer& operator=(Peer&&) = delete;
  Peer(const Peer&) = delete;
  ~Peer() {
    if (peer_ != nullptr) (void)mrl_peer_destroy(peer_);
  }
  mrl_peer* get() const noexcept { return peer_; }

 private:
  mrl_peer* peer_ = nullptr;
};

// The remote posting guard for a scope: mrl_peer_enter(), whose errors are thrown, and mrl_peer_leave().
class RemotePosting {
 public:
  RemotePosting(const Peer& peer, std::uint64_t region, std::chrono::milliseconds patience) : peer_(peer.get()), region_(region) {
    target_.struct_size = sizeof target_;
    check(mrl_peer_enter(peer_, region, &target_, static_cast<std::uint32_t>(patience.count())));
  }
  RemotePosting(const RemotePosting&) = delete;
  RemotePosting& operator=(const RemotePosting&) = delete;
  ~RemotePosting() { (void)mrl_peer_leave(peer_, region_); }
  const mrl_target& target() const noexcept { return target_; }

 private:
  mrl_peer* peer_;
  std::uint64_t region_;
  mrl_target target_{};
};

}  // namespace mrlease

#endif
