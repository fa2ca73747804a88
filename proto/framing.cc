// SPDX-License-Identifier: Apache-2.0
#include "proto/framing.h"

#include <algorithm>

namespace mrlease::wire {

FdCount fds_expected(const Frame& frame) {
  switch (frame.body_case()) {
    case Frame::kWelcome: return frame.welcome().userfaultfd() ? FdCount{1, 1} : FdCount{0, 0};
    case Frame::kAddDevice:
    case Frame::kAddUserfaultfd:
    case Frame::kNamed:
    case Frame::kSyncFile:
    case Frame::kFreezeFile: return {1, 1};
    case Frame::kRegister: {
      const std::size_t memory = frame.register_().reclaim() && frame.register_().backing() == v1::BACKING_BOUNCE;
      return {1 + memory, 1 + memory};
    }
    case Frame::kMerge: return frame.merge().orphans() ? FdCount{1, 1} : FdCount{0, 0};
    case Frame::kGranted: return frame.granted().backing() == v1::BACKING_BOUNCE ? FdCount{1, 1} : FdCount{0, 0};
    case Frame::kRecall: {
      const auto action = frame.recall().action();
      return action == v1::ACTION_FREEZE || action == v1::ACTION_TRIM ? FdCount{1, 1} : FdCount{0, 0};
    }
    default: return {0, 0};
  }
}

std::string encode(const Frame& frame) {
  std::string out;
  if (frame.ByteSizeLong() > kFrameMax || !frame.SerializeToString(&out)) return {};
  return out;
}

bool decode(std::string_view packet, std::size_t fds, Frame* frame, std::string* error) {
  if (packet.size() > kFrameMax) {
    *error = "frame of " + std::to_string(packet.size()) + " bytes, the limit is " + std::to_string(kFrameMax);
    return false;
  }
  if (!frame->ParseFromArray(packet.data(), static_cast<int>(packet.size()))) {
    *error = "not a Frame of mrlease.wire.v1";
    return false;
  }
  if (frame->body_case() == Frame::BODY_NOT_SET) {
    *error = "a frame without a body that this version knows";
    return false;
  }
  const FdCount want = fds_expected(*frame);
  if (fds < want.min || fds > want.max) {
    *error = "frame came with " + std::to_string(fds) + " descriptors instead of " + std::to_string(want.min);
    return false;
  }
  if (frame->has_merge() && frame->merge().ranges_size() > static_cast<int>(kRangesMax)) {
    *error = "a Merge of more than " + std::to_string(kRangesMax) + " ranges";
    return false;
  }
  return true;
}

std::uint32_t negotiate(std::uint32_t theirs_min, std::uint32_t theirs_max) {
  const std::uint32_t version = std::min(kVersionMax, theirs_max);
  return version >= std::max(kVersionMin, theirs_min) ? version : 0;
}

}  // namespace mrlease::wire
