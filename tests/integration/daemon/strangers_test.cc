// SPDX-License-Identifier: Apache-2.0
// What a session asks about what is another's, by its number, is answered as if there were none of that number, and changes nothing.
#include <algorithm>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include "tests/integration/daemon/fixture.h"
#include "tests/integration/daemon/stand_in_device.h"

namespace mrlease::test {

namespace {

// All that a frame may name and that is somebody's.
struct Numbers {
  std::uint64_t lease, recall, store, freeze;
};
Numbers all_of(std::uint64_t n) { return {n, n, n, n}; }

struct Question {
  const char* message;
  bool answered;
  void (*ask)(const Numbers& of, wire::Frame* frame);
};

constexpr std::uint32_t kDevice = 1, kHandle = 7;  // the holder's; the stranger has a device of this number too

const Question kQuestions[] = {
    {"AddMr", true,
     [](const Numbers& of, wire::Frame* f) {
       f->mutable_add_mr()->set_lease(of.lease);
       f->mutable_add_mr()->set_device(kDevice);
       f->mutable_add_mr()->set_handle(kHandle);
     }},
    {"RemoveMr", true,
     [](const Numbers& of, wire::Frame* f) {
       f->mutable_remove_mr()->set_lease(of.lease);
       f->mutable_remove_mr()->set_device(kDevice);
       f->mutable_remove_mr()->set_handle(kHandle);
     }},
    {"Release", true, [](const Numbers& of, wire::Frame* f) { f->mutable_release()->set_lease(of.lease); }},
    {"Extend", true, [](const Numbers& of, wire::Frame* f) { f->mutable_extend()->set_lease(of.lease); }},
    {"Merge", true,
     [](const Numbers& of, wire::Frame* f) {
       f->mutable_merge()->set_lease(of.lease);
       f->mutable_merge()->set_store(of.store);
       f->mutable_merge()->add_ranges()->set_length(4096);
     }},
    {"ThawFile", true, [](const Numbers& of, wire::Frame* f) { f->mutable_thaw_file()->set_freeze(of.freeze); }},
    {"RecallDone", false, [](const Numbers& of, wire::Frame* f) { f->mutable_recall_done()->set_recall(of.recall); }},
    {"RecallDone", false,
     [](const Numbers& of, wire::Frame* f) {
       f->mutable_recall_done()->set_recall(of.recall);
       f->mutable_recall_done()->set_code(EIO);
     }},
};

std::string said(const Message& m, const Numbers& of) {
  std::string text = m.frame.status().message();
  for (const std::uint64_t n : {of.lease, of.recall, of.store, of.freeze})
    text = std::regex_replace(text, std::regex("\\b" + std::to_string(n) + "\\b"), "N");
  return std::to_string(m.frame.body_case()) + " " + std::to_string(m.frame.status().code()) + " " + text;
}

}  // namespace

class StrangersTest : public DaemonTest {
 protected:
  // A lease with a memory region, and a freeze of it that is about to begin.
  void hold() {
    start({"--recall-deadline-ms", "40000"}, see_stand_in_device);  // longer than any call here waits
    ended = client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize).frame.granted().lease();
    ASSERT_EQ(status(release(ended)).code(), 0);
    held.lease = client->lease(fd.get(), v1::BACKING_ODP_TRANSPARENT, 0, kSize).frame.granted().lease();
    ASSERT_EQ(add_stand_in_device(*client), kDevice);
    ASSERT_EQ(add_mr(*client, held.lease, kDevice, kHandle).code(), 0);
    tool = std::make_unique<WireClient>(daemon->socket());
    wire::Frame freeze;
    freeze.mutable_freeze_file()->set_hold_ms(60000);
    tool->send(std::move(freeze), {fd.get()});
    recalled = client->recall();
    held.recall = recalled.frame.recall().recall();
    held.store = recalled.frame.recall().store();
    held.freeze = ~0ull;  // until it holds
    stranger = std::make_unique<WireClient>(daemon->socket());
    ASSERT_EQ(add_stand_in_device(*stranger), kDevice);
  }
  // A test that has failed leaves the memory region behind, for which this process would be killed.
  void TearDown() override {
    if (daemon) daemon->stop(SIGKILL);
  }
  // Every question of another's, of nobody's, and of what has ended.
  void ask_all() {
    for (const Question& q : kQuestions) {
      const Numbers nobodys = all_of(987654321), over = all_of(ended);
      std::vector<std::string> answers;
      for (const Numbers& of : {held, nobodys, over}) {
        wire::Frame f;
        q.ask(of, &f);
        if (q.answered)
          answers.push_back(said(stranger->call(std::move(f)), of));
        else
          stranger->send(std::move(f));
      }
      for (const std::string& answer : answers) {
        EXPECT_EQ(answer, answers.back()) << q.message;
        EXPECT_EQ(answer.find(" 0 "), std::string::npos) << q.message << ": " << answer;
      }
    }
    // Behind those that are not answered, on both sides.
    wire::Frame last;
    last.mutable_thaw_file();
    stranger->call(last);
    client->call(last);
    EXPECT_FALSE(stranger->next(std::chrono::milliseconds(0))) << "it was told something";
    EXPECT_FALSE(client->next(std::chrono::milliseconds(0))) << "the holder was asked for something";
    EXPECT_FALSE(tool->next(std::chrono::milliseconds(0))) << "the freeze has moved";
  }

