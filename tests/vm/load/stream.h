// SPDX-License-Identifier: Apache-2.0
// The sender's stream: RDMA writes with stamps, reads that check them, and fetch-and-adds, a window of them in flight.
#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/vm/load/link.h"
#include "tests/vm/load/stall.h"
#include "tests/vm/load/table.h"

namespace mrlease::load {

struct StreamOptions {
  bool unaligned = false, atomics = true;
  std::uint64_t floor = 0;  // pages below it are never cut off: reads of them are checked for their stamp
  std::uint64_t spare = 0;  // pages at the end that somebody else writes
  std::string table;
  unsigned seed = 1;
};

// One thread uses it.
class Stream {
 public:
  Stream(Link& link, StreamOptions options);
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  // Until Bye or the first failure.
  void run();
  void print() const;

 private:
  static constexpr int kWindow = 8;
  enum class Kind { Write, Read, Atomic };
  struct Slot {
    bool busy = false;
    Kind kind = Kind::Write;
    std::uint64_t page = 0, stamp = 0, post_ns = 0;  // Read: the stamp is the least that must come; Atomic: the count
  };

  void hear(const Message& message);
  void fill_window();
  bool post(int slot);
  void choose(Slot& slot);
  void prepare(Slot& slot, char* buffer);
  std::uint64_t writable_pages() const;
  void complete(const ibv_wc& wc);
  void finish(Slot& slot, const char* buffer);
  void check_read(const Slot& slot, const char* buffer);
  std::uint64_t note_gap(std::uint64_t now);  // how long nothing has completed, ns
  void pause(std::uint32_t who);
  void resume(std::uint32_t who);
  bool stalled() const { return in_flight_ > 0 || ((quiet_ & kLease) && !(quiet_ & kDriver)); }
  void answer_pauses();
  int drain_queue();

  Link& link_;
  StreamOptions options_;
  TableFile* table_ = nullptr;
  std::vector<char> memory_;
  char* buffers_;
  ibv_mr* mr_;
  Slot slots_[kWindow];
  std::vector<std::uint64_t> posted_;  // per page: the last stamp that was posted
  std::mt19937_64 random_;
  Message target_{};
  bool begun_ = false, leaving_ = false, failed_ = false;
  std::uint32_t quiet_ = 0, owed_ = 0;  // reasons to be quiet; of them, those not yet answered by Paused
  int in_flight_ = 0;
  std::uint64_t sequence_ = 0, atomics_posted_ = 0;
  std::uint64_t writes_ = 0, reads_ = 0, stale_reads_ = 0, torn_reads_ = 0, wrong_atomics_ = 0;
  Stall stall_;
  std::uint64_t stalls_over_20ms_ = 0, key_changes_ = 0;
  std::map<std::string, std::uint64_t> failures_;
};

}  // namespace mrlease::load
