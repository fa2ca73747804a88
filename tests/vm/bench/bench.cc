// SPDX-License-Identifier: Apache-2.0
// vm_bench FILE SOCKET [ADDRESS]: what a lease costs on real verbs, as ratios in one run, interleaved pair by pair:
//   RDMA writes into a leased region against writes into a plain memory region of the same kind on the very same pages, one at a
//   time (latency) and several in flight (bandwidth), with the library's code closed from the first post to the last completion;
//   a registration that is there already against none, and a new one against ibv_reg_mr and an empty round trip over a socket.
// Exit 1: an interval of the first kind does not hold 1, or leaves [0.95, 1.05]; or the library was entered.
#include <dlfcn.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <mrlease/mrlease.hpp>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>

#include "tests/bench/ratios.h"
#include "tests/bench/samples.h"
#include "tests/vm/bench/entries.h"
#include "tests/vm/bench/wire.h"

namespace {

using mrlease::bench::Interval;
using mrlease::bench::Pairs;
using mrlease::bench::Target;
using mrlease::bench::Wire;
using mrlease::bench::measure_pairs;
using mrlease::bench::microseconds;

constexpr int kAccess = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE, kWindow = 8;
constexpr std::size_t kSize = Wire::kLargest;

// A burst is shorter than what disturbs it, the host's scheduler above all; so there are many.
constexpr int kPairs = 200;
constexpr double kBurst = 10000;  // us

void need(bool good, const char* what) {
  if (!good) throw std::system_error(errno, std::generic_category(), what);
}

void tell(const std::string& what, const Pairs& pairs, const char* verdict) {
  std::fputs(mrlease::bench::row(what, pairs, verdict).c_str(), stdout);
  std::fflush(stdout);  // somebody reads it while it runs
}

mrlease::RegOptions options_for(mrl_backing backing) {
  mrlease::RegOptions options;
  options.backing = backing;
  options.accept_quirks = MRL_QUIRK_ODP_PAGE_ALIGNED;  // every write here starts on a page
  return options;
}

// Of the same kind on the very same pages, without a lease.
ibv_mr* register_plainly(ibv_pd* pd, void* at, std::size_t bytes, mrl_backing backing) {
  ibv_mr* const made = (ibv_reg_mr)(pd, at, bytes, kAccess | (backing == MRL_BACKING_ODP ? IBV_ACCESS_ON_DEMAND : 0));
  need(made != nullptr, "ibv_reg_mr of the lease's pages");
  return made;
}

// A lease, and beside it a plain memory region of the same kind on the same pages.
class Both {
 public:
  Both(mrlease::Context* context, Wire* wire, int fd, mrl_backing backing) : wire_(wire) {
    region_ = context->reg_file(wire->target_pd(), fd, 0, kSize, kAccess, options_for(backing));
    mr_ = register_plainly(wire->target_pd(), region_.addr(), kSize, backing);
    at_ = reinterpret_cast<std::uint64_t>(region_.addr());
    leased_ = {at_, region_.rkey()};
    plain_ = {at_, mr_->rkey};
    look(leased_, 3);
    look(plain_, 5);
  }
  ~Both() {
    if (mr_ != nullptr) ibv_dereg_mr(mr_);
  }
  Both(const Both&) = delete;
  Both& operator=(const Both&) = delete;

  // Microseconds of one write. No code of the library may run meanwhile; entered() counts the bursts in which some did.
  double burst(bool leased, std::size_t bytes, int count, int window) {
    mrlease::bench::close_library();
    const double all = microseconds([&] { wire_->write(leased ? leased_ : plain_, bytes, count, window); });
    entered_ += mrlease::bench::open_library();
    operations_ += count;
    return all / count;
  }
  int entered() const { return entered_; }
  long operations() const { return operations_; }
  const mrlease::Region& region() const { return region_; }

