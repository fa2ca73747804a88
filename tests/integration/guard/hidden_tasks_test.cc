// SPDX-License-Identifier: Apache-2.0
// Tasks that whoever looks at them in /proc waits for, by way of a file server that does not answer: what they do is held and goes on,
// and so is what others do.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include "tests/integration/guard/precontent_fixture.h"
#include "tests/support/comes_true.h"
#include "tests/support/hidden_process.h"
#include "tests/support/hung_fuse.h"
#include "tests/support/sharer.h"

namespace mrlease::guard::test {
namespace {

using mrlease::test::comes_true;
using mrlease::test::HiddenProcess;
using mrlease::test::HungFuse;
using mrlease::test::Sharer;

// Threads of this process that are, or were, a guard's.
int guards() {
  int count = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream comm(task.path() / "comm");
    std::string text;
    if (std::getline(comm, text) && text == "mrl-guard") ++count;
  }
  return count;
}

// A page of a file whose server does not answer any more, when hang() was called.
void* page_that_never_comes(int fuse) { return ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fuse, 0); }

class HiddenTasks : public PrecontentTest {
 protected:
  void SetUp() override {
    PrecontentTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_TRUE(comes_true([] { return guards() == 1; }));  // those that an earlier test has lost are back
    before = guards();
    fuse.emplace(file.dir() + "/hung");
    served = fuse->open_file();
  }
  // Those that hang can end when it is gone: so before they are waited for.
  struct Release {
    std::optional<HungFuse>* fuse;
    ~Release() { fuse->reset(); }
  };
  // Nobody else has its file open by now: to close it would take an answer.
  void hang(std::initializer_list<Foreign*> all) {
    for (Foreign* each : all) {
      each->next();
      EXPECT_EQ(each->result(), 0);
    }
    served = wire::Fd();
    fuse->hang();
  }
  // One more thread was lost, and another one is on duty.
  bool guard_is_replaced() const {
    return comes_true([this] { return guards() > before; });
  }
  void serves_others() {
    Foreign other({[this] { return outcome(::truncate(file.path(), kFileSize / 2)); }});
    other.next();
    const auto op = recorder.wait_held();
    ASSERT_TRUE(op);
    EXPECT_EQ(op->tid, other.pid());
    EXPECT_EQ(op->kind, core::BreakKind::Truncate) << op->what;
    guard->answer(op->id, 0, true);
    EXPECT_EQ(other.result(), 0);
    EXPECT_TRUE(recorder.wait_left(op->id));
  }

  int before = 0;
  std::optional<HungFuse> fuse;
  wire::Fd served;  // of the hung file system, and open here as long as it answers
};

// The guard has directories of its own for the same processes.
TEST_F(HiddenTasks, WhoseDirectoryIsLockedIsSeenAllTheSame) {
  Foreign hidden({[this] { return outcome(::truncate(file.path(), kFileSize / 2)); }});
  const HiddenProcess hides(file.dir() + "/hides", hidden.pid());
  hidden.next();
  const auto op = recorder.wait_held();
  ASSERT_TRUE(op);
  EXPECT_EQ(op->tid, hidden.pid());
  EXPECT_EQ(op->kind, core::BreakKind::Truncate) << op->what;
  EXPECT_EQ(guards(), 1);
  guard->answer(op->id, 0, true);
  EXPECT_EQ(hidden.result(), 0);
  EXPECT_TRUE(recorder.wait_left(op->id));
}

// In his call still when he was looked at first. Then one of his threads executes another program, and has a descriptor that ends with it.
TEST_F(HiddenTasks, WhoseExecveDoesNotEndIsWaitedForByNobody) {
  const std::string program = "/bin/true";
  int opened = -1;
  void* page = nullptr;
  Foreign hidden({[&] {
                    opened = ::open(file.path(), O_RDWR);
                    page = page_that_never_comes(served.get());
                    ::fcntl(served.get(), F_SETFD, FD_CLOEXEC);
                    sigset_t usr1;
                    ::sigemptyset(&usr1);
                    ::sigaddset(&usr1, SIGUSR1);
                    ::pthread_sigmask(SIG_BLOCK, &usr1, nullptr);
                    std::thread([usr1, &program] {
                      int signal = 0;
                      ::sigwait(&usr1, &signal);
                      ::execl(program.c_str(), program.c_str(), nullptr);
                    }).detach();
                    return opened < 0 || page == MAP_FAILED ? errno : 0;
                  },
                  [&] { return outcome(::write(opened, page, 4096)); }},
                 served.get());
  const Release release{&fuse};
  hang({&hidden});
  hidden.next();
  const auto op = recorder.wait_held();
  ASSERT_TRUE(op);
  EXPECT_EQ(op->kind, core::BreakKind::Write) << op->what;
  guard->answer(op->id, 0, true);
  ASSERT_EQ(::kill(hidden.pid(), SIGUSR1), 0);
  // Where the machine is slow the guard may look when his first thread is dead, and the other has not taken over its number.
  EXPECT_TRUE(comes_true([&] { return guards() > before || recorder.has_left(op->id); }));
  serves_others();
  fuse.reset();
  EXPECT_EQ(recorder.wait_left(op->id), true) << "when it can be looked at again";
}

// Under the number of a descriptor of his call he has put an epoll descriptor that somebody is inside for ever.
TEST_F(HiddenTasks, WhoseDescriptorCannotBeLookedAtIsHeldForTheWorstCase) {
  Scratch source;
  const sys::Fd source_fd = source.open();
  guard->watch(source.key(), source_fd.get());
  guard->publish(source.key(), core::Needs{.read = true});
  int to = -1, from = -1, epoll = -1;
  void* page = nullptr;
  std::optional<Sharer> sender, inside;
  Foreign hidden({[&] {
                    to = ::open(file.path(), O_RDWR);
                    from = ::open(source.path(), O_RDONLY);
                    page = page_that_never_comes(served.get());
                    epoll = ::epoll_create1(0);
                    const int ready = ::eventfd(1, 0);
                    epoll_event event{};
                    event.events = EPOLLIN;
                    if (to < 0 || from < 0 || page == MAP_FAILED || ::epoll_ctl(epoll, EPOLL_CTL_ADD, ready, &event) != 0) return errno;
                    sender.emplace([&] { return outcome(::copy_file_range(from, nullptr, to, nullptr, 8192, 0)); });
                    return 0;
                  },
                  [&] {
                    inside.emplace([&] { return outcome(::epoll_wait(epoll, static_cast<epoll_event*>(page), 1, -1)); });
                    // Asleep, though something is ready: for its page, with the lock.
                    inside->wait_asleep();
                    return outcome(::dup2(epoll, to));
                  },
                  [&] { return sender->result(); }},
                 served.get());
  const Release release{&fuse};
  hang({&hidden});
  const auto read = recorder.wait_held();
  ASSERT_TRUE(read);
  hidden.next();
  ASSERT_EQ(hidden.result(), 0);
  guard->answer(read->id, 0, false);
  const auto written = recorder.wait_held();
  ASSERT_TRUE(written);
  EXPECT_EQ(written->file, file.key());
  EXPECT_EQ(written->kind, core::BreakKind::Destructive) << written->what;
  EXPECT_TRUE(guard_is_replaced());
  serves_others();
  guard->answer(written->id, 0, false);
  hidden.next();
  EXPECT_EQ(hidden.result(), 0);
  guard.reset();  // while one is lost
}

}  // namespace
}  // namespace mrlease::guard::test
