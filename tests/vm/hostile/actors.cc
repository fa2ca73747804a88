// SPDX-License-Identifier: Apache-2.0
#include "tests/vm/hostile/actors.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

namespace mrlease::test {

namespace {

void send_or_throw(int socket, const void* data, std::size_t size) {
  if (::send(socket, data, size, MSG_NOSIGNAL) != static_cast<ssize_t>(size)) throw std::runtime_error("the actor is gone");
}

template <typename T>
bool receive(int socket, T* value, int timeout_ms) {
  pollfd p{socket, POLLIN, 0};
  return ::poll(&p, 1, timeout_ms) == 1 && ::recv(socket, value, sizeof *value, 0) == sizeof *value;
}

// ---- the client's process ----
struct Region {
  mrl_ctx* ctx = nullptr;
  mrl_region* region = nullptr;
  std::size_t pages = 0;
  std::mutex mutex;
  std::condition_variable changed;
  bool fenced = false;
  std::atomic<bool> storing{false};
  std::vector<std::thread> threads;
};

int on_event(const mrl_event* event, void* user) {
  auto* r = static_cast<Region*>(user);
  if (event->type == MRL_EVENT_FENCED) {
    std::lock_guard lock(r->mutex);
    r->fenced = true;
    r->changed.notify_all();
  }
  return 0;
}

// Threads of the application that store into the last quarter of the region, each page a counter that only grows.
void store_threads(Region& r) {
  r.storing = true;
  for (std::size_t t = 0; t < 2; t++) {
    r.threads.emplace_back([&r, t] {
      auto* base = static_cast<char*>(mrl_addr(r.region));
      const std::size_t first = r.pages * 3 / 4;
      while (r.storing)
        for (std::size_t p = first + t; p < r.pages && r.storing; p += 2)
          __atomic_fetch_add(reinterpret_cast<std::uint64_t*>(base + p * 4096), 1, __ATOMIC_SEQ_CST);
    });
  }
}

// The sum of all counters as memory has them; the driver compares it with the file's.
std::uint64_t stop_threads(Region& r) {
  r.storing = false;
  for (auto& t : r.threads) t.join();
  r.threads.clear();
  std::uint64_t sum = 0;
  auto* base = static_cast<char*>(mrl_addr(r.region));
  for (std::size_t p = r.pages * 3 / 4; p < r.pages; p++) sum += *reinterpret_cast<std::uint64_t*>(base + p * 4096);
  return sum;
}

Answer info(Region& r) {
  Answer a;
  mrl_info i{};
  i.struct_size = sizeof i;
  mrl_get_info(r.region, &i);
  a.va = reinterpret_cast<std::uint64_t>(mrl_addr(r.region));
  a.rkey = mrl_rkey(r.region);
  a.transparent = i.transparent;
  a.fenced = i.fenced;
  a.value = i.size;
  a.generation = i.generation;
  a.stall_us_max = i.stall_us_max;
  return a;
}

Answer obey(const Order& order, Endpoint& endpoint, Region& r) {
  Answer a;
  switch (order.kind) {
    case Order::Connect:
      if (order.stamp != 0) endpoint.renew();
      endpoint.connect(order.address);
      break;
    case Order::Sync: a.code = mrl_sync(r.region, 0, 0); break;
    case Order::Extend: a.code = mrl_extend(r.region, &a.value); break;
    case Order::Info: return info(r);
    case Order::AwaitFenced: {
      std::unique_lock lock(r.mutex);
      a.code = r.changed.wait_for(lock, std::chrono::seconds(20), [&] { return r.fenced; }) ? 0 : ETIMEDOUT;
      break;
    }
    case Order::Fork:
      a.forked = ::fork();
      if (a.forked == 0)
        for (;;) ::pause();
      break;
    case Order::StoreThreads: store_threads(r); break;
    case Order::StopThreads: a.value = stop_threads(r); break;
    case Order::Quit: a.code = mrl_dereg(r.region); break;
    default: a.code = EINVAL;
  }
  return a;
}

int client_body(int socket, void* argument) {
  const auto& o = *static_cast<ClientOptions*>(argument);
  if (o.lock_memory && ::mlockall(MCL_CURRENT | MCL_FUTURE) != 0) throw std::runtime_error("mlockall");
  Endpoint endpoint;
  Region r;
  r.pages = o.size / 4096;
  mrl_open_options open{};
  open.struct_size = sizeof open;
  open.socket_path = o.daemon_socket.c_str();
  open.callback = on_event;
  open.user = &r;
  if (mrl_open(&open, &r.ctx) != 0) throw std::runtime_error(std::string("mrl_open: ") + mrl_last_error());
  const int fd = ::open(o.file.c_str(), O_RDWR | O_CLOEXEC);
  mrl_reg_options reg{};
  reg.struct_size = sizeof reg;
  reg.backing = o.backing;
  reg.accept_quirks = MRL_QUIRK_ODP_PAGE_ALIGNED;
  const int access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
  if (mrl_reg_file(r.ctx, endpoint.pd, fd, 0, o.size, access, &reg, &r.region) != 0)
    throw std::runtime_error(std::string("mrl_reg_file: ") + mrl_last_error());
  ::close(fd);
  mrl_info i{};
  i.struct_size = sizeof i;
  mrl_get_info(r.region, &i);
  ::dprintf(1, "client: %s; guard %s\n", i.backing_reason, i.guard);
  Answer hello = info(r);
  hello.address = endpoint.address();
  send_or_throw(socket, &hello, sizeof hello);
  for (Order order; receive(socket, &order, -1);) {
    Answer a = obey(order, endpoint, r);
    if (order.kind == Order::Connect) a.address = endpoint.address();
    send_or_throw(socket, &a, sizeof a);
    if (order.kind == Order::Quit) break;
  }
  return mrl_close(r.ctx);
}

// ---- the tool's process ----
int tool_body(int socket, void* argument) {
  const auto& o = *static_cast<ClientOptions*>(argument);
  mrl_ctx* ctx = nullptr;
  mrl_open_options open{};
  open.struct_size = sizeof open;
  open.socket_path = o.daemon_socket.c_str();
  if (mrl_open(&open, &ctx) != 0) throw std::runtime_error(std::string("mrl_open: ") + mrl_last_error());
  const int fd = ::open(o.file.c_str(), O_RDWR | O_CLOEXEC);
  mrl_freeze* freeze = nullptr;
  for (Order order; receive(socket, &order, -1);) {
    Answer a;
    if (order.kind == Order::Freeze) a.code = mrl_file_freeze(ctx, fd, 0, 0, static_cast<std::uint32_t>(order.stamp), &freeze, &a.value);
    if (order.kind == Order::Thaw) a.code = mrl_thaw(freeze);
    if (a.code != 0) ::dprintf(2, "tool: %s\n", mrl_last_error());
    send_or_throw(socket, &a, sizeof a);
  }
  return 0;
}

// ---- the peer's process ----
int peer_body(int socket, void*) {
  Endpoint endpoint;
  Answer hello;
  hello.address = endpoint.address();
  send_or_throw(socket, &hello, sizeof hello);
  for (Order order; receive(socket, &order, -1);) {
    Answer a;
    const std::uint64_t remote = order.page;
    const auto rkey = static_cast<std::uint32_t>(order.address.qp);
    switch (order.kind) {
      case Order::Connect:
        if (order.stamp != 0) endpoint.renew();
        if (order.address.qp != 0) endpoint.connect(order.address);
        a.address = endpoint.address();
        break;
      case Order::Write: a.code = endpoint.write(remote, rkey, order.stamp); break;
      case Order::PostWrite: endpoint.post_write(remote, rkey, order.stamp); break;
      case Order::Complete: a.code = endpoint.complete(); break;
      case Order::Read: a.code = endpoint.read(remote, rkey, &a.value); break;
      default: a.code = EINVAL;
    }
    send_or_throw(socket, &a, sizeof a);
  }
  return 0;
}

}  // namespace

void Actor::spawn(int (*body)(int, void*), void* argument) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) throw std::runtime_error("socketpair");
  socket_ = pair[0];
  child_ = std::make_unique<Child>([&] {
    ::close(pair[0]);
    return body(pair[1], argument);
  });
  ::close(pair[1]);
}

