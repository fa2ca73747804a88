// SPDX-License-Identifier: Apache-2.0
// kill -9 of the daemon, at any moment: what was held stays held, no lease is lost, the successor goes on.
#include "tests/integration/daemon/kept_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <fstream>

namespace mrlease::test {

using std::chrono::milliseconds;

TEST_F(KeptTest, ATruncateThatNobodyHasReadStaysHeld) {
  const auto obedient = obey(v1::BACKING_ODP_TRANSPARENT);
  manager->signal(SIGSTOP);
  auto other = truncate_to(4096);
  ASSERT_TRUE(other->blocked_in(SYS_truncate));
  manager->kill(SIGKILL);
  EXPECT_TRUE(other->running());
  EXPECT_EQ(size(), kSize) << "nobody is there, and it is held";
  manager->start();
  EXPECT_EQ(other->wait(), 0) << manager->log();
  EXPECT_EQ(size(), 4096u);
  ObedientClient::Counts counts;
  EXPECT_EQ(obedient->release(&counts), 0) << manager->log();
  EXPECT_EQ(counts.resumes, 1);
  EXPECT_GE(counts.recalls, 1);
}

TEST_F(KeptTest, ATruncateThatWasReadAndNotAnsweredStaysHeld) {
  start_service();
  connect();
  const std::uint64_t lease = client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize).frame.granted().lease();
  auto other = truncate_to(4096);
  const Message trim = client->recall();
  ASSERT_EQ(trim.frame.recall().action(), v1::ACTION_TRIM);
  manager->kill(SIGKILL);
  EXPECT_TRUE(other->running());
  manager->start();
  resume();
  // The predecessor's recall: it may be answered, and lets nobody through.
  client->comply(trim.frame.recall());
  const Message settle = client->recall();
  EXPECT_EQ(settle.frame.recall().action(), v1::ACTION_SETTLE);
  EXPECT_EQ(settle.frame.recall().store(), trim.frame.recall().store());
  EXPECT_EQ(settle.frame.recall().size(), kSize);
  EXPECT_TRUE(other->running());
  EXPECT_EQ(size(), kSize);
  client->comply(settle.frame.recall());
  const Message again = client->recall();
  EXPECT_EQ(again.frame.recall().action(), v1::ACTION_TRIM);
  EXPECT_GT(again.frame.recall().recall(), trim.frame.recall().recall());
  EXPECT_TRUE(other->running());
  EXPECT_EQ(size(), kSize);
  client->comply(again.frame.recall());
  EXPECT_EQ(other->wait(), 0) << manager->log();
  const Message end = client->recall();
  EXPECT_EQ(end.frame.recall().size(), 4096u);
  client->comply(end.frame.recall());
  EXPECT_EQ(status(release(lease)).code(), 0) << manager->log();
}

// The kernel tells of a break of a file lease once; the successor has to look. It would be over after lease-break-time, 45 s.
TEST_F(KeptTest, ATruncateThatALeaseHoldsIsTakenOverToo) {
  path = "/dev/shm/mrlease-kept-" + std::to_string(::getpid());  // tmpfs has no FAN_PRE_ACCESS
  {
    std::ofstream(path) << std::string(kSize, 'a');
    ASSERT_EQ(::chown(path.c_str(), 65534, 65534), 0);
  }
  make_file();
  fd = {};  // one more opener, and nothing is held
  ObedientClient obedient(manager->socket(), path, v1::BACKING_ODP_TRANSPARENT);
  manager->start();
  obedient.wait_granted();
  manager->signal(SIGSTOP);
  auto other = truncate_to(4096);
  ASSERT_TRUE(other->blocked_in(SYS_truncate));
  manager->kill(SIGKILL);
  const auto began = std::chrono::steady_clock::now();
  manager->start();
  EXPECT_EQ(other->wait(), 0) << manager->log();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(20)) << manager->log();
  ObedientClient::Counts counts;
  EXPECT_EQ(obedient.release(&counts), 0) << manager->log();
  EXPECT_GE(counts.recalls, 1) << manager->log();
  ::unlink(path.c_str());
}