 private:
  void look(Target target, unsigned char value) {
    wire_->fill(value);
    wire_->write(target, kSize, 1, 1);
    const auto* const bytes = static_cast<unsigned char*>(region_.addr());
    const auto right = static_cast<std::size_t>(std::count(bytes, bytes + kSize, value));
    if (right != kSize) throw std::runtime_error("a write is not where it belongs");
  }
  Wire* wire_;
  mrlease::Region region_;
  ibv_mr* mr_ = nullptr;
  std::uint64_t at_ = 0;
  Target leased_{}, plain_{};
  int entered_ = 0;
  long operations_ = 0;
};

std::string size_name(std::size_t bytes) {
  if (bytes < 1024) return std::to_string(bytes) + " B";
  return bytes < (1 << 20) ? std::to_string(bytes >> 10) + " KiB" : std::to_string(bytes >> 20) + " MiB";
}

bool holds_in(Both* both, const std::string& name, std::size_t bytes, bool bandwidth, int pairs) {
  const int window = bandwidth ? kWindow : 1;
  const double once = both->burst(false, bytes, 4 * window, window);
  const int count = std::max(2 * window, static_cast<int>(kBurst / once));
  // MB/s, or microseconds.
  const auto one = [&](bool leased) {
    const double us = both->burst(leased, bytes, count, window);
    return bandwidth ? static_cast<double>(bytes) / us : us;
  };
  const Pairs measured = measure_pairs(pairs, [&] { return one(true); }, [&] { return one(false); });
  const Interval ratio = measured.ratio();
  const bool good = ratio.holds_one() && ratio.within(0.95, 1.05);
  tell(name + ", " + size_name(bytes) + (bandwidth ? ", MB/s" : ", us"), measured, good ? "held" : "NOT HELD");
  return good;
}

// Of twenty intervals of 95 % one misses what is true, and there are sixteen here: a row that does not hold is measured once
// more, longer and from the beginning, and that counts. Both are told.
bool holds(Both* both, const std::string& name, std::size_t bytes, bool bandwidth) {
  return holds_in(both, name, bytes, bandwidth, kPairs) || holds_in(both, name + " again", bytes, bandwidth, 3 * kPairs);
}

bool data_path(mrlease::Context* context, Wire* wire, int fd, mrl_backing backing) {
  Both both(context, wire, fd, backing);
  const std::string name = mrl_backing_name(backing);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // what the registration has left to do
  bool good = true;
  for (const bool bandwidth : {false, true}) {
    for (const std::size_t bytes : {std::size_t{64}, std::size_t{4096}, std::size_t{65536}, kSize})
      good = holds(&both, name, bytes, bandwidth) && good;
  }
  const bool alone = both.entered() == 0;
  std::printf("%s: calls of the library between post and completion\n  of %ld writes: %d  %s\n", name.c_str(), both.operations(),
              both.entered(), alone ? "held" : "NOT HELD");
  return good && alone;
}

// The count above would be 0 too if nothing were counted.
void count_one(const mrlease::Context& context) {
  mrlease::bench::close_library();
  (void)context.fd();
  if (mrlease::bench::open_library() != 1) throw std::runtime_error("a call of the library is not counted");
}

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

void registrations(mrlease::Context* context, Wire* wire, int fd, int other, mrl_backing backing) {
  const mrlease::RegOptions options = options_for(backing);
  auto region = context->reg_file(wire->target_pd(), fd, 0, kSize, kAccess, options);
  const std::string name = mrl_backing_name(backing);
  const auto round_trip = [&] {
    char c = 0;
    need(::write(other, &c, 1) == 1 && ::read(other, &c, 1) == 1, "socket");
  };
  const auto plain = [&] {
    ibv_mr* const made = register_plainly(wire->target_pd(), region.addr(), 65536, backing);
    round_trip();
    ibv_dereg_mr(made);
  };
  const auto fresh = [&] { context->reg_file(wire->target_pd(), fd, kSize, 65536, kAccess, options).dereg(); };
  std::printf("%s, microseconds; theirs: plain and a socket's round trip; a round trip\n", name.c_str());
  tell("new lease, 64 KiB", measure_pairs(61, [&] { return microseconds(fresh); }, [&] { return microseconds(plain); }), "");
  constexpr int kCalls = 1000;
  const auto again = [&] {
    for (int i = 0; i < kCalls; i++) context->reg_mr(wire->target_pd(), region.addr(), kSize, kAccess).dereg();
  };
  const auto trips = [&] {
    for (int i = 0; i < kCalls; i++) round_trip();
  };
  const Pairs cached = measure_pairs(31, [&] { return microseconds(again) / kCalls; }, [&] { return microseconds(trips) / kCalls; });
  tell("registered already", cached, "");
  region.dereg();
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 3 || argc > 4) throw std::runtime_error("usage: vm_bench FILE SOCKET [ADDRESS]");
  const int fd = ::open(argv[1], O_RDWR | O_CLOEXEC);
  need(fd >= 0, argv[1]);
  const int other = echo();
  Wire wire(argc == 4 ? argv[3] : "10.99.0.1");
  mrlease::Context context({}, argv[2]);
  mrlease::bench::watch_library_of(::dlsym(RTLD_DEFAULT, "mrl_open"));
  count_one(context);
  bool good = true;
  std::fputs(mrlease::bench::kRowHead, stdout);
  for (const mrl_backing backing : {MRL_BACKING_BOUNCE, MRL_BACKING_ODP}) good = data_path(&context, &wire, fd, backing) && good;
  for (const mrl_backing backing : {MRL_BACKING_BOUNCE, MRL_BACKING_ODP}) registrations(&context, &wire, fd, other, backing);
  return good ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "vm_bench: %s\n", error.what());
  return 1;
}
