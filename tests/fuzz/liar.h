// SPDX-License-Identifier: Apache-2.0
// The daemon's end of a socket, played by a liar: what it answers to each request was decided before anything is asked, so that a run of
// the same input is the same.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "proto/fd_passing.h"
#include "proto/framing.h"

namespace mrlease {

class Liar {
 public:
  struct Truth {
    bool userfaultfd;
    std::uint64_t file_size, length;  // of the file; of the lease
  };
  Liar(wire::Fd socket, const Truth& truth, FuzzedDataProvider& in);
  ~Liar();
  Liar(const Liar&) = delete;
  Liar& operator=(const Liar&) = delete;

  // Of the lease that was granted; waits for the answer: its code, or -1 when the connection has ended.
  int recall(wire::v1::Recall recall, int store);
  void notice(wire::v1::Notice::Kind kind, std::uint64_t size);
  void hang_up();
  bool gone() const { return gone_; }

 private:
  void run();
  void answer(const wire::Frame& request);
  wire::Fd granted(const wire::v1::Register& asked, wire::v1::Granted* out);
  void send(wire::Frame frame, int fd = -1);
  unsigned next_lie();

  const Truth truth_;
  const wire::Fd socket_;
  std::vector<std::uint8_t> lies_;
  std::size_t told_ = 0;
  std::uint64_t file_size_, lease_ = 1, next_recall_ = 1;
  std::atomic<bool> gone_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint64_t, int> done_;  // under mutex_
  std::thread thread_;
};

}  // namespace mrlease
