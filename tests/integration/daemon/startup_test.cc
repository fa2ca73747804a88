// SPDX-License-Identifier: Apache-2.0
// Starting: mistakes are told in a sentence, and nothing is taken from a daemon that serves.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <cstddef>
#include <fstream>

#include "tests/integration/daemon/fixture.h"

namespace mrlease::test {

class StartupTest : public DaemonTest {};

TEST_F(StartupTest, ASocketThatIsTakenIsLeftAlone) {
  start();
  const pid_t other = ::fork();
  if (other == 0) {
    const int log = ::open(directory->path("second.log").c_str(), O_WRONLY | O_CREAT, 0644);
    ::dup2(log, 2);
    ::execl(MRLEASED_BINARY, MRLEASED_BINARY, "--socket", daemon->socket().c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(other, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 1);
  std::ifstream in(directory->path("second.log"));
  std::string text((std::istreambuf_iterator<char>(in)), {});
  EXPECT_NE(text.find("another mrleased serves"), std::string::npos) << text;
  EXPECT_NO_THROW(client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize));
}

// Whoever reads the daemon's standard error may have stopped: a pager, a pipe, a journal that hangs. Nobody waits for him.
TEST_F(StartupTest, ALogThatNobodyReadsHoldsNobodyUp) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const wire::Fd reads(ends[0]);
  wire::Fd writes(ends[1]);
  ASSERT_EQ(::fcntl(writes.get(), F_SETPIPE_SZ, 4096), 4096);
  start({}, [&] { ::dup2(writes.get(), 2); });
  writes = {};
  constexpr int kLeases = 2000;  // each is a line; the pipe and the log's own memory hold less
  const auto says_a_line = [&] { release(client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, 4096).frame.granted().lease()); };
  for (int i = 0; i < kLeases; i++) says_a_line();
  WireClient liar(daemon->socket(), false);  // whose name is none: of which protobuf would write to stderr itself
  wire::Frame hello;
  hello.mutable_hello()->set_version_min(wire::kVersionMin);
  hello.mutable_hello()->set_version_max(wire::kVersionMax);
  hello.mutable_hello()->set_program("\xff");
  EXPECT_THROW(liar.call(std::move(hello)), std::runtime_error);
  const std::uint64_t bounce = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize).frame.granted().lease();
  EXPECT_EQ(truncate_by_other(4096)->wait(), 0);
  release(bounce);
  std::string all;
  const auto read_some = [&] {
    char some[4096];
    const ssize_t got = ::read(reads.get(), some, sizeof some);
    if (got > 0) all.append(some, static_cast<std::size_t>(got));
    return got > 0;
  };
  while (all.find("lines of this log are lost") == std::string::npos) {  // as soon as there is room again, with the next line
    says_a_line();
    ASSERT_TRUE(read_some()) << all;
  }
  EXPECT_NE(all.find("serving " + daemon->socket()), std::string::npos) << "the first lines are in the pipe";
  for (int i = 0; i < 300; i++) says_a_line();
  EXPECT_EQ(daemon->stop(SIGTERM), 0) << "nobody reads again, and it ends all the same";
  while (read_some()) continue;
}

TEST_F(StartupTest, DeadlinesMustNest) {
  const std::string log = refused({"--recall-deadline-ms", "100", "--fence-deadline-ms", "200"});
  EXPECT_NE(log.find("fence-deadline-ms (200 ms) must be shorter than recall-deadline-ms (100 ms)"), std::string::npos) << log;
}

TEST_F(StartupTest, UnknownConfigurationIsRefused) {
  std::ofstream(directory->path("mrleased.toml")) << "recall-deadline-ms = 1000\nrecal-deadline = 5\n";
  const std::string log = refused({"--config", directory->path("mrleased.toml")});
  EXPECT_NE(log.find("recal-deadline"), std::string::npos) << log;
}

TEST_F(StartupTest, AnUnprivilegedDaemonSaysWhatItNeeds) {
  Child nobody([&] {
    const int log = ::open(directory->path("nobody.log").c_str(), O_WRONLY | O_CREAT, 0644);
    ::dup2(log, 2);
    ::execl(MRLEASED_BINARY, MRLEASED_BINARY, "--socket", directory->path("nobody.sock").c_str(), nullptr);
    return 127;
  });
  EXPECT_EQ(nobody.wait(), 1);
  std::ifstream in(directory->path("nobody.log"));
  std::string text((std::istreambuf_iterator<char>(in)), {});
  EXPECT_NE(text.find("CAP_SYS_ADMIN"), std::string::npos) << text;
}

TEST_F(StartupTest, ARootThatIsNotThereIsTold) {
  const std::string log = refused({"--root", directory->path("mistyped")});
  EXPECT_NE(log.find("mistyped cannot be armed: No such file or directory"), std::string::npos) << log;
}

// As a kernel that was built without it.
bool without_fanotify() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fanotify_init, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{4, program};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST_F(StartupTest, AKernelWithoutFanotifyIsTold) {
  Child old_kernel([&] {
    const int log = ::open(directory->path("old.log").c_str(), O_WRONLY | O_CREAT, 0644);
    ::dup2(log, 2);
    if (!without_fanotify()) return 126;
    ::execl(MRLEASED_BINARY, MRLEASED_BINARY, "--socket", directory->path("old.sock").c_str(), nullptr);
    return 127;
  }, false);
  EXPECT_EQ(old_kernel.wait(), 1);
  std::ifstream in(directory->path("old.log"));
  std::string text((std::istreambuf_iterator<char>(in)), {});
  EXPECT_NE(text.find("CONFIG_FANOTIFY"), std::string::npos) << text;
  EXPECT_NE(::access(directory->path("old.sock").c_str(), F_OK), 0) << "nobody is to connect to it";
}

}  // namespace mrlease::test
