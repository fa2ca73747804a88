// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/peers/owner.h"

#include <algorithm>
#include <string>

namespace mrlease::client::peers {
namespace {

Message region_message(std::uint64_t region, const Place& place) { return {Kind::kRegion, region, 0, place}; }

}  // namespace

Place Reach::behind(const void* domain) const {
  Place told = place;
  if (const auto found = rkeys.find(domain); found != rkeys.end()) told.rkey = found->second;
  return told;
}

std::uint64_t Owner::add(std::unique_ptr<Channel> channel, Time now, const void* domain) {
  const std::uint64_t number = next_peer_++;
  Peer& peer = peers_[number];
  peer.channel = std::move(channel);
  peer.domain = domain;
  bool reached = true;
  for (const auto& [region, offer] : offers_) {
    if (offer.told()) reached = tell(peer, region_message(region, offer.reach.behind(domain))) && reached;
  }
  if (!reached) cut(number, peer.ended, now);
  return number;
}

Outcome Owner::remove(std::uint64_t peer, Time now) {
  if (peers_.erase(peer) == 0) return {ENOENT, "there is no peer " + std::to_string(peer)};
  wait_no_more(peer, now);
  return {};
}

Outcome Owner::status(std::uint64_t peer) const {
  const auto found = peers_.find(peer);
  return found == peers_.end() ? Outcome{ENOENT, "there is no peer " + std::to_string(peer)} : found->second.ended;
}

bool Owner::listens_to(std::uint64_t peer) const { return status(peer).ok(); }

Outcome Owner::offer(std::uint64_t region, const Reach& reach, unsigned held_for, Time now) {
  if (offers_.contains(region)) return {EEXIST, "a region is offered as " + std::to_string(region) + " already"};
  offers_[region] = {reach, held_for, false};
  if (held_for == 0) tell_all(region, reach, now);
  return {};
}

bool Owner::held(std::uint64_t region, Reason why) const {
  const auto found = offers_.find(region);
  return found != offers_.end() && (found->second.held_for & why) != 0;
}

void Owner::hold(std::uint64_t region, Reason why, Time now, Time until, Done done) {
  const auto found = offers_.find(region);
  if (found == offers_.end()) return done();
  const bool told = found->second.told();
  found->second.held_for |= why;
  const auto asked = holds_.find(region);
  if (asked != holds_.end()) {  // for another reason
    asked->second.until = std::min(asked->second.until, until);
    asked->second.done.push_back(std::move(done));
  } else if (told) {
    ask(region, now, until, std::move(done));
  } else {
    done();
  }
}

void Owner::ask(std::uint64_t region, Time now, Time until, Done done) {
  const std::uint64_t recall = next_recall_++;
  Hold& hold = holds_[region];
  hold = {recall, now, until, {}, {}};
  hold.done.push_back(std::move(done));
  std::vector<std::uint64_t> unreached;
  for (auto& [number, peer] : peers_) {
    if (!peer.ended.ok()) continue;
    peer.owed[recall] = region;
    hold.waiting.insert(number);
    if (!tell(peer, {Kind::kRecall, region, recall, {}})) unreached.push_back(number);
  }
  if (hold.waiting.empty()) return finish(region, now);
  counts_.holds++;
  for (const std::uint64_t number : unreached) cut(number, peers_[number].ended, now);
}

void Owner::resume(std::uint64_t region, Reason why, const Reach& reach, Time now) {
  const auto found = offers_.find(region);
  if (found == offers_.end() || found->second.gone) return;
  Offer& offer = found->second;
  offer.held_for &= ~static_cast<unsigned>(why);
  offer.reach = reach;
  if (!offer.told()) return;
  finish(region, now);
  tell_all(region, reach, now);
}

void Owner::resize(std::uint64_t region, std::uint64_t size, Time now) {
  const auto found = offers_.find(region);
  if (found == offers_.end()) return;
  found->second.reach.place.size = size;
  if (found->second.told()) tell_all(region, found->second.reach, now);
}

void Owner::end(std::uint64_t region, Time now) {
  const auto found = offers_.find(region);
  if (found == offers_.end() || found->second.gone) return;
  found->second.gone = true;
  tell_all({Kind::kGone, region, 0, {}}, now);
  finish(region, now);
}

void Owner::forget(std::uint64_t region, Time now) {
  end(region, now);
  offers_.erase(region);
}

void Owner::hear(std::uint64_t number, std::span<const unsigned char> bytes, Time now) {
  const auto found = peers_.find(number);
  if (found == peers_.end() || !found->second.ended.ok()) return;
  Message message;
  Outcome read = decode(bytes, &message);
  if (!read.ok()) return cut(number, {EPROTO, "the peer sent " + read.text}, now);
  switch (message.kind) {
    case Kind::kHeld:
      return take_held(number, message, now);
    case Kind::kBye:
      found->second.ended = {ESHUTDOWN, "the peer has left"};
      return wait_no_more(number, now);
    default:
      return cut(number, {EPROTO, "the peer sent what an owner says"}, now);
  }
}

// One answer for each question: what else comes is a lie, and so no peer can send more than it was asked.
void Owner::take_held(std::uint64_t number, const Message& message, Time now) {
  Peer& peer = peers_[number];
  const auto owed = peer.owed.find(message.recall);
  if (owed == peer.owed.end() || owed->second != message.region) {
    return cut(number, {EPROTO, "the peer holds region " + std::to_string(message.region) + ", for which it was not asked"}, now);
  }
  peer.owed.erase(owed);
  const auto hold = holds_.find(message.region);
  if (hold == holds_.end() || hold->second.recall != message.recall) return;  // it ended meanwhile
  hold->second.waiting.erase(number);
  if (hold->second.waiting.empty()) finish(message.region, now);
}

void Owner::lost(std::uint64_t number, const Outcome& why, Time now) {
  if (listens_to(number)) cut(number, {ENOTCONN, "the control connection is lost: " + why.text}, now);
}

std::optional<Owner::Time> Owner::next_deadline() const {
  std::optional<Time> first;
  for (const auto& [region, hold] : holds_) first = first ? std::min(*first, hold.until) : hold.until;
  return first;
}

void Owner::overdue(Time now) {
  std::set<std::uint64_t> late;
  for (const auto& [region, hold] : holds_) {
    if (hold.until <= now) late.insert(hold.waiting.begin(), hold.waiting.end());
  }
  for (const std::uint64_t number : late) cut(number, {ETIMEDOUT, "the peer did not hold in time"}, now);
}

OwnerCounts Owner::counts() const {
  OwnerCounts counts = counts_;
  counts.peers = static_cast<std::uint64_t>(
      std::count_if(peers_.begin(), peers_.end(), [](const auto& each) { return each.second.ended.ok(); }));
  return counts;
}

// False: peer.ended says why; whoever iterates over the peers cuts it afterwards.
bool Owner::tell(Peer& peer, const Message& message) {
  Outcome sent = peer.channel->send(message);
  if (!sent.ok()) peer.ended = {ENOTCONN, "the peer cannot be told: " + sent.text};
  return sent.ok();
}

void Owner::tell_all(const Message& message, Time now) {
  tell_each([&](const Peer&) { return message; }, now);
}

void Owner::tell_all(std::uint64_t region, const Reach& reach, Time now) {
  tell_each([&](const Peer& peer) { return region_message(region, reach.behind(peer.domain)); }, now);
}

void Owner::tell_each(const std::function<Message(const Peer&)>& message, Time now) {
  std::vector<std::uint64_t> unreached;
  for (auto& [number, peer] : peers_) {
    if (peer.ended.ok() && !tell(peer, message(peer))) unreached.push_back(number);
  }
  for (const std::uint64_t number : unreached) cut(number, peers_[number].ended, now);
}

void Owner::cut(std::uint64_t number, const Outcome& why, Time now) {
  Peer& peer = peers_[number];
  peer.ended = why;
  peer.owed.clear();
  peer.channel->cut();
  counts_.cut++;
  wait_no_more(number, now);
}

void Owner::wait_no_more(std::uint64_t number, Time now) {
  std::vector<std::uint64_t> finished;
  for (auto& [region, hold] : holds_) {
    if (hold.waiting.erase(number) != 0 && hold.waiting.empty()) finished.push_back(region);
  }
  for (const std::uint64_t region : finished) finish(region, now);
}

void Owner::finish(std::uint64_t region, Time now) {
  const auto found = holds_.find(region);
  if (found == holds_.end()) return;
  const Hold hold = std::move(found->second);
  holds_.erase(found);
  counts_.hold_max = std::max(counts_.hold_max, std::chrono::duration_cast<std::chrono::microseconds>(now - hold.began));
  for (const Done& done : hold.done) done();
}

}  // namespace mrlease::client::peers
