// SPDX-License-Identifier: Apache-2.0
// What owner and peer say to each other: what decodes encodes to the same bytes, and says nothing impossible.
#include <algorithm>

#include "client-lib/src/peers/peer_protocol.h"
#include "tests/fuzz/fuzz.h"

using namespace mrlease::client;

FUZZ(data, size) {
  peers::Message m;
  const Outcome o = peers::decode({data, size}, &m);
  if (!o.ok()) {
    must(!o.text.empty(), "refused without a reason");
    return 0;
  }
  must(size == peers::kMessageBytes, "a message of another length");
  if (m.kind == peers::Kind::kRegion) {
    must(m.place.length > 0 && m.place.size <= m.place.length, "a region's size");
    must(m.place.address + m.place.length >= m.place.address, "a region that wraps around");
  }
  if (kPlanted && m.kind == peers::Kind::kHeld) m.recall &= 0xffffffff;
  const peers::Bytes again = peers::encode(m);
  must(std::equal(again.begin(), again.begin() + 52, data), "encoded and decoded is not the same");
  must(std::equal(again.begin() + 56, again.end(), data + 56), "the generation was lost");
  return 0;
}
