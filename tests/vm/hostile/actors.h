// SPDX-License-Identifier: Apache-2.0
// The actors of a vm test, each an unprivileged process of its own, driven over a socketpair: a client of libmrlease with
// a leased file, and the remote peer that reads and writes it.
#pragma once

#include <memory>
#include <string>

#include "mrlease/mrlease.h"
#include "tests/support/daemon_process.h"
#include "tests/vm/hostile/endpoint.h"

namespace mrlease::test {

// What the driver says to an actor, and what it answers. One packet each.
struct Order {
  enum Kind : int { Connect, Write, PostWrite, Complete, Read, Sync, Extend, Info, AwaitFenced, Fork, StoreThreads, StopThreads, Freeze, Thaw, Quit } kind;
  std::uint64_t page = 0, stamp = 0;
  Address address{};
};
struct Answer {
  int code = 0;  // ibv_wc_status, errno
  std::uint64_t value = 0;
  Address address{};
  std::uint64_t va = 0;
  std::uint32_t rkey = 0;
  int transparent = 0, fenced = 0;
  std::uint64_t generation = 0, stall_us_max = 0;
  pid_t forked = 0;
};

// Throws std::runtime_error when no answer comes within a minute, or the actor is gone.
class Actor {
 public:
  Answer ask(Order order);
  void tell(Order order);
  Answer answer();
  Child& process() { return *child_; }

 protected:
  void spawn(int (*body)(int socket, void* argument), void* argument);
  std::unique_ptr<Child> child_;
  int socket_ = -1;
};

struct ClientOptions {
  std::string daemon_socket, file;
  std::size_t size = 0;
  mrl_backing backing = MRL_BACKING_BOUNCE;
  bool lock_memory = false;  // mlockall(MCL_CURRENT | MCL_FUTURE) before anything is mapped
};

class Client : public Actor {
 public:
  explicit Client(const ClientOptions& options);
  Answer hello;  // where its region is
};

// Somebody who wants a stable copy of the file: freezes and thaws it.
class Tool : public Actor {
 public:
  explicit Tool(const ClientOptions& options);
};

class Peer : public Actor {
 public:
  explicit Peer(Client& client);
  // Connect the two again after a failed operation.
  void reconnect(Client& client);
  int write(const Answer& region, std::uint64_t page, std::uint64_t stamp);
};

}  // namespace mrlease::test