TEST_F(KeptTest, AClientThatHangsIsFencedByTheSuccessor) {
  options = {"--recall-deadline-ms", "300", "--fence-deadline-ms", "250"};
  start_service();
  connect();
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  auto other = truncate_to(4096);
  client->recall();
  replace_daemon();
  EXPECT_EQ(other->wait(), 0) << manager->log();
}

// It has come back to the daemon with memory regions, and was not heard of since: neither daemon has handles to destroy them by.
TEST_F(KeptTest, WhoHasNotToldOfItsMemoryRegionsIsKilledByTheSuccessorToo) {
  options = {"--recall-deadline-ms", "300", "--fence-deadline-ms", "250"};
  make_file();
  Child hung([socket = manager->socket(), p = path] {
    const wire::Fd own(::open(p.c_str(), O_RDWR | O_CLOEXEC));
    WireClient holder(socket);
    if (!comes_back(holder, own.get())) return 1;
    ::pause();
    return 2;
  });
  manager->start();
  ASSERT_TRUE(hung.blocked_in(SYS_pause));
  replace_daemon();
  EXPECT_EQ(truncate_to(4096)->wait(), 0) << manager->log();
  EXPECT_EQ(hung.wait(), 128 + SIGKILL);
}

// The client had not complied in time, and was not asked again. It has the daemon's word for it that its device access has ended.
TEST_F(KeptTest, AFenceThatHadBegunEndsUnderTheSuccessor) {
  start_service();
  connect();
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  manager->kill(SIGKILL);
  pretend_fenced(keep::LeaseRecord::kFenceOrdered);
  auto other = truncate_to(4096);
  manager->start();
  EXPECT_EQ(other->wait(), 0) << manager->log();
  resume();
  const auto m = client->next();
  ASSERT_TRUE(m && m->frame.has_notice()) << manager->log();
  EXPECT_EQ(m->frame.notice().kind(), v1::Notice::FENCED);
}

TEST_F(KeptTest, WhoWasFencedIsToldByTheSuccessor) {
  start_service();
  connect();
  const auto lease = client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize).frame.granted().lease();
  manager->kill(SIGKILL);
  pretend_fenced(keep::LeaseRecord::kFenceDone);
  manager->start();
  resume();
  const auto m = client->next();
  ASSERT_TRUE(m && m->frame.has_notice()) << manager->log();
  EXPECT_EQ(m->frame.notice().kind(), v1::Notice::FENCED);
  EXPECT_EQ(m->frame.notice().lease(), lease);
  EXPECT_EQ(truncate_to(0)->wait(), 0) << "it is in nobody's way";
}

// An operation is held, a lease runs: nobody's mistake in a file may make them wait, or end them.
TEST_F(KeptTest, AFileWithAMistakeHoldsUpNobodyAtARestart) {
  const std::string config = directory->path("mrleased.toml");
  options = {"--config", config};
  make_file();
  const auto write = [&](const std::string& text) { std::ofstream(config) << text; };
  write("leases-max = 10\n");
  ObedientClient obedient(manager->socket(), path, v1::BACKING_ODP_TRANSPARENT);
  manager->start();
  obedient.wait_granted();
  write("leases-max = \"many\"\n");
  replace_daemon();
  EXPECT_TRUE(manager->says("taken over without the file")) << manager->log();
  EXPECT_EQ(truncate_to(4096)->wait(), 0);
  EXPECT_EQ(obedient.release(), 0) << manager->log();
}

