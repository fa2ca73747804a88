// SPDX-License-Identifier: Apache-2.0
// Namespaces between the daemon, its clients and the tasks that it holds. The rig has whole containers (cases/containers.sh).
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>

#include <system_error>

#include "tests/integration/daemon/fixture.h"
#include "tests/support/hung_fuse.h"

namespace mrlease::test {

namespace {

void check(int result, const char* what) {
  if (result != 0) throw std::system_error(errno, std::generic_category(), what);
}

// Mounts of its own, with other numbers than those of everybody else.
void own_mounts() {
  check(::unshare(CLONE_NEWNS), "unshare");
  check(::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "mount --make-rprivate");
}

void become_nobody() {
  check(::setgroups(0, nullptr), "setgroups");
  check(::setgid(65534), "setgid");
  check(::setuid(65534), "setuid");
}

// Children of this process are born in that pid namespace, until the end of the scope.
class BornIn {
 public:
  BornIn() { check(::unshare(CLONE_NEWPID), "unshare"); }  // a new one
  explicit BornIn(pid_t member) {
    const wire::Fd theirs(::open(("/proc/" + std::to_string(member) + "/ns/pid").c_str(), O_RDONLY | O_CLOEXEC));
    check(::setns(theirs.get(), CLONE_NEWPID), "setns");
  }
  ~BornIn() { ::setns(home_.get(), CLONE_NEWPID); }

 private:
  wire::Fd home_{::open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC)};
};

}  // namespace

class ContainersTest : public DaemonTest {
 protected:
  void SetUp() override {
    DaemonTest::SetUp();
    ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  }
  void TearDown() override {
    ::close(ready[0]);
    ::close(ready[1]);
  }
  // The daemon as it would be in a container of its own, without --pid=host.
  void start_contained() {
    const BornIn new_one;
    daemon = std::make_unique<DaemonProcess>(*directory, std::vector<std::string>{}, [] {
      own_mounts();
      check(::mount("proc", "/proc", "proc", 0, nullptr), "mount /proc");
    });
    path = directory->file("data", kSize);
    fd = wire::Fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  }
  // In a process of its own: leases the file, says so, and complies with one truncate.
  int hold_a_lease() {
    const wire::Fd file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    WireClient holder(daemon->socket());
    holder.lease(file.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
    if (::write(ready[1], "x", 1) != 1) return 1;
    const Message trim = holder.recall();
    if (trim.frame.recall().action() != v1::ACTION_TRIM || trim.frame.recall().offset() != 4096) return 2;
    holder.comply(trim.frame.recall());
    const Message settle = holder.recall();
    holder.comply(settle.frame.recall());
    return settle.frame.recall().size() == 4096 ? 0 : 3;
  }
  void truncate_when_leased(Child& holder) {
    ::close(ready[1]);  // the read ends when the holder does
    ready[1] = -1;
    char x = 0;
    ASSERT_EQ(::read(ready[0], &x, 1), 1) << holder.wait();
    EXPECT_EQ(truncate_by_other(4096)->wait(), 0);
    EXPECT_EQ(holder.wait(), 0);
    EXPECT_EQ(size(), 4096u);
  }
  int ready[2] = {-1, -1};
};

TEST_F(ContainersTest, AClientWithMountsOfItsOwnLeasesAFile) {
  start();
  Child holder([this] {
    own_mounts();
    become_nobody();
    return hold_a_lease();
  }, false);
  truncate_when_leased(holder);
}

TEST_F(ContainersTest, AFileSystemThatOnlyTheClientSeesIsJudgedAllTheSame) {
  start();
  Child holder([this] {
    own_mounts();
    const HungFuse fuse(directory->path("fuse"));
    const wire::Fd file = fuse.open_file();
    WireClient asks(daemon->socket());
    try {
      asks.lease(file.get(), v1::BACKING_BOUNCE, 0, 4096);
    } catch (const std::runtime_error& refused) {
      return std::string(refused.what()).find("files on fuse") != std::string::npos ? 0 : 2;
    }
    return 1;
  }, false);
  EXPECT_EQ(holder.wait(), 0);
}

// What is below it could be anything, and could wait.
TEST_F(ContainersTest, AnOverlayOfAContainerIsRefused) {
  start();
  Child holder([this] {
    own_mounts();
    for (const char* name : {"upper", "lower", "over"}) check(::mkdir(directory->path(name).c_str(), 0755), "mkdir");
    directory->file("lower/f", 4096);
    const std::string layers = "lowerdir=" + directory->path("upper") + ":" + directory->path("lower");
    check(::mount("overlay", directory->path("over").c_str(), "overlay", 0, layers.c_str()), "mount an overlay");
    const wire::Fd file(::open(directory->path("over/f").c_str(), O_RDONLY | O_CLOEXEC));
    WireClient asks(daemon->socket());
    try {
      asks.lease(file.get(), v1::BACKING_BOUNCE, 0, 4096, false);
    } catch (const std::runtime_error& refused) {
      return std::string(refused.what()).find("overlay") != std::string::npos ? 0 : 2;
    }
    return 1;
  }, false);
  EXPECT_EQ(holder.wait(), 0);
}

TEST_F(ContainersTest, ADaemonThatCannotSeeAClientSaysSo) {
  start_contained();
  try {
    WireClient outside(daemon->socket());
    ADD_FAILURE() << "it was taken";
  } catch (const std::runtime_error& refused) {
    EXPECT_NE(std::string(refused.what()).find("--pid=host"), std::string::npos) << refused.what();
  }
  EXPECT_TRUE(daemon->says("pid namespace")) << daemon->log();
}

// The kernel tells the number 0 for it; what it does cannot be looked up.
TEST_F(ContainersTest, ATaskThatTheDaemonCannotSeeIsHeldAllTheSame) {
  start_contained();
  const auto holder = [this] {
    const BornIn with_the_daemon(daemon->pid());
    return std::make_unique<Child>([this] { return hold_a_lease(); });
  }();
  truncate_when_leased(*holder);
}

}  // namespace mrlease::test
