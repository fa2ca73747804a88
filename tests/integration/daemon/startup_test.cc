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