TEST_F(KeptTest, APortThatIsTakenEndsNobodyAtARestart) {
  const std::string config = directory->path("mrleased.toml");
  options = {"--config", config};
  make_file();
  const wire::Fd taken(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ASSERT_EQ(::bind(taken.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::getsockname(taken.get(), reinterpret_cast<sockaddr*>(&address), &length), 0);
  std::ofstream(config) << "log-level = \"info\"\n";
  ObedientClient obedient(manager->socket(), path, v1::BACKING_ODP_TRANSPARENT);
  manager->start();
  obedient.wait_granted();
  ASSERT_EQ(::listen(taken.get(), 1), 0);
  std::ofstream(config) << "metrics-listen = \"127.0.0.1:" << ntohs(address.sin_port) << "\"\n";
  replace_daemon();
  EXPECT_TRUE(manager->says("goes on without it")) << manager->log();
  EXPECT_EQ(truncate_to(4096)->wait(), 0);
  EXPECT_EQ(obedient.release(), 0) << manager->log();
}

TEST_F(KeptTest, TwentyKillsInARowLoseNothing) {
  const auto obedient = obey(v1::BACKING_ODP_TRANSPARENT);
  for (int i = 0; i < 20; i++) {
    const off_t to = static_cast<off_t>(kSize) - (i + 1) * 1024;
    auto other = truncate_to(to);
    // At another moment each time: before, while and after it is held.
    if (i % 4 != 0) other->blocked_in(SYS_truncate, milliseconds(i));
    manager->kill(SIGKILL);
    manager->start();
    EXPECT_EQ(other->wait(), 0) << "round " << i << "\n" << manager->log();
    EXPECT_EQ(size(), static_cast<std::uint64_t>(to));
  }
  ObedientClient::Counts counts;
  EXPECT_EQ(obedient->release(&counts), 0) << manager->log();
  EXPECT_EQ(counts.resumes, 20);
}

TEST_F(KeptTest, NothingIsLeftWithTheManagerWhenAllIsReleased) {
  start_service();
  const std::size_t empty = manager->names().size();
  connect();
  const std::uint64_t a = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, 4096).frame.granted().lease();
  // One open file, two leases: the manager keeps it once, under its first name.
  const std::uint64_t b = client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 8192, 4096).frame.granted().lease();
  EXPECT_EQ(status(release(a)).code(), 0);
  replace_daemon();
  resume();
  auto other = truncate_to(8192);
  const Message trim = client->recall();
  EXPECT_EQ(trim.frame.recall().lease(), b);
  client->comply(trim.frame.recall());
  EXPECT_EQ(other->wait(), 0);
  client->comply(client->recall().frame.recall());
  EXPECT_EQ(status(release(b)).code(), 0);
  client->hang_up();
  // The next store may lie ready.
  EXPECT_TRUE(manager->wait_for_names(empty + 1)) << ::testing::PrintToString(manager->names());
}

TEST_F(KeptTest, BouncePagesAndWhatIsOwedOutliveTheDaemon) {
  start_service();
  connect();
  const Message granted = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  ASSERT_EQ(granted.fds.size(), 1u);
  ASSERT_EQ(::pwrite(granted.fds[0].get(), "RDMA", 4, 8192), 4);
  replace_daemon();
  resume();
  ASSERT_EQ(::pwrite(granted.fds[0].get(), "MORE", 4, 12288), 4);
  // A foreign write to another page is taken over; ours need not be in the file for it.
  auto other = write_by_other();
  EXPECT_EQ(other->wait(), 0) << manager->log();
  replace_daemon();
  resume();
  EXPECT_EQ(status(release(granted.frame.granted().lease())).code(), 0);
  EXPECT_EQ(byte_at(0), 'w') << "what others wrote is not written over with old pages";
  EXPECT_EQ(byte_at(8192), 'R');
  EXPECT_EQ(byte_at(12288), 'M');
}

TEST_F(KeptTest, AClientThatDiesWhileNobodyIsThereIsMergedByTheSuccessor) {
  start_service();
  connect();
  const Message granted = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  ASSERT_EQ(::pwrite(granted.fds[0].get(), "RDMA", 4, 8192), 4);
  manager->kill(SIGKILL);
  client->hang_up();
  manager->start();
  ASSERT_TRUE(manager->wait_for("FDSTOREREMOVE=1")) << manager->log();
  connect();  // and what was owed is in the file before the range can be had again
  EXPECT_NO_THROW(client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize));
  EXPECT_EQ(byte_at(8192), 'R');
}

