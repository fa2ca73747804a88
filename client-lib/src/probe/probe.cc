// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/probe/probe.h"

#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <thread>
#include <vector>

#include "client-lib/src/verbs/loopback.h"

namespace mrlease::client {
namespace {

// Shared memory that can be registered, unmapped at the end.
class Target {
 public:
  explicit Target(std::size_t pages) : length_(pages * kPage) {
    wire::Fd memfd(::memfd_create("mrlease-probe", MFD_CLOEXEC));
    if (!memfd || ::ftruncate(memfd.get(), static_cast<off_t>(length_)) != 0) return;
    void* got = ::mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_SHARED, memfd.get(), 0);
    if (got != MAP_FAILED) bytes_ = static_cast<unsigned char*>(got);
  }
  ~Target() {
    if (mr_.mr != nullptr) (void)verbs::deregister_mr(mr_.mr);
    if (bytes_ != nullptr) ::munmap(bytes_, length_);
  }
  Target(const Target&) = delete;
  Target& operator=(const Target&) = delete;
  Outcome on_demand(verbs::Loopback& on) {
    if (bytes_ == nullptr) return from_errno("memory for the probe");
    return verbs::register_target(on.pd(), bytes_, length_, true, &mr_);
  }
  unsigned char* bytes() const { return bytes_; }
  std::size_t length() const { return length_; }
  std::uint64_t address() const { return reinterpret_cast<std::uint64_t>(bytes_); }
  std::uint32_t rkey() const { return mr_.rkey; }

 private:
  std::size_t length_;
  unsigned char* bytes_ = nullptr;
  verbs::Mr mr_;
};

struct Transfer {
  std::size_t offset, length;
};

// Every byte of the target is looked at: those that were meant, and all others.
Outcome transfer_and_compare(verbs::Loopback& on, Target& target, Transfer t) {
  std::memset(target.bytes(), 0, target.length());
  const std::string what = std::to_string(t.length) + " bytes at offset " + std::to_string(t.offset);
  Outcome o = on.write(target.address() + t.offset, target.rkey(), t.length);
  if (!o.ok()) return {o.code, what + ": " + o.text};
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < target.length(); i++) {
    const bool inside = i >= t.offset && i < t.offset + t.length;
    if (target.bytes()[i] != (inside ? on.source()[i - t.offset] : 0)) wrong++;
  }
  if (wrong != 0) return {EILSEQ, what + " came out with " + std::to_string(wrong) + " wrong bytes"};
  return {};
}

// A connection of its own for each list: a failed transfer kills the connection.
Outcome try_on_demand(ibv_context* device, const std::vector<Transfer>& transfers, bool* tried) {
  std::unique_ptr<verbs::Loopback> loopback;
  Outcome o = verbs::Loopback::create(device, &loopback);
  *tried = o.ok();
  if (!o.ok()) return o;
  Target target(16);
  o = target.on_demand(*loopback);
  for (const Transfer& t : transfers) {
    if (o.ok()) o = transfer_and_compare(*loopback, target, t);
  }
  return o;
}

// Answers one device fault, after it has seen the fault.
class Answerer {
 public:
  Answerer(const Userfaultfd& userfaultfd, std::uint64_t page)
      : stop_(::eventfd(0, EFD_CLOEXEC)), thread_([this, &userfaultfd, page] { run(userfaultfd, page); }) {}
  ~Answerer() { finish(); }
  bool finish() {
    const std::uint64_t one = 1;
    (void)!::write(stop_.get(), &one, sizeof one);
    if (thread_.joinable()) thread_.join();
    return seen_;
  }

 private:
  void run(const Userfaultfd& userfaultfd, std::uint64_t page) {
    alignas(kPage) static constexpr char zeros[kPage] = {};
    pollfd what[2] = {{userfaultfd.fd(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    for (;;) {
      if (::poll(what, 2, -1) < 0) continue;
      uffd_msg message;
      if (what[0].revents != 0 && ::read(userfaultfd.fd(), &message, sizeof message) == sizeof message &&
          message.event == UFFD_EVENT_PAGEFAULT) {
        seen_ = true;
        if (userfaultfd.fill(page, zeros, kPage) != 0) userfaultfd.wake(page, kPage);
      }
      if (what[1].revents != 0) return;
    }
  }
  wire::Fd stop_;
  bool seen_ = false;
  std::thread thread_;
};

Outcome try_waiting(ibv_context* device, const Userfaultfd& userfaultfd) {
  std::unique_ptr<verbs::Loopback> loopback;
  Outcome o = verbs::Loopback::create(device, &loopback);
  if (!o.ok()) return o;
  Target target(1);
  if (target.bytes() == nullptr) return from_errno("memory for the probe");
  if (const int code = userfaultfd.watch(target.bytes(), kPage); code != 0) return from_errno("UFFDIO_REGISTER", code);
  Answerer answerer(userfaultfd, target.address());
  o = target.on_demand(*loopback);
  if (o.ok()) o = loopback->write(target.address(), target.rkey(), kPage);
  if (!answerer.finish() && o.ok()) return {EILSEQ, "the write was done, but no fault was seen"};
  if (o.ok() && std::memcmp(target.bytes(), loopback->source(), kPage) != 0) {
    return {EILSEQ, "the page came out with other bytes than were written"};
  }
  return o;
}

}  // namespace

DeviceCaps probe_device(ibv_context* device, const std::function<Outcome(Userfaultfd*)>& userfaultfd) {
  DeviceCaps caps;
  const Outcome any = try_on_demand(device, {{100, 64}, {4095, 2}, {3000, 4096}, {20000, 8192}, {1, 1}, {0, 65536}}, &caps.tried);
  if (any.ok()) {
    caps.odp = 1;
    caps.odp_text = "passes the self-test";
  } else {
    const Outcome aligned = try_on_demand(device, {{0, 4096}, {8192, 4096}, {20480, 8192}, {61440, 4096}}, &caps.tried);
    caps.odp = aligned.ok() ? 2 : 0;
    caps.odp_text = aligned.ok() ? "passes the self-test for page-aligned transfers only (" + any.text + ")"
                                 : "fails the self-test: " + aligned.text;
  }
  if (caps.odp == 0) {
    caps.waits_text = "waiting was not tried";
    return caps;
  }
  Userfaultfd own;
  Outcome waiting = userfaultfd(&own);
  if (waiting.ok()) waiting = try_waiting(device, own);
  caps.waits = waiting.ok();
  caps.waits_text = caps.waits ? "device faults wait in userfaultfd" : "no waiting in userfaultfd: " + waiting.text;
  return caps;
}

Outcome probe_direct(ibv_context* device, int fd) {
  std::unique_ptr<verbs::Loopback> loopback;
  Outcome o = verbs::Loopback::create(device, &loopback);
  if (!o.ok()) return o;
  void* page = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) return from_errno("mmap of the file for reading and writing");
  verbs::Mr mr;
  o = verbs::register_target(loopback->pd(), page, kPage, false, &mr);
  if (o.ok()) (void)verbs::deregister_mr(mr.mr);
  ::munmap(page, kPage);
  return o;
}

}  // namespace mrlease::client
