// SPDX-License-Identifier: Apache-2.0
// What a successor has to know, as it lies in kept memory. A daemon of another version reads it: fields are only ever
// added, in the space that is left of a record, and a zero means what a daemon without the field meant. Times are
// CLOCK_MONOTONIC, milliseconds: one clock for both.
#pragma once

#include <cstdint>

namespace mrlease::keep {

struct SessionRecord {       // descriptors: s<id> the connection, p<id> the pidfd
  static constexpr std::size_t kSize = 256, kMax = 65536;
  std::uint64_t id = 0;
  std::int32_t pid = 0;
  std::uint32_t uid = 0, gid = 0;
  std::uint32_t version = 0;      // of the wire
  std::uint32_t next_device = 1;
  std::uint32_t gone = 0;
  char program[96] = {};
};

struct LeaseRecord {         // descriptors: f<file> the file (shared by leases), b<id> and n<id> bounce pages and notes
  static constexpr std::size_t kSize = 256, kMax = 65536;
  std::uint64_t id = 0, session = 0, request = 0;
  std::uint64_t device = 0, inode = 0;
  std::uint64_t begin = 0, end = 0;
  std::uint64_t size_told = 0;
  std::uint64_t file = 0;
  std::uint32_t backing = 0;      // core::Backing
  std::uint32_t write = 0, share = 0;
  std::uint32_t bounce = 0;
  std::uint32_t quiesced = 0;     // its client has been, or is being asked to deregister
  static constexpr std::uint32_t kFenceDone = 1, kFenceOrdered = 2;
  std::uint32_t fenced = 0;       // or one of these
  std::uint32_t handed_back = 0;  // an MR was, and may not be deregistered yet
  std::uint32_t user = 0;
};

struct MrRecord {            // its uverbs descriptor is not kept: the kernel would keep a dead client's pins
  static constexpr std::size_t kSize = 128, kMax = 65536;
  std::uint64_t lease = 0, address = 0, length = 0;
  std::uint32_t device = 0, driver_id = 0, handle = 0, lkey = 0, rkey = 0;
};

struct StoreRecord {         // descriptor: t<id>
  static constexpr std::size_t kSize = 128, kMax = 65536;
  std::uint64_t id = 0, lease = 0, begin = 0, end = 0;
  std::uint32_t trim = 0, live = 0;
  std::uint64_t made_by = 0;      // the recall that it came with: its answer may come to a successor
  std::uint64_t ended_by = 0;     // likewise, the last that was to end it
};

struct FreezeRecord {        // one that holds
  static constexpr std::size_t kSize = 128, kMax = 65536;
  std::uint64_t id = 0, session = 0, device = 0, inode = 0, begin = 0, end = 0;
  std::uint64_t until = 0;
  std::uint64_t request = 0, unsettled = 0;
  std::uint64_t admin = 0;  // the administrator's, of no session
};

struct DrainRecord {         // an administrator's: no leases there until he says otherwise. In memory of its own, "drains"
  static constexpr std::size_t kSize = 4352, kMax = 256;
  std::uint64_t device = 0;
  std::int32_t mount = -1;
  char path[4096] = {};       // PATH_MAX, include/uapi/linux/limits.h
};

}  // namespace mrlease::keep
