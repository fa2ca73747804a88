// SPDX-License-Identifier: Apache-2.0
// vm_bench FILE SOCKET: what a lease costs on real verbs, as ratios in one run, interleaved pair by pair:
//   RDMA writes into a leased bounce region against writes into a plain memory region of the same kind of pages (a memfd's);
//   a registration that is there already against none, and a new one against ibv_reg_mr and an empty round trip over a socket.
// Exit 1: an interval of the first kind does not hold 1, or leaves [0.95, 1.05].
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <mrlease/mrlease.hpp>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <stdexcept>
#include <vector>

#include "client-lib/src/verbs/loopback.h"
#include "tests/bench/samples.h"

namespace {

using mrlease::client::verbs::Loopback;

constexpr int kPairs = 61, kAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
constexpr std::size_t kSize = 1 << 20;

void need(bool good, const char* what) {
  if (!good) throw std::system_error(errno, std::generic_category(), what);
}

double us(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
}

struct Interval {
  double low, middle, high;  // of the geometric mean of the ratios; 95 %
};

Interval bootstrap(const std::vector<double>& logs) {
  std::mt19937 random(1);
  std::uniform_int_distribution<std::size_t> one(0, logs.size() - 1);
  const auto mean = [](const std::vector<double>& v) {
    double sum = 0;
    for (const double x : v) sum += x;
    return sum / static_cast<double>(v.size());
  };
  std::vector<double> means;
  for (int i = 0; i < 2000; i++) {
    std::vector<double> sample;
    for (std::size_t n = 0; n < logs.size(); n++) sample.push_back(logs[one(random)]);
    means.push_back(mean(sample));
  }
  using mrlease::bench::percentile;
  return {std::exp(percentile(means, 0.025)), std::exp(mean(logs)), std::exp(percentile(means, 0.975))};
}

// Ratios of a to b; which of the two comes first changes with each pair.
Interval pairs(const std::function<void()>& a, const std::function<void()>& b, double* a_us, double* b_us) {
  std::vector<double> logs, of_a, of_b;
  for (int pair = -3; pair < kPairs; pair++) {
    double mine = 0, other = 0;
    if (pair % 2 != 0) mine = us(a);
    other = us(b);
    if (pair % 2 == 0) mine = us(a);
    if (pair < 0) continue;
    logs.push_back(std::log(mine / other));
    of_a.push_back(mine);
    of_b.push_back(other);
  }
  *a_us = mrlease::bench::percentile(of_a, 0.5);
  *b_us = mrlease::bench::percentile(of_b, 0.5);
  return bootstrap(logs);
}

void tell(const char* what, int calls, Interval ratio, double a, double b, const char* verdict) {
  std::printf("%-34s %9.2f %9.2f %6.3f [%.3f, %.3f] %s\n", what, a / calls, b / calls, ratio.middle, ratio.low, ratio.high, verdict);
}

struct Plain {
  int fd;
  void* at;
  Plain() : fd(::memfd_create("plain", MFD_CLOEXEC)), at(MAP_FAILED) {
    need(fd >= 0 && ::ftruncate(fd, kSize) == 0, "memfd");
    at = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    need(at != MAP_FAILED, "mmap");
  }
};

// Somebody who answers each byte with one, in a process of its own.
int echo() {
  int ends[2];
  need(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0, "socketpair");
  const pid_t child = ::fork();
  need(child >= 0, "fork");
  if (child == 0) {
    ::close(ends[0]);
    for (char c; ::read(ends[1], &c, 1) == 1;) (void)!::write(ends[1], &c, 1);
    ::_exit(0);
  }
  ::close(ends[1]);
  return ends[0];
}

int run(const char* path, const char* socket) {
  const int other = echo();
  const int fd = ::open(path, O_RDWR | O_CLOEXEC);
  need(fd >= 0, path);
  int count = 0;
  ibv_device** const devices = ibv_get_device_list(&count);
  ibv_context* const device = count > 0 ? ibv_open_device(devices[0]) : nullptr;
  if (device == nullptr) throw std::runtime_error("no RDMA device");
  std::unique_ptr<Loopback> peer;
  if (const auto o = Loopback::create(device, &peer); !o.ok()) throw std::runtime_error(o.text);
  mrlease::Context context({}, socket);
  mrlease::RegOptions bounce;
  bounce.backing = MRL_BACKING_BOUNCE;
  auto region = context.reg_file(peer->pd(), fd, 0, kSize, kAccess, bounce);
  const Plain plain;
  ibv_mr* const mr = (ibv_reg_mr)(peer->pd(), plain.at, kSize, kAccess);
  need(mr != nullptr, "ibv_reg_mr");

  std::printf("%-34s %9s %9s %6s %s\n", "", "us", "its us", "ratio", "95 % interval");
  bool bad = false;
  double a = 0, b = 0;
  for (const std::size_t bytes : {std::size_t{64}, std::size_t{4096}, Loopback::kSource}) {
    const int calls = bytes > 4096 ? 200 : 1000;
    const auto write_to = [&](const void* at, std::uint32_t rkey) {
      for (int i = 0; i < calls; i++)
        if (const auto o = peer->write(reinterpret_cast<std::uint64_t>(at), rkey, bytes); !o.ok()) throw std::runtime_error(o.text);
    };
    const Interval ratio = pairs([&] { write_to(region.addr(), region.rkey()); }, [&] { write_to(plain.at, mr->rkey); }, &a, &b);
    const bool good = ratio.low <= 1 && ratio.high >= 1 && ratio.low >= 0.95 && ratio.high <= 1.05;
    bad = bad || !good;
    const std::string what = "write of " + std::to_string(bytes) + " bytes / plain";
    tell(what.c_str(), calls, ratio, a, b, good ? "PASS" : "FAIL");
  }

  const auto round_trip = [&] {
    char c = 0;
    need(::write(other, &c, 1) == 1 && ::read(other, &c, 1) == 1, "socket");
  };
  const Interval fresh = pairs([&] { context.reg_file(peer->pd(), fd, kSize, 65536, kAccess, bounce).dereg(); },
                               [&] {
                                 ibv_mr* const made = (ibv_reg_mr)(peer->pd(), plain.at, 65536, kAccess);
                                 need(made != nullptr, "ibv_reg_mr");
                                 round_trip();
                                 ibv_dereg_mr(made);
                               }, &a, &b);
  tell("new lease, 64 KiB / plain + socket", 1, fresh, a, b, "");
  const Interval cached = pairs([&] { for (int i = 0; i < 1000; i++) context.reg_mr(peer->pd(), region.addr(), kSize, kAccess).dereg(); },
                                [&] { for (int i = 0; i < 1000; i++) round_trip(); }, &a, &b);
  tell("registered already / a round trip", 1000, cached, a, b, "");
  region.dereg();
  ibv_dereg_mr(mr);
  return bad ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) throw std::runtime_error("usage: vm_bench FILE SOCKET");
  return run(argv[1], argv[2]);
} catch (const std::exception& error) {
  std::fprintf(stderr, "vm_bench: %s\n", error.what());
  return 1;
}
