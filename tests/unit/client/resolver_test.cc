// SPDX-License-Identifier: Apache-2.0
// The resolver's own rule, which no test of an exchange is sure to meet: EAGAIN is not tried again in place.
#include "client-lib/src/uffd/resolver.h"

#include <gtest/gtest.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <future>
#include <string>

namespace mrlease::client {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::uint64_t kLength = 2 * kPage;

bool within_patience(const std::function<bool()>& condition) {
  for (const auto until = Clock::now() + std::chrono::seconds(20); Clock::now() < until; std::this_thread::yield())
    if (condition()) return true;
  return false;
}

// Blocked, and in no system call: a fault waits for somebody (proc_pid_syscall(5)).
bool waits_for_its_fault(pid_t thread) {
  std::ifstream in("/proc/self/task/" + std::to_string(thread) + "/syscall");
  std::string word;
  return in >> word && word == "-1";
}

// A fault has been read, and before it is answered the range begins to move: the kernel says EAGAIN until the event of that is read
// as well, and it is the resolver that has to read it.
TEST(Resolver, AFaultUnderAMoveIsLeftForTheMovesEvent) {
  Userfaultfd made;
  const Outcome opened = Userfaultfd::open(-1, &made);
  if (opened.code == EPERM || opened.code == EINVAL) GTEST_SKIP() << opened.text;
  ASSERT_TRUE(opened.ok()) << opened.text;
  const wire::Fd memory(::memfd_create("watched", MFD_CLOEXEC));
  ASSERT_EQ(::ftruncate(memory.get(), kLength), 0);
  const auto map = [](int protection, int flags, int fd) { return static_cast<char*>(::mmap(nullptr, kLength, protection, flags, fd, 0)); };
  char* const region = map(PROT_READ | PROT_WRITE, MAP_SHARED, memory.get());
  char* const source = map(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  char* const aside = map(PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
  source[0] = 'a';
  ASSERT_EQ(made.watch(region, kLength), 0);
  Resolver resolver(std::move(made));
  const Userfaultfd& userfaultfd = resolver.userfaultfd();
  auto watch = std::make_shared<Watch>();
  watch->begin = reinterpret_cast<std::uint64_t>(region);
  watch->length = kLength;
  watch->source = source;
  resolver.add(watch);

  auto keeps_the_answer_back = resolver.lock();
  std::atomic<pid_t> thread{0};
  auto read = std::async(std::launch::async, [&] {
    thread = ::gettid();
    return *static_cast<volatile char*>(region);
  });
  pollfd unread{userfaultfd.fd(), POLLIN, 0};
  ASSERT_TRUE(within_patience([&] { return thread != 0 && waits_for_its_fault(thread) && ::poll(&unread, 1, 0) == 0; }));
  auto moved = std::async(std::launch::async,
                          [&] { return ::mremap(region, kLength, kLength, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, aside); });
  ASSERT_TRUE(within_patience([&] { return userfaultfd.fill(watch->begin + kPage, source, kPage) == EAGAIN; }));
  keeps_the_answer_back.unlock();

  const bool answered = read.wait_for(std::chrono::seconds(10)) == std::future_status::ready;
  EXPECT_TRUE(answered) << "it hangs in the fault";
  for (uffd_msg event; !answered && read.wait_for(std::chrono::milliseconds(1)) != std::future_status::ready;)
    (void)!::read(userfaultfd.fd(), &event, sizeof event);  // in the resolver's place, so that this test can end
  EXPECT_EQ(read.get(), 'a');
  EXPECT_EQ(moved.get(), aside);
  resolver.remove(watch->begin);
  for (char* const mapping : {region, source, aside}) ::munmap(mapping, kLength);
}

}  // namespace
}  // namespace mrlease::client
