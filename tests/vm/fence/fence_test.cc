// SPDX-License-Identifier: Apache-2.0
// The fence on a real device. Runs as root, in the rig or on a host with an RDMA device; prints PASS, FAIL or SKIP lines
// and exits with 1 when anything failed, 77 when there is no device.
//   vm_fence_test [--driver ID]    enum rdma_driver_id, 14: rxe (default), 1: mlx5
//   vm_fence_test --hang           only: a destroy that hangs, since nothing is poisoned. It can crash the kernel
//                                  (7.3.4 with rxe: an oops after 52 s), so only in a machine that is thrown away
#include <fcntl.h>
#include <poll.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <future>
#include <string>
#include <utility>

#include "parties.h"

namespace mrlease::vm {
namespace {

using Clock = std::chrono::steady_clock;
// The rig runs under software emulation; the probe's bad case is 52 s.
constexpr auto kDeadline = std::chrono::milliseconds(3000);

int g_failures = 0;
std::uint32_t g_driver = 14;  // RDMA_DRIVER_RXE, rdma/ib_user_ioctl_verbs.h

void verdict(const char* scenario, const char* what, bool good, const std::string& detail) {
  std::printf("%s %s: %s%s%s\n", good ? "PASS" : "FAIL", scenario, what, detail.empty() ? "" : ": ", detail.c_str());
  std::fflush(stdout);
  if (!good) g_failures++;
}

// The kernel's log from now on.
class KernelLog {
 public:
  KernelLog() : fd_(::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)) {
    if (fd_ < 0) die("open /dev/kmsg");
    ::lseek(fd_, 0, SEEK_END);
  }
  ~KernelLog() { ::close(fd_); }
  // The first line that tells of trouble, or nothing.
  std::string trouble() {
    char line[8192];
    std::string found;
    for (ssize_t n; (n = ::read(fd_, line, sizeof line - 1)) > 0 || errno == EPIPE;) {  // EPIPE: lines were lost
      if (n <= 0) continue;
      line[n] = '\0';
      for (const char* bad : {"WARNING:", "BUG:", "Oops", "general protection", "blocked for more than", "Call Trace"}) {
        if (found.empty() && std::strstr(line, bad) != nullptr) found = line;
      }
    }
    return found;
  }

 private:
  int fd_;
};

struct Scene {
  Party client, peer;
  Answer region{};
  std::vector<fence::SharedFd> fds;

  fence::Mr mr() const { return {fds.at(0), g_driver, region.handle, region.lkey, region.rkey, region.address, region.length}; }
  Order write(std::uint32_t qp) const { return {Order::WritePage, {}, region.address, region.rkey, qp}; }
};

// False: this kernel cannot; said already.
bool set_scene(Scene* s, const char* name, Memory memory, int userfaultfd_device, bool with_child = false) {
  s->region = start_client(&s->client, memory, userfaultfd_device, with_child, &s->fds);
  if (memory == Memory::OdpGated && (s->region.value == EOPNOTSUPP || s->region.value == EINVAL)) {
    std::printf("SKIP %s: this device has no ODP on this kernel\n", name);
    return false;
  }
  const Answer peer = start_peer(&s->peer);
  const bool started = s->region.value == 0 && peer.value == 0;
  if (started) {
    s->client.ask({.kind = Order::Connect, .other = peer.self});
    s->peer.ask({.kind = Order::Connect, .other = s->region.self});
  } else {
    verdict(name, "the parties start", false, std::strerror(s->region.value > 0 ? s->region.value : EPIPE));
  }
  return started;
}

fence::Result run_fence(Scene* s, std::chrono::milliseconds* took, bool poison = true) {
  fence::Order order{.pidfd = s->client.pidfd, .deadline = kDeadline};
  if (poison && s->fds.size() > 1) {
    order.userfaultfd = s->fds[1];
    order.gated.push_back({s->region.address, s->region.length});
  }
  order.mrs.push_back(s->mr());
  auto promise = std::make_shared<std::promise<fence::Result>>();
  auto future = promise->get_future();
  const auto start = Clock::now();
  fence::run(std::move(order), [promise](fence::Result r) { promise->set_value(std::move(r)); });
  const bool came = future.wait_for(std::chrono::seconds(80)) == std::future_status::ready;
  *took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start);
  return came ? future.get() : fence::Result{fence::Outcome::Failed, "done was never called"};
}

