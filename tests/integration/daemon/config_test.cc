// SPDX-License-Identifier: Apache-2.0
// mrleased.toml: judged as a whole, and read again while the daemon runs.
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/inotify.h>

#include <fstream>

#include "tests/integration/daemon/fixture.h"

namespace mrlease::test {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

// A log file that somebody else writes.
class Log {
 public:
  explicit Log(std::string path) : path_(std::move(path)), watch_(::inotify_init1(IN_CLOEXEC)) {
    wire::Fd(::open(path_.c_str(), O_CREAT | O_WRONLY, 0644));
    ::inotify_add_watch(watch_.get(), path_.c_str(), IN_MODIFY);
  }
  // All of it, when it tells `word` `times` times; else, after a while, nothing.
  std::string until(const std::string& word, int times = 1) {
    for (;;) {
      std::ifstream in(path_);
      const std::string text((std::istreambuf_iterator<char>(in)), {});
      int found = 0;
      for (std::size_t at = 0; (at = text.find(word, at)) != std::string::npos; ++at) ++found;
      if (found >= times) return text;
      pollfd p{watch_.get(), POLLIN, 0};
      char events[4096];
      if (::poll(&p, 1, 10000) <= 0 || ::read(watch_.get(), events, sizeof events) < 0) return {};
    }
  }

 private:
  std::string path_;
  wire::Fd watch_;
};

class ConfigTest : public DaemonTest {
 protected:
  void SetUp() override {
    DaemonTest::SetUp();
    if (directory) file = directory->path("mrleased.toml");
  }
  void write(const std::string& text) { std::ofstream(file) << text; }
  // mrleased with these options and no others; what it says goes to the file `log`.
  static std::unique_ptr<Child> spawn(std::vector<std::string> words, const std::string& log) {
    words.insert(words.begin(), MRLEASED_BINARY);
    return std::make_unique<Child>([words, log]() mutable {
      const int said = ::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
      ::dup2(said, 1);
      ::dup2(said, 2);
      std::vector<char*> argv;
      for (auto& w : words) argv.push_back(w.data());
      argv.push_back(nullptr);
      ::execv(argv[0], argv.data());
      return 127;
    }, false);
  }
  // To its end; its exit status.
  int run(std::vector<std::string> words) {
    out = directory->path("out");
    const int status = spawn(std::move(words), out)->wait();
    std::ifstream in(out);
    out.assign(std::istreambuf_iterator<char>(in), {});
    return status;
  }
  // SIGHUP, then the log until it has told of `times` reloads.
  std::string reload(int times = 1) {
    Log log(directory->path("mrleased.log"));
    ::kill(daemon->pid(), SIGHUP);
    return log.until("reloaded: ", times);
  }
  std::uint32_t told_recall_deadline() { return WireClient(daemon->socket()).welcome().recall_deadline_ms(); }

  std::string file, out;
};

TEST_F(ConfigTest, CheckConfigTellsEveryMistake) {
  write("recal-deadline-ms = 5\nfence-deadline-ms = 5000\n\n  leases-max = \"many\"\n");
  EXPECT_EQ(run({"--check-config", "--config", file}), 2);
  EXPECT_THAT(out, HasSubstr(file + ":1:1: recal-deadline-ms: there is no such key; is recall-deadline-ms meant?"));
  EXPECT_THAT(out, HasSubstr(file + ":2:1: fence-deadline-ms (5000 ms) must be shorter than recall-deadline-ms (2000 ms)"));
  EXPECT_THAT(out, HasSubstr(file + ":4:16: leases-max: a string is not allowed: a whole number, 1 to 1000000"));
  write("recall-deadline-ms = 1000\n");
  EXPECT_EQ(run({"--check-config", "--config", file}), 0);
  EXPECT_EQ(out, file + ": fine\n");
  EXPECT_EQ(run({"--check-config", "--config", file, "--fence-deadline-ms", "1000"}), 2);
  EXPECT_THAT(out, HasSubstr("fence-deadline-ms (1000 ms) must be shorter"));
}

TEST_F(ConfigTest, TheExampleIsAFineFile) {
  ASSERT_EQ(run({"--example-config"}), 0);
  write(out);
  EXPECT_EQ(run({"--check-config", "--config", file}), 0) << out;
}

TEST_F(ConfigTest, AReloadTakesOverDeadlines) {
  write("recall-deadline-ms = 1500\nlog-level = 'debug'\n");
  start({"--config", file});
  EXPECT_EQ(told_recall_deadline(), 1500u);
  write("recall-deadline-ms = 1700\nuserfaultfd = 'never'\n");
  const std::string log = reload();
  EXPECT_THAT(log, HasSubstr("configuration reloaded: changed: userfaultfd, recall-deadline-ms"));
  EXPECT_THAT(log, ::testing::Not(HasSubstr("log-level")));  // the command line of the fixture wins
  EXPECT_EQ(told_recall_deadline(), 1700u);
}

TEST_F(ConfigTest, AReloadedDeadlineIsTheOneThatFences) {
  write("recall-deadline-ms = 20000\n");
  start({"--config", file});
  client->lease(fd.get(), v1::BACKING_DIRECT, 0, kSize);
  write("recall-deadline-ms = 300\nfence-deadline-ms = 100\n");
  reload();
  const auto begun = std::chrono::steady_clock::now();
  auto other = truncate_by_other(0);
  const auto left = client->recall().frame.recall().deadline_ms();  // of the 300 ms when it was sent
  EXPECT_GT(left, 0u);
  EXPECT_LE(left, 300u);
  EXPECT_EQ(other->wait(), 0);  // nobody answers the recall
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(10));
}