// Its session is gone by then, and only the arbiter knew that its pages were to be written at the thaw.
TEST_F(KeptTest, AClientThatDiesUnderAFreezeIsMergedByTheSuccessorAtTheThaw) {
  start_service();
  connect();
  auto holder = std::make_unique<WireClient>(manager->socket());
  const Message granted = holder->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  ask_freeze();
  const auto frozen = client->next();
  ASSERT_TRUE(frozen && frozen->frame.has_frozen());
  ASSERT_EQ(::pwrite(granted.fds[0].get(), "RDMA", 4, 8192), 4);
  holder->hang_up();
  ASSERT_TRUE(manager->wait_for("FDSTOREREMOVE=1")) << manager->log();
  replace_daemon();
  resume();
  EXPECT_EQ(byte_at(8192), 'a');
  const std::uint64_t thawing = ask_thaw(frozen->frame.frozen().freeze());
  const auto thawed = client->next();
  ASSERT_TRUE(thawed && thawed->frame.reply_to() == thawing && thawed->frame.status().code() == 0);
  connect();  // what was owed is in the file before the range can be had again
  EXPECT_NO_THROW(client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize));
  EXPECT_EQ(byte_at(8192), 'R');
}

TEST_F(KeptTest, AFreezeHoldsOverTheRestart) {
  start_service();
  connect();
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  const std::uint64_t request = ask_freeze();
  client->comply(client->recall().frame.recall());
  const auto frozen = client->next();
  ASSERT_TRUE(frozen && frozen->frame.reply_to() == request && frozen->frame.has_frozen());
  replace_daemon();
  resume({request});  // as if the answer had been lost: it is given again
  const auto again = client->next();
  ASSERT_TRUE(again && again->frame.reply_to() == request && again->frame.has_frozen());
  EXPECT_EQ(again->frame.frozen().freeze(), frozen->frame.frozen().freeze());
  auto other = write_by_other();
  ASSERT_TRUE(other->blocked_in(SYS_pwrite64)) << manager->log();
  const std::uint64_t thawing = ask_thaw(frozen->frame.frozen().freeze());
  const Message recall = client->recall();
  EXPECT_EQ(recall.frame.recall().action(), v1::ACTION_THAW);
  EXPECT_EQ(byte_at(0), 'a');
  client->comply(recall.frame.recall());
  const auto thawed = client->next();
  ASSERT_TRUE(thawed && thawed->frame.reply_to() == thawing);
  EXPECT_EQ(thawed->frame.status().code(), 0);
  EXPECT_EQ(other->wait(), 0);
}

// It complies with what the daemon before had asked for, and its device writes there: that is nowhere else.
TEST_F(KeptTest, WhoSaysToTheSuccessorThatItUsesAStoreLosesNothing) {
  start_service();
  connect();
  client->lease(fd.get(), v1::BACKING_DIRECT, 0, kSize);
  const std::uint64_t request = ask_freeze();
  const Message freeze = client->recall();
  ASSERT_EQ(freeze.frame.recall().action(), v1::ACTION_FREEZE);
  replace_daemon();
  resume({request});
  client->comply(freeze.frame.recall());
  ASSERT_EQ(::pwrite(freeze.fds[0].get(), "R", 1, 8192), 1);
  const Message thaw = client->recall();
  EXPECT_EQ(thaw.frame.recall().action(), v1::ACTION_THAW);
  client->comply(thaw.frame.recall(), EIO);
  wire::Frame sync;
  sync.mutable_sync_file();
  EXPECT_EQ(status(client->call(std::move(sync), {fd.get()})).code(), 0);  // behind the fence
  EXPECT_EQ(byte_at(8192), 'R') << manager->log();
}

// It has brought its store back, and its device writes to the file since: what the store had is old.
TEST_F(KeptTest, WhoSaysToTheSuccessorThatAStoreIsBackIsBelieved) {
  start_service();
  connect();
  const std::uint64_t lease = client->lease(fd.get(), v1::BACKING_DIRECT, 0, kSize).frame.granted().lease();
  ask_freeze();
  const Message freeze = client->recall();
  client->comply(freeze.frame.recall());
  const auto frozen = client->next();
  ASSERT_TRUE(frozen && frozen->frame.has_frozen());
  ASSERT_EQ(::pwrite(freeze.fds[0].get(), "R", 1, 8192), 1);
  char* const device = static_cast<char*>(::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd.get(), 0));
  ASSERT_NE(device, MAP_FAILED);
  ask_thaw(frozen->frame.frozen().freeze());
  const Message thaw = client->recall();
  wire::Frame merge;
  merge.mutable_merge()->set_lease(lease);
  merge.mutable_merge()->set_store(thaw.frame.recall().store());
  merge.mutable_merge()->add_ranges()->set_offset(8192);
  merge.mutable_merge()->mutable_ranges(0)->set_length(4096);
  ASSERT_EQ(status(client->call(std::move(merge))).code(), 0);
  ASSERT_EQ(byte_at(8192), 'R');
  manager->kill(SIGKILL);
  client->comply(thaw.frame.recall());
  device[8192] = 'N';
  manager->start();
  client->hang_up();
  connect();
  wire::Frame sync;
  sync.mutable_sync_file();
  EXPECT_EQ(status(client->call(std::move(sync), {fd.get()})).code(), 0);  // behind the end of the lease
  EXPECT_EQ(device[8192], 'N') << manager->log();
  ::munmap(device, kSize);
}