  Numbers held{};
  std::uint64_t ended = 0;
  Message recalled;
  std::unique_ptr<WireClient> tool, stranger;
};

TEST_F(StrangersTest, AnothersNumberIsAnsweredLikeNobodys) {
  hold();
  ask_all();  // a recall waits for its answer
  client->comply(recalled.frame.recall());
  const auto frozen = tool->next();
  ASSERT_TRUE(frozen && frozen->frame.has_frozen());
  held.freeze = frozen->frame.frozen().freeze();
  ASSERT_EQ(::pwrite(recalled.fds[0].get(), "STORE", 5, 0), 5);
  ask_all();  // a freeze holds
  EXPECT_EQ(byte_at(0), 'a') << "a stranger has merged";

  // All of it is still there: freeze, store, memory region, lease.
  wire::Frame thaw, merge, extend;
  thaw.mutable_thaw_file()->set_freeze(held.freeze);
  tool->send(std::move(thaw));
  const Message back = client->recall();
  ASSERT_EQ(back.frame.recall().action(), v1::ACTION_THAW);
  held.recall = back.frame.recall().recall();
  ask_all();  // the store is about to end
  merge.mutable_merge()->set_lease(held.lease);
  merge.mutable_merge()->set_store(held.store);
  merge.mutable_merge()->add_ranges()->set_length(4096);
  EXPECT_EQ(status(client->call(std::move(merge))).code(), 0);
  EXPECT_EQ(byte_at(0), 'S');
  client->comply(back.frame.recall());
  const auto thawed = tool->next();
  ASSERT_TRUE(thawed && thawed->frame.has_status());
  EXPECT_EQ(status(*thawed).code(), 0);
  extend.mutable_extend()->set_lease(held.lease);
  EXPECT_TRUE(client->call(std::move(extend)).frame.has_extended());
  EXPECT_EQ(status(release(held.lease)).code(), EBUSY) << "its memory region is gone";
  EXPECT_EQ(remove_mr(*client, held.lease, kDevice, kHandle).code(), 0);
  EXPECT_EQ(status(release(held.lease)).code(), 0);
}

// A message that is added to the protocol and names such a number has to be asked above.
TEST(StrangersTable, HasEveryMessageThatNamesWhatIsSomebodys) {
  std::ifstream in(LEASE_PROTO);
  std::stringstream text;
  text << in.rdbuf();
  const std::string all = text.str();
  std::set<std::string> named, asked = {"Granted", "Recall", "Frozen", "Notice"};  // the daemon's own
  for (const Question& q : kQuestions) asked.insert(q.message);
  const std::regex message(R"(message (\w+) \{((?:[^{}]|\{[^{}]*\})*)\})"), number(R"(uint64 (lease|recall|store|freeze) =)");
  for (auto m = std::sregex_iterator(all.begin(), all.end(), message); m != std::sregex_iterator(); ++m)
    if (std::regex_search((*m)[2].str(), number)) named.insert((*m)[1]);
  EXPECT_EQ(named, asked);
}

}  // namespace mrlease::test