// As nobody, in a process of its own: what the daemon says to a lease of `name`, 0 for yes.
std::unique_ptr<Child> lease_by_other(const std::string& socket, const std::string& name, bool write) {
  return std::make_unique<Child>([=] {
    WireClient client(socket);
    const wire::Fd file(::open(name.c_str(), O_RDWR | O_CLOEXEC));
    wire::Frame f;
    f.mutable_register_()->set_backing(v1::BACKING_ODP_TRANSPARENT);
    f.mutable_register_()->mutable_range()->set_length(4096);
    f.mutable_register_()->set_write(write);
    f.mutable_register_()->set_share(true);  // the one before may not have ended yet
    return client.call(std::move(f), {file.get()}).frame.status().code();
  });
}

TEST_F(ConfigTest, ARuleSaysWhoMayLeaseWhat) {
  const std::string db = directory->file("table.db", kSize);
  write("[[rule]]\npath = '*.db'\nuser = ['nobody']\nleases = 'read'\n");
  start({"--config", file});
  const auto by_nobody = [&](const std::string& name, bool for_writing) { return lease_by_other(daemon->socket(), name, for_writing)->wait(); };
  EXPECT_EQ(by_nobody(db, true), EACCES);
  EXPECT_EQ(by_nobody(db, false), 0);
  EXPECT_EQ(by_nobody(path, true), 0);
  const wire::Fd mine(::open(db.c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_NO_THROW(client->lease(mine.get(), v1::BACKING_ODP_TRANSPARENT, 0, 4096, true, true)) << "another user";
  // A second name is a name; and what was moved is where it is now.
  const std::string moved = directory->path("moved");
  ASSERT_EQ(::rename(path.c_str(), (moved + ".db").c_str()), 0);
  EXPECT_EQ(by_nobody(moved + ".db", true), EACCES);
  write("[[rule]]\npath = '*.db'\nuser = ['nobody']\nleases = 'none'\n");
  reload();
  EXPECT_EQ(by_nobody(db, false), EACCES);
  write("");
  reload(2);
  EXPECT_EQ(by_nobody(db, true), 0);
}

TEST_F(ConfigTest, ARuleSaysWhichBacking) {
  write("[[rule]]\npath = '*.db'\nbacking = 'bounce'\n");
  start({"--config", file});
  const wire::Fd db(::open(directory->file("table.db", kSize).c_str(), O_RDWR | O_CLOEXEC));
  const v1::Status refused = status(client->call(to_register(v1::BACKING_ODP_TRANSPARENT, 0, 4096), {db.get()}));
  EXPECT_EQ(refused.code(), EOPNOTSUPP);
  EXPECT_NE(refused.message().find("(line 1 of the daemon's configuration) allows no lease of another backing than bounce of "), std::string::npos) << refused.message();
  EXPECT_NO_THROW(client->lease(db.get(), v1::BACKING_BOUNCE, 0, 4096));
  EXPECT_NO_THROW(client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, 4096)) << "another file";
}

TEST_F(ConfigTest, ARuleSaysWhatClientsKeepTo) {
  write("[[rule]]\npath = '*.db'\norphans = 'discard'\npeer-budget-ms = 50\n[[rule]]\norphan-bytes-max = 8192\norphan-keep-ms = 1000\n");
  start({"--config", file});
  const wire::Fd db(::open(directory->file("table.db", kSize).c_str(), O_RDWR | O_CLOEXEC));
  const auto granted = [&](const wire::Fd& of) { return client->lease(of.get(), v1::BACKING_ODP_TRANSPARENT, 0, 4096).frame.granted(); };
  const v1::Granted first = granted(db), second = granted(fd);
  EXPECT_TRUE(first.discard_orphans());
  EXPECT_EQ(first.peer_budget_ms_max(), 50u);
  EXPECT_EQ(first.orphan_bytes_max(), 0u);
  EXPECT_FALSE(second.discard_orphans());
  EXPECT_EQ(second.orphan_bytes_max(), 8192u);
  EXPECT_EQ(second.orphan_keep_ms_max(), 1000u);
  write("");
  reload();
  const wire::Fd third(::open(directory->file("third.db", kSize).c_str(), O_RDWR | O_CLOEXEC));
  EXPECT_FALSE(granted(third).discard_orphans());
}

TEST_F(ConfigTest, ARuleSaysWhoGetsAUserfaultfd) {
  write("userfaultfd = 'never'\n[[rule]]\nuser = ['nobody']\nuserfaultfd = 'always'\n");
  start({"--config", file});
  EXPECT_THAT(client->welcome().userfaultfd_reason(), HasSubstr("to nobody")) << "root's";
  const auto given = [&] { return std::make_unique<Child>([socket = daemon->socket()] { return WireClient(socket).welcome().userfaultfd() ? 1 : 2; })->wait(); };
  EXPECT_EQ(given(), ::access("/dev/userfaultfd", F_OK) == 0 ? 1 : 2);
  write("userfaultfd = 'always'\n[[rule]]\nuser = ['nobody']\nuserfaultfd = 'never'\n");
  reload();
  EXPECT_EQ(given(), 2);
  EXPECT_EQ(WireClient(daemon->socket()).welcome().userfaultfd(), ::access("/dev/userfaultfd", F_OK) == 0);
  write("[[rule]]\npath = '/x'\nuserfaultfd = 'never'\n");
  EXPECT_THAT(reload(2), HasSubstr(":3:1: userfaultfd: a client gets it before any file is known"));
}

TEST_F(ConfigTest, ARuleHasDeadlinesOfItsOwn) {
  write("recall-deadline-ms = 20000\n[[rule]]\npath = '*/data'\nrecall-deadline-ms = 1500\nfence-deadline-ms = 1400\n");
  start({"--config", file});
  EXPECT_EQ(told_recall_deadline(), 20000u) << "what the application must be ready for";
  client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  auto other = truncate_by_other(0);
  EXPECT_LE(client->recall().frame.recall().deadline_ms(), 1500u);
  EXPECT_EQ(other->wait(), 0) << "nobody answers the recall";
  // A reload is for the leases of now, too.
  auto second = directory->file("second", kSize);
  const wire::Fd its(::open(second.c_str(), O_RDWR | O_CLOEXEC));
  client->lease(its.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize);
  write("recall-deadline-ms = 20000\n[[rule]]\npath = '*/second'\nrecall-deadline-ms = 1600\nfence-deadline-ms = 1400\n");
  reload();
  Child truncates([&] { return ::truncate(second.c_str(), 0) == 0 ? 0 : errno; });
  EXPECT_LE(client->recall().frame.recall().deadline_ms(), 1600u);
  EXPECT_EQ(truncates.wait(), 0);
}

TEST_F(ConfigTest, AFileWithAMistakeChangesNothingAndSaysWhy) {
  write("recall-deadline-ms = 1500\n");
  start({"--config", file});
  write("recall-deadline-ms = 1700\nfence-deadline-ms = 1800\n");
  std::string log = reload();
  EXPECT_THAT(log, HasSubstr(file + ":2:1: fence-deadline-ms (1800 ms) must be shorter than recall-deadline-ms (1700 ms)"));
  EXPECT_THAT(log, HasSubstr("not reloaded: nothing has changed"));
  EXPECT_EQ(told_recall_deadline(), 1500u);
  ::unlink(file.c_str());
  log = reload(2);
  EXPECT_THAT(log, HasSubstr("cannot read " + file));
  EXPECT_EQ(told_recall_deadline(), 1500u);
}

// The fixture's daemon has its socket and root from the command line, which a file cannot change.
TEST_F(ConfigTest, ARestartIsAskedForByName) {
  const std::string socket = directory->path("from-file.sock"), log = directory->path("from-file.log");
  const std::string begin = "socket = '" + socket + "'\nlog-level = 'debug'\n";
  write(begin + "root = ['" + directory->path() + "']\n");
  auto program = spawn({"--config", file}, log);
  Log lines(log);
  ASSERT_NE(lines.until("serving " + socket), "");
  write("socket = '/elsewhere.sock'\nlog-level = 'info'\n");
  program->kill(SIGHUP);
  const std::string said = lines.until("reloaded: ");
  EXPECT_THAT(said, HasSubstr("needs a restart: socket, root\n"));
  EXPECT_THAT(said, HasSubstr("reloaded: changed: log-level"));
  EXPECT_NO_THROW(WireClient{socket});
  program->kill(SIGTERM);
  EXPECT_EQ(program->wait(), 0);
}

}  // namespace mrlease::test