TEST_F(KeptTest, NorDoesWhoDiesBeforeThereIsASuccessor) {
  start_service();
  connect();
  client->lease(fd.get(), v1::BACKING_DIRECT, 0, kSize);
  ask_freeze();
  const Message freeze = client->recall();
  manager->kill(SIGKILL);
  client->comply(freeze.frame.recall());
  ASSERT_EQ(::pwrite(freeze.fds[0].get(), "R", 1, 8192), 1);
  client->hang_up();
  manager->start();
  connect();
  wire::Frame sync;
  sync.mutable_sync_file();
  EXPECT_EQ(status(client->call(std::move(sync), {fd.get()})).code(), 0);  // behind the end of the lease
  EXPECT_EQ(byte_at(8192), 'R') << manager->log();
}

TEST_F(KeptTest, AThousandLeasesAreTakenOver) {
  constexpr int kLeases = 1000;
  rlimit many{};  // the manager here is this process
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &many), 0);
  many.rlim_cur = many.rlim_max;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &many), 0);
  start_service();
  connect();
  for (int i = 0; i < kLeases; i++) client->lease(fd.get(), v1::BACKING_BOUNCE, 0, 4096, true, true);
  replace_daemon();
  resume();
  const std::string told = "took over 1 sessions, " + std::to_string(kLeases) + " leases";
  EXPECT_TRUE(manager->says(told));
  EXPECT_EQ(truncate_to(100)->wait(), 0) << "all of them were trimmed";
}

TEST_F(KeptTest, ADirectLeaseThatWasQuietIsRegisteredAgain) {
  start_service();
  connect();
  client->lease(fd.get(), v1::BACKING_DIRECT, 0, kSize);
  auto other = truncate_to(8192);
  const Message quiesce = client->recall();
  ASSERT_EQ(quiesce.frame.recall().action(), v1::ACTION_QUIESCE);
  replace_daemon();
  resume();
  const Message again = client->recall();
  EXPECT_EQ(again.frame.recall().action(), v1::ACTION_REREGISTER);
  EXPECT_EQ(size(), kSize);
  client->comply(again.frame.recall());
  const Message quiet = client->recall();
  EXPECT_EQ(quiet.frame.recall().action(), v1::ACTION_QUIESCE);
  client->comply(quiet.frame.recall());
  EXPECT_EQ(other->wait(), 0) << manager->log();
}

TEST_F(KeptTest, ARequestThatThePredecessorTookIsAskedAgain) {
  start_service();
  connect();
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, 4096);
  replace_daemon();
  resume({77});
  const auto m = client->next();
  ASSERT_TRUE(m && m->frame.reply_to() == 77u);
  EXPECT_EQ(m->frame.status().code(), ERESTART);
  EXPECT_NO_THROW(client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 8192, 4096));
}

