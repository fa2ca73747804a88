// SPDX-License-Identifier: Apache-2.0
// A daemon whose descriptors are kept: it is killed, and a successor is started.
#pragma once

#include <poll.h>
#include <sys/mman.h>

#include <memory>

#include "daemon/guard/journal.h"
#include "daemon/keep/state.h"
#include "tests/integration/daemon/fixture.h"
#include "tests/support/service_manager.h"

namespace mrlease::test {

// An unprivileged process with one lease, which does what it is asked for and counts. Fork it before the service runs, so
// that it has no duplicate of anything that is kept.
class ObedientClient {
 public:
  struct Counts { int recalls = 0, resumes = 0, settles = 0; };

  ObedientClient(const std::string& socket, const std::string& file, v1::Backing backing);
  void wait_granted() { take('G'); }
  // Releases the lease: the errno of that, or 200 when it had been fenced. Ends the process.
  int release(Counts* counts = nullptr);
  pid_t pid() const { return child_->pid(); }
  int wait() { return child_->wait(); }

 private:
  int run(const std::string& socket, const std::string& file, v1::Backing backing);
  void answer(WireClient& client, const Message& m, Counts* counts);
  void take(char expected);

  wire::Fd to_child_[2], from_child_[2];
  std::unique_ptr<Child> child_;
};

class KeptTest : public DaemonTest {
 protected:
  void make_file() {
    if (path.empty()) path = directory->file("data", kSize);
    fd = wire::Fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    manager = std::make_unique<ServiceManager>(*directory, options);
  }
  void start_service() {
    if (!manager) make_file();
    manager->start();
  }
  // An obedient client that has its lease, and the service that granted it.
  std::unique_ptr<ObedientClient> obey(v1::Backing backing) {
    make_file();
    auto obedient = std::make_unique<ObedientClient>(manager->socket(), path, backing);
    manager->start();
    obedient->wait_granted();
    return obedient;
  }
  void connect() { client = std::make_unique<WireClient>(manager->socket()); }
  void replace_daemon() {
    manager->kill(SIGKILL);
    manager->start();
  }
  // The Resume that comes first after a restart; answered.
  void resume(std::vector<std::uint64_t> waiting = {}) {
    const auto m = client->next();
    ASSERT_TRUE(m && m->frame.has_resume()) << manager->log();
    wire::Frame f;
    for (const std::uint64_t id : waiting) f.mutable_resumed()->add_waiting(id);
    if (waiting.empty()) f.mutable_resumed();
    client->send(std::move(f));
  }
  std::uint64_t ask_freeze() {
    wire::Frame f;
    f.mutable_freeze_file()->set_hold_ms(60000);
    return client->send(std::move(f), {fd.get()});
  }
  std::uint64_t ask_thaw(std::uint64_t freeze) {
    wire::Frame f;
    f.mutable_thaw_file()->set_freeze(freeze);
    return client->send(std::move(f));
  }
  // What the daemon keeps under this name, for as long as the result lives.
  std::shared_ptr<void> kept_memory(const std::string& name, std::size_t bytes) {
    return {::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, manager->kept(name), 0), [bytes](void* at) { ::munmap(at, bytes); }};
  }
  // What it held, it was letting go: noted as passing, then as allowed (guard/ledger.cc, guard/event_desk.cc).
  void pretend_it_was_allowing() {
    const auto memory = kept_memory("journal", guard::Journal::bytes());
    ASSERT_NE(memory.get(), MAP_FAILED);
    guard::Journal journal(memory.get());
    const auto held = journal.orphans();
    for (const guard::Orphan& each : held) {
      journal.passes(each.file, guard::look(each.tid));
      journal.allows(each.number);
    }
    ASSERT_EQ(held.size(), 1u);
  }
  // An operation on the file, by this task, was allowed and has not ended.
  void pretend_it_was_inside(pid_t task) {
    const auto memory = kept_memory("journal", guard::Journal::bytes());
    ASSERT_NE(memory.get(), MAP_FAILED);
    struct stat st {};
    ASSERT_EQ(::fstat(fd.get(), &st), 0);
    guard::Journal(memory.get()).passes({st.st_dev, st.st_ino}, guard::look(task));
  }
  // kFenceOrdered: every lease's client was to be fenced, and whether that has ended nobody knows. kFenceDone: it has, and whether
  // the client was told nobody knows.
  void pretend_fenced(std::uint32_t fenced) {
    const auto memory = kept_memory("state", keep::State::bytes());
    ASSERT_NE(memory.get(), MAP_FAILED);
    keep::State state(memory.get());
    int found = 0;
    state.leases.each([&](keep::Slot slot, const keep::LeaseRecord&) {
      state.leases.at(slot).fenced = fenced;
      found++;
    });
    ASSERT_EQ(found, 1);
  }
  // In a process of its own, as nobody, with nothing of what the manager keeps.
  std::unique_ptr<Child> foreign(std::function<int(const char*)> body) {
    return std::make_unique<Child>([body, p = path] {
      ::close_range(3, ~0u, 0);
      return body(p.c_str());
    });
  }
  std::unique_ptr<Child> write_by_other() {  // 'w', at 0
    return foreign([](const char* p) {
      const int f = ::open(p, O_RDWR);
      return ::pwrite(f, "w", 1, 0) == 1 ? 0 : errno;
    });
  }
  std::unique_ptr<Child> truncate_to(off_t size) {
    return foreign([size](const char* p) { return ::truncate(p, size) == 0 ? 0 : errno; });
  }

  std::vector<std::string> options;
  std::unique_ptr<ServiceManager> manager;
};

}  // namespace mrlease::test