void expect_destroyed(Scene* s, const char* name) {
  std::chrono::milliseconds took;
  const fence::Result result = run_fence(s, &took);
  const std::string detail = std::to_string(took.count()) + " ms, " + result.text;
  verdict(name, "destroyed within the deadline", result.outcome == fence::Outcome::Destroyed && took <= kDeadline, detail);
  verdict(name, "the client lives", !s->client.exited(0), "");
  const int again = fence::destroy_mr(s->mr());
  verdict(name, "a second destroy is ENOENT", again == ENOENT, std::strerror(again));
}

void expect_remote_error(const char* name, const char* what, const Answer& answer) {
  const std::string detail = answer.value < 0 ? "no completion" : ibv_wc_status_str(static_cast<ibv_wc_status>(answer.value));
  verdict(name, what, answer.value == IBV_WC_REM_ACCESS_ERR, detail);
}

void expect_quiet_kernel(KernelLog* log, const char* name) {
  const std::string trouble = log->trouble();
  verdict(name, "no kernel warning", trouble.empty(), trouble);
}

// The worst client: stopped, with a fault of the device waiting in its userfaultfd.
void stopped_with_waiting_fault(int userfaultfd_device) {
  const char* name = "stopped_with_waiting_fault";
  KernelLog log;
  Scene s;
  if (!set_scene(&s, name, Memory::OdpGated, userfaultfd_device)) return;
  s.client.signal(SIGSTOP);
  s.peer.tell(s.write(0));
  pollfd fault{s.fds.at(1).get(), POLLIN, 0};
  const bool waits = ::poll(&fault, 1, 30000) == 1 && (fault.revents & POLLIN) != 0;
  verdict(name, "a device fault waits", waits, "");
  if (!waits) return;  // a kernel before 7.3 answers the fault with an error: nothing to prove
  expect_destroyed(&s, name);
  expect_remote_error(name, "the waiting write ends in a remote access error", s.peer.hear());
  expect_remote_error(name, "the next write is a remote access error", s.peer.ask(s.write(1)));
  s.client.signal(SIGKILL);
  verdict(name, "the client can die", s.client.exited(20000), "");
  s.fds.clear();
  expect_quiet_kernel(&log, name);
}

// The worker hangs in the kernel: it is abandoned, the client killed, and the deadline holds.
void hung_destroy(int userfaultfd_device) {
  const char* name = "hung_destroy";
  Scene s;
  if (!set_scene(&s, name, Memory::OdpGated, userfaultfd_device)) return;
  s.client.signal(SIGSTOP);
  s.peer.tell(s.write(0));
  pollfd fault{s.fds.at(1).get(), POLLIN, 0};
  verdict(name, "a device fault waits", ::poll(&fault, 1, 30000) == 1 && (fault.revents & POLLIN) != 0, "");
  std::chrono::milliseconds took;
  const fence::Result result = run_fence(&s, &took, false);
  const std::string detail = std::to_string(took.count()) + " ms, " + result.text;
  verdict(name, "killed instead", result.outcome == fence::Outcome::Killed, detail);
  verdict(name, "at the deadline", took <= kDeadline + std::chrono::milliseconds(500), detail);
  std::printf("%s: %d failures\n", g_failures == 0 ? "PASS" : "FAIL", g_failures);
  std::fflush(stdout);
  std::_Exit(g_failures == 0 ? 0 : 1);  // nothing here can be cleaned up
}

void stopped_pinned() {
  const char* name = "stopped_pinned";
  KernelLog log;
  Scene s;
  if (!set_scene(&s, name, Memory::Pinned, -1)) return;
  const Answer before = s.peer.ask(s.write(0));
  verdict(name, "the peer writes before the fence", before.value == IBV_WC_SUCCESS, std::to_string(before.value));
  s.client.signal(SIGSTOP);
  expect_destroyed(&s, name);
  expect_remote_error(name, "the next write is a remote access error", s.peer.ask(s.write(0)));
  expect_quiet_kernel(&log, name);
}