// A daemon that is killed before it has read what is said to it leaves that to the next one, and may have answered what is named there.
TEST_F(KeptTest, WhatWasSaidToAPredecessorIsNotTakenForOnesOwn) {
  start_service();
  connect();
  const auto resumed = [this](std::uint64_t start, std::uint64_t waiting) {
    wire::Frame f;
    f.mutable_resumed()->set_start(start);
    if (waiting != 0) f.mutable_resumed()->add_waiting(waiting);
    client->send(std::move(f));
  };
  const std::uint64_t granted = client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize).frame.reply_to();
  replace_daemon();
  const auto first = client->next();
  ASSERT_TRUE(first && first->frame.has_resume());
  replace_daemon();
  resumed(first->frame.resume().start(), granted);
  const auto second = client->next();
  ASSERT_TRUE(second && second->frame.has_resume());
  EXPECT_GT(second->frame.resume().start(), first->frame.resume().start());
  resumed(second->frame.resume().start(), 0);
  auto other = truncate_to(4096);
  const Message trim = client->recall();
  EXPECT_EQ(trim.frame.recall().action(), v1::ACTION_TRIM) << manager->log();
  client->comply(trim.frame.recall());
  EXPECT_EQ(other->wait(), 0) << manager->log();
}

TEST_F(KeptTest, ClientsOfTheVersionsBeforeGoOnToo) {
  start_service();
  std::uint64_t end = kSize;
  for (const std::uint32_t version : {1u, 2u}) {
    SCOPED_TRACE(version);
    client = std::make_unique<WireClient>(manager->socket(), false);
    wire::Frame hello;
    hello.mutable_hello()->set_version_min(1);
    hello.mutable_hello()->set_version_max(version);
    ASSERT_EQ(client->call(std::move(hello)).frame.welcome().version(), version);
    const std::uint64_t lease = client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, end).frame.granted().lease();
    replace_daemon();
    if (version >= 2) resume();
    end -= 4096;
    auto other = truncate_to(static_cast<off_t>(end));
    const auto first = client->next();
    ASSERT_TRUE(first && first->frame.has_recall()) << "not a frame that it does not know";
    client->comply(first->frame.recall());
    EXPECT_EQ(other->wait(), 0);
    const Message settle = client->recall();
    EXPECT_EQ(settle.frame.recall().action(), v1::ACTION_SETTLE);
    client->comply(settle.frame.recall());
    EXPECT_EQ(status(release(lease)).code(), 0);
  }
}

TEST_F(KeptTest, AStopAndAStartKeepAllToo) {
  const auto obedient = obey(v1::BACKING_BOUNCE);
  manager->kill(SIGTERM);
  auto other = truncate_to(4096);
  ASSERT_TRUE(other->blocked_in(SYS_truncate)) << "held although nobody is there";
  manager->start();
  EXPECT_EQ(other->wait(), 0) << manager->log();
  EXPECT_EQ(obedient->release(), 0);
}

// A stop writes what is owed, but not into a file that somebody copies: the freeze goes over to whoever comes next.
TEST_F(KeptTest, AStopChangesNoFrozenFile) {
  start_service();
  connect();
  const Message granted = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  ask_freeze();
  const auto frozen = client->next();
  ASSERT_TRUE(frozen && frozen->frame.has_frozen());
  ASSERT_EQ(::pwrite(granted.fds[0].get(), "RDMA", 4, 8192), 4);
  const auto written = [&] {  // a read would be held: nobody answers while the daemon is away
    struct stat now {};
    EXPECT_EQ(::fstat(fd.get(), &now), 0);
    return std::pair(now.st_mtim.tv_sec, now.st_mtim.tv_nsec);
  };
  const auto before = written();
  manager->kill(SIGTERM);
  EXPECT_EQ(written(), before);
  manager->start();
  resume();
  EXPECT_EQ(byte_at(8192), 'a');
  ask_thaw(frozen->frame.frozen().freeze());
  const auto thawed = client->next();
  ASSERT_TRUE(thawed && thawed->frame.status().code() == 0);
  EXPECT_EQ(status(release(granted.frame.granted().lease())).code(), 0);
  EXPECT_EQ(byte_at(8192), 'R');
}

TEST_F(KeptTest, AFullStopLetsEverybodyGo) {
  const auto obedient = obey(v1::BACKING_ODP_TRANSPARENT);
  manager->kill(SIGTERM);
  auto other = truncate_to(4096);
  ASSERT_TRUE(other->blocked_in(SYS_truncate));
  manager->release();
  EXPECT_EQ(other->wait(), 0) << "the manager has closed what it kept";
}

