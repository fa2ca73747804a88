// SPDX-License-Identifier: Apache-2.0
// Packets as they come off a socket. The first byte is the number of descriptors beside the rest. What decodes keeps the limits,
// and encodes to what decodes the same.
#include "tests/fuzz/fuzz.h"

#include <string>
#include <string_view>

#include "proto/framing.h"

using namespace mrlease;

FUZZ(data, size) {
  if (size == 0) return 0;
  const std::size_t fds = data[0] % (wire::kFdsMax + 2);
  const std::string_view packet(reinterpret_cast<const char*>(data) + 1, size - 1);
  wire::Frame frame;
  std::string error;
  if (!wire::decode(packet, fds, &frame, &error)) {
    must(!error.empty(), "a refused packet without a reason");
    return 0;
  }
  const wire::FdCount count = wire::fds_expected(frame);
  must(count.min <= fds && fds <= count.max && count.max <= wire::kFdsMax, "descriptors");
  must(frame.merge().ranges_size() <= static_cast<int>(wire::kRangesMax), "ranges");
  must(frame.body_case() != wire::Frame::BODY_NOT_SET, "a frame without a body");
  const std::uint32_t version = wire::negotiate(frame.hello().version_min(), frame.hello().version_max());
  must(version == 0 || (version >= wire::kVersionMin && version <= wire::kVersionMax && version <= frame.hello().version_max() &&
                        version >= frame.hello().version_min()),
       "a version that one of both does not speak");
  if (kPlanted && frame.has_recall()) frame.mutable_recall()->clear_store();
  const std::string again = wire::encode(frame);
  if (again.empty()) return 0;  // larger than a packet, with every field written in full
  wire::Frame same;
  must(wire::decode(again, fds, &same, &error), "what was encoded does not decode");
  must(again == wire::encode(same), "encoded and decoded is not the same");
  wire::Frame first;
  first.ParseFromArray(packet.data(), static_cast<int>(packet.size()));
  must(first.SerializeAsString() == same.SerializeAsString(), "a field was lost");
  return 0;
}