void Actor::tell(Order order) { send_or_throw(socket_, &order, sizeof order); }

Answer Actor::answer() {
  Answer a;
  if (!receive(socket_, &a, 60000)) throw std::runtime_error("no answer from the actor");
  return a;
}

Answer Actor::ask(Order order) {
  tell(order);
  return answer();
}

Client::Client(const ClientOptions& options) {
  ClientOptions copy = options;
  spawn(client_body, &copy);
  hello = answer();
}

Tool::Tool(const ClientOptions& options) {
  ClientOptions copy = options;
  spawn(tool_body, &copy);
}

Peer::Peer(Client& client) {
  spawn(peer_body, nullptr);
  const Answer mine = answer();
  client.ask({Order::Connect, 0, 0, mine.address});
  ask({Order::Connect, 0, 0, client.hello.address});
}

void Peer::reconnect(Client& client) {
  const Answer mine = ask({Order::Connect, 0, 1, {}});
  const Answer theirs = client.ask({Order::Connect, 0, 1, mine.address});
  ask({Order::Connect, 0, 0, theirs.address});
}

int Peer::write(const Answer& region, std::uint64_t page, std::uint64_t stamp) {
  Order order{Order::Write, region.va + page * 4096, stamp, {}};
  order.address.qp = region.rkey;
  return ask(order).code;
}

}  // namespace mrlease::test