// Whoever is held must not wait for a state that nobody can take over, nor may a device reach what is not protected.
TEST_F(KeptTest, AStateThatCannotBeUnderstoodEndsTheClientsAndHoldsNobody) {
  const auto obedient = obey(v1::BACKING_ODP_TRANSPARENT);
  manager->signal(SIGSTOP);
  auto other = truncate_to(4096);
  ASSERT_TRUE(other->blocked_in(SYS_truncate));
  manager->kill(SIGKILL);
  const std::uint64_t nonsense = 1;
  ASSERT_EQ(::pwrite(manager->kept("state"), &nonsense, sizeof nonsense, 0), static_cast<ssize_t>(sizeof nonsense));
  manager->start();
  EXPECT_EQ(other->wait(), 0) << manager->log();
  EXPECT_EQ(obedient->wait(), 128 + SIGKILL) << manager->log();
  connect();
  EXPECT_NO_THROW(client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, 4096));
  replace_daemon();
  resume();
}

// Nobody can see whether the kernel was told: the leases were out of the way, so it is told again, and asks nobody once more.
TEST_F(KeptTest, WhatWasBeingLetGoGoes) {
  start_service();
  connect();
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  auto other = truncate_to(4096);
  ASSERT_EQ(client->recall().frame.recall().action(), v1::ACTION_TRIM);
  manager->kill(SIGKILL);
  pretend_it_was_allowing();
  manager->start();
  EXPECT_EQ(other->wait(), 0) << manager->log();
  EXPECT_EQ(size(), 4096u);
  resume();
  const auto settle = client->recall().frame.recall();
  EXPECT_EQ(settle.action(), v1::ACTION_SETTLE);
  EXPECT_EQ(settle.size(), 4096u);
}

// Allowed by the predecessor, and longer than its bound: what it does to the file nobody knows, so no device may come under it.
TEST_F(KeptTest, WhileAnOperationOfThePredecessorRunsNobodyGetsALease) {
  options = {"--passing-bound-ms", "100"};
  start_service();
  connect();
  const auto granted = client->lease(fd.get(), v1::BACKING_BOUNCE, 0, kSize);
  ASSERT_EQ(::pwrite(granted.fds[0].get(), "RDMA", 4, 8192), 4);
  auto inside = foreign([](const char*) { return ::pause(); });
  ASSERT_TRUE(inside->blocked_in(SYS_pause));
  manager->kill(SIGKILL);
  pretend_it_was_inside(inside->pid());
  manager->start();
  resume();
  const auto revoked = client->recall().frame.recall();
  EXPECT_EQ(revoked.action(), v1::ACTION_RELEASE) << manager->log();
  client->comply(revoked);
  const std::uint64_t asked = client->send(to_register(v1::BACKING_ODP_TRANSPARENT, 0, 16384), {fd.get()});  // perhaps read after the truncate
  EXPECT_EQ(truncate_to(16384)->wait(), 0) << manager->log();  // others need not wait for it
  EXPECT_FALSE(client->next(milliseconds(300))) << "a lease under an operation that runs";
  replace_daemon();  // nor from the next one
  resume({asked});
  EXPECT_EQ(client->next()->frame.status().code(), ERESTART);
  client->send(to_register(v1::BACKING_ODP_TRANSPARENT, 0, 16384), {fd.get()});
  EXPECT_FALSE(client->next(milliseconds(300))) << "a lease under an operation that runs";
  inside->kill(SIGKILL);
  EXPECT_EQ(inside->wait(), 128 + SIGKILL);
  const auto m = client->next();
  ASSERT_TRUE(m && m->frame.has_granted()) << manager->log();
  EXPECT_EQ(byte_at(8192), 'R') << "what was owed when it was revoked";
}

TEST_F(KeptTest, WithoutASocketUnitTheListenerIsKept) {
  make_file();
  manager->activate = false;
  ::unlink(manager->socket().c_str());
  manager->start();
  connect();
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  manager->kill(SIGKILL);
  Child early([&] {
    WireClient waits(manager->socket());
    return waits.welcome().version() == 0 ? 1 : 0;
  });
  ASSERT_TRUE(early.blocked_in(SYS_poll));
  manager->start();
  EXPECT_EQ(early.wait(), 0) << manager->log();
}

}  // namespace mrlease::test
