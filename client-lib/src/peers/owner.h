// SPDX-License-Identifier: Apache-2.0
// The owner's bookkeeping: which peer was told what, who owes an answer, until when. No clock, no thread, no device.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <vector>

#include "client-lib/src/peers/channel.h"

namespace mrlease::client::peers {

// Why a region is held; it is offered again when no reason is left.
enum Reason : unsigned { kRecalled = 1, kHeldByOwner = 2 };

// Where a region is, for peers behind whichever protection domain: a key is good for queue pairs of its own.
struct Reach {
  Reach() = default;
  Reach(const Place& at, std::map<const void*, std::uint32_t> by_domain = {}) : place(at), rkeys(std::move(by_domain)) {}
  Place place;                                 // with the key of those that have none below
  std::map<const void*, std::uint32_t> rkeys;  // by protection domain
  Place behind(const void* domain) const;
};

struct OwnerCounts {
  std::uint64_t peers = 0, holds = 0, cut = 0;
  std::chrono::microseconds hold_max{0};
};

// Not thread-safe. What a peer does wrong ends that peer, and is never the caller's error.
class Owner {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Done = std::function<void()>;  // must not call back

  // domain: of the queue pairs by which the peer reaches regions.
  std::uint64_t add(std::unique_ptr<Channel> channel, Time now, const void* domain = nullptr);
  Outcome remove(std::uint64_t peer, Time now);
  Outcome status(std::uint64_t peer) const;
  bool listens_to(std::uint64_t peer) const;

  // reach: as of now; held_for: reasons not to tell of it yet.
  Outcome offer(std::uint64_t region, const Reach& reach, unsigned held_for, Time now);
  bool held(std::uint64_t region, Reason why) const;
  // done: once, when every peer holds or was cut, the latter at `until`; at once where nobody has to be asked.
  void hold(std::uint64_t region, Reason why, Time now, Time until, Done done);
  void resume(std::uint64_t region, Reason why, const Reach& reach, Time now);
  void resize(std::uint64_t region, std::uint64_t size, Time now);
  // The peers are told that it is gone; who waits for them need not any more. forget() makes the number free.
  void end(std::uint64_t region, Time now);
  void forget(std::uint64_t region, Time now);

  void hear(std::uint64_t peer, std::span<const unsigned char> bytes, Time now);
  void lost(std::uint64_t peer, const Outcome& why, Time now);
  std::optional<Time> next_deadline() const;
  void overdue(Time now);
  OwnerCounts counts() const;

 private:
  struct Peer {
    std::unique_ptr<Channel> channel;
    const void* domain = nullptr;
    Outcome ended;                                // ok: it is there
    std::map<std::uint64_t, std::uint64_t> owed;  // recall, region
  };
  struct Offer {
    Reach reach;
    unsigned held_for = 0;
    bool gone = false;
    bool told() const { return held_for == 0 && !gone; }
  };
  struct Hold {
    std::uint64_t recall;
    Time began, until;
    std::set<std::uint64_t> waiting;  // peers
    std::vector<Done> done;
  };
  void ask(std::uint64_t region, Time now, Time until, Done done);
  bool tell(Peer& peer, const Message& message);
  void tell_all(const Message& message, Time now);
  void tell_all(std::uint64_t region, const Reach& reach, Time now);
  void tell_each(const std::function<Message(const Peer&)>& message, Time now);
  void take_held(std::uint64_t number, const Message& message, Time now);
  void cut(std::uint64_t number, const Outcome& why, Time now);
  void wait_no_more(std::uint64_t number, Time now);
  void finish(std::uint64_t region, Time now);

  std::map<std::uint64_t, Peer> peers_;
  std::map<std::uint64_t, Offer> offers_;
  std::map<std::uint64_t, Hold> holds_;  // by region
  std::uint64_t next_peer_ = 1, next_recall_ = 1;
  OwnerCounts counts_;
};

}  // namespace mrlease::client::peers