// The client is dead, a forked child holds its context: only the destroy cuts the device off.
void dead_client_with_child() {
  const char* name = "dead_client_with_child";
  KernelLog log;
  Scene s;
  if (!set_scene(&s, name, Memory::Pinned, -1, true)) return;
  s.client.signal(SIGKILL);
  verdict(name, "the client exits", s.client.exited(20000), "");
  const Answer before = s.peer.ask(s.write(0));
  verdict(name, "its device access lives on", before.value == IBV_WC_SUCCESS, std::to_string(before.value));
  const int code = fence::destroy_mr(s.mr());
  verdict(name, "destroyed", code == 0, std::strerror(code));
  expect_remote_error(name, "the next write is a remote access error", s.peer.ask(s.write(0)));
  expect_quiet_kernel(&log, name);
}

void handle_of_a_stranger() {
  const char* name = "handle_of_a_stranger";
  KernelLog log;
  Scene s;
  if (!set_scene(&s, name, Memory::Pinned, -1)) return;
  const fence::Mr stale = s.mr();
  const Answer stranger = s.client.ask({.kind = Order::ReuseByMr});
  verdict(name, "the kernel reuses the handle for another region", stranger.handle == stale.handle, "");
  const int code = fence::destroy_mr(stale);
  verdict(name, "a stale destroy is ENOENT", code == ENOENT, std::strerror(code));
  const std::uint32_t rkey = std::exchange(s.region.rkey, stranger.rkey);
  const Answer alive = s.peer.ask(s.write(0));
  verdict(name, "the stranger's region lives", alive.value == IBV_WC_SUCCESS, std::to_string(alive.value));
  s.region.rkey = rkey;
  const Answer cq = s.client.ask({.kind = Order::ReuseByCq});
  verdict(name, "the kernel reuses the handle for a completion queue", cq.handle == stale.handle, "");
  const int other = fence::destroy_mr(stale);
  verdict(name, "a stale destroy of another object is ENOENT", other == ENOENT, std::strerror(other));
  fence::Mr wrong_driver = stale;
  wrong_driver.driver_id = g_driver + 1;
  const int refused = fence::destroy_mr(wrong_driver);
  verdict(name, "a wrong driver is EINVAL", refused == EINVAL, std::strerror(refused));
  const Answer kept = s.client.ask({.kind = Order::CheckCq});
  verdict(name, "the completion queue lives", kept.value == 0, std::strerror(std::abs(kept.value)));
  expect_quiet_kernel(&log, name);
}

bool has_device() {
  int count = 0;
  ibv_device** list = ibv_get_device_list(&count);
  if (list != nullptr) ibv_free_device_list(list);
  return count > 0;
}

}  // namespace
}  // namespace mrlease::vm

int main(int argc, char** argv) {
  using namespace mrlease::vm;
  if (argc == 3 && std::strcmp(argv[1], "--driver") == 0) g_driver = static_cast<std::uint32_t>(std::atoi(argv[2]));
  if (!has_device()) {
    std::printf("SKIP all: no RDMA device; in the rig: rdma link add rxe0 type rxe netdev dummy0\n");
    return 77;
  }
  const int device = ::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  if (argc == 2 && std::strcmp(argv[1], "--hang") == 0) hung_destroy(device);
  utsname kernel;
  ::uname(&kernel);
  std::printf("fence on %s\n", kernel.release);
  stopped_pinned();
  dead_client_with_child();
  handle_of_a_stranger();
  if (device < 0) {
    std::printf("SKIP stopped_with_waiting_fault: no /dev/userfaultfd: %s\n", std::strerror(errno));
  } else {
    stopped_with_waiting_fault(device);
  }
  std::printf("%s: %d failures\n", g_failures == 0 ? "PASS" : "FAIL", g_failures);
  return g_failures == 0 ? 0 : 1;
}
