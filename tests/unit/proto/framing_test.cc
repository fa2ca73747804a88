// SPDX-License-Identifier: Apache-2.0
// Frames: every body there and back, and everything that must be refused.
#include "proto/framing.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <random>

namespace mrlease::wire {
namespace {

struct Body {
  std::function<void(Frame*)> fill;
  std::size_t fds;
};

// One of each, with every field set to something that is not its default.
std::map<Frame::BodyCase, Body> bodies() {
  return {
      {Frame::kHello, {[](Frame* f) {
         auto* m = f->mutable_hello();
         m->set_version_min(1), m->set_version_max(7), m->set_program("reader");
       }, 0}},
      {Frame::kWelcome, {[](Frame* f) {
         auto* m = f->mutable_welcome();
         m->set_version(1), m->set_userfaultfd(true), m->set_recall_deadline_ms(2000), m->set_callback_deadline_ms(1500);
         m->set_leases_max(64), m->set_userfaultfd_reason("group");
       }, 1}},
      {Frame::kStatus, {[](Frame* f) { f->mutable_status()->set_code(28), f->mutable_status()->set_message("full"); }, 0}},
      {Frame::kAddDevice, {[](Frame* f) {
         f->mutable_add_device()->set_name("rxe0"), f->mutable_add_device()->set_driver_id(14);
       }, 1}},
      {Frame::kDeviceAdded, {[](Frame* f) { f->mutable_device_added()->set_device(3); }, 0}},
      {Frame::kAddUserfaultfd, {[](Frame* f) { f->mutable_add_userfaultfd(); }, 1}},
      {Frame::kRegister, {[](Frame* f) {
         auto* m = f->mutable_register_();
         m->mutable_range()->set_offset(4096), m->mutable_range()->set_length(1 << 20), m->set_write(true);
         m->set_backing(v1::BACKING_BOUNCE), m->set_share(true), m->set_preserve_orphans(true), m->set_peer_budget_ms(200);
       }, 1}},
      {Frame::kGranted, {[](Frame* f) {
         auto* m = f->mutable_granted();
         m->set_lease(9), m->set_backing(v1::BACKING_BOUNCE), m->set_guard(v1::GUARD_PRECONTENT);
         m->set_coverage("all"), m->set_file_size(~0ull);
       }, 1}},
      {Frame::kAddMr, {[](Frame* f) {
         auto* m = f->mutable_add_mr();
         m->set_lease(9), m->set_device(3), m->set_handle(5), m->set_lkey(6), m->set_rkey(7), m->set_address(~0ull);
         m->set_length(4096);
       }, 0}},
      {Frame::kRemoveMr, {[](Frame* f) {
         auto* m = f->mutable_remove_mr();
         m->set_lease(9), m->set_device(3), m->set_handle(5);
       }, 0}},
      {Frame::kRelease, {[](Frame* f) { f->mutable_release()->set_lease(9); }, 0}},
      {Frame::kExtend, {[](Frame* f) { f->mutable_extend()->set_lease(9); }, 0}},
      {Frame::kExtended, {[](Frame* f) { f->mutable_extended()->set_file_size(4097); }, 0}},
      {Frame::kNameMapped, {[](Frame* f) { f->mutable_name_mapped()->set_address(1ull << 46); }, 0}},
      {Frame::kNamed, {[](Frame* f) { f->mutable_named(); }, 1}},
      {Frame::kRecall, {[](Frame* f) {
         auto* m = f->mutable_recall();
         m->set_lease(9), m->set_recall(11), m->set_action(v1::ACTION_TRIM), m->set_reason(v1::REASON_TRUNCATE);
         m->set_offset(4096), m->set_length(8192), m->set_size(5000), m->set_deadline_ms(2000), m->set_store(12);
       }, 1}},
      {Frame::kRecallDone, {[](Frame* f) {
         auto* m = f->mutable_recall_done();
         m->set_recall(11), m->set_code(5), m->set_message("io");
       }, 0}},
      {Frame::kMerge, {[](Frame* f) {
         auto* m = f->mutable_merge();
         m->set_lease(9), m->set_store(12);
         auto* range = m->add_ranges();
         range->set_offset(4096), range->set_length(4096);
       }, 0}},
      {Frame::kNotice, {[](Frame* f) {
         auto* m = f->mutable_notice();
         m->set_lease(9), m->set_kind(v1::Notice::TRIMMED), m->set_size(5), m->set_message("cut");
       }, 0}},
      {Frame::kResume, {[](Frame* f) { f->mutable_resume(); }, 0}},
      {Frame::kResumed, {[](Frame* f) { f->mutable_resumed()->add_waiting(7); }, 0}},
      {Frame::kReclaimed, {[](Frame* f) { f->mutable_reclaimed(); }, 0}},
      {Frame::kSyncFile, {[](Frame* f) { f->mutable_sync_file()->mutable_range()->set_length(1); }, 1}},
      {Frame::kFreezeFile, {[](Frame* f) {
         f->mutable_freeze_file()->mutable_range()->set_length(1), f->mutable_freeze_file()->set_hold_ms(500);
       }, 1}},
      {Frame::kFrozen, {[](Frame* f) { f->mutable_frozen()->set_freeze(2), f->mutable_frozen()->set_unsettled_pages(1); }, 0}},
      {Frame::kThawFile, {[](Frame* f) { f->mutable_thaw_file()->set_freeze(2); }, 0}},
  };
}

Frame make(const Body& body) {
  Frame frame;
  frame.set_id(77);
  frame.set_reply_to(78);
  body.fill(&frame);
  return frame;
}

TEST(FramingTest, EveryBodyThereAndBack) {
  for (const auto& [kind, body] : bodies()) {
    const Frame frame = make(body);
    ASSERT_EQ(frame.body_case(), kind);
    const std::string packet = encode(frame);
    ASSERT_FALSE(packet.empty());
    Frame back;
    std::string error;
    EXPECT_TRUE(decode(packet, body.fds, &back, &error)) << kind << ": " << error;
    EXPECT_EQ(back.body_case(), kind);
    EXPECT_EQ(back.id(), 77u);
    EXPECT_EQ(back.reply_to(), 78u);
    EXPECT_EQ(back.SerializeAsString(), packet) << kind;
  }
}

// A body that is added to lease.proto must be added above: nothing between the first and the last is unknown here.
TEST(FramingTest, TheListAboveIsComplete) {
  const auto known = bodies();
  for (int number = 1; number < 100; number++) {
    std::string packet;  // id 1, and field `number` as an empty message
    google::protobuf::io::StringOutputStream stream(&packet);
    {
      google::protobuf::io::CodedOutputStream out(&stream);
      out.WriteTag(static_cast<std::uint32_t>(number) << 3 | 2);
      out.WriteVarint32(0);
    }
    Frame frame;
    if (number <= 2 || !frame.ParseFromString(packet)) continue;
    EXPECT_TRUE(frame.body_case() == Frame::BODY_NOT_SET || known.contains(frame.body_case())) << "field " << number;
  }
}

TEST(FramingTest, WrongNumbersOfDescriptorsAreRefused) {
  for (const auto& [kind, body] : bodies()) {
    const std::string packet = encode(make(body));
    for (std::size_t fds = 0; fds <= kFdsMax + 1; fds++) {
      Frame frame;
      std::string error;
      EXPECT_EQ(decode(packet, fds, &frame, &error), fds == body.fds) << kind << " with " << fds;
      EXPECT_EQ(error.empty(), fds == body.fds);
    }
  }
}

std::size_t fds_of(const Frame& frame) {
  const FdCount count = fds_expected(frame);
  EXPECT_EQ(count.min, count.max);
  return count.min;
}

TEST(FramingTest, DescriptorsDependOnTheContent) {
  Frame frame;
  frame.mutable_welcome()->set_userfaultfd(false);
  EXPECT_EQ(fds_of(frame), 0u);
  for (int backing = v1::Backing_MIN; backing <= v1::Backing_MAX; backing++) {
    frame.mutable_granted()->set_backing(static_cast<v1::Backing>(backing));
    EXPECT_EQ(fds_of(frame), backing == v1::BACKING_BOUNCE ? 1u : 0u) << backing;
  }
  for (int action = v1::Action_MIN; action <= v1::Action_MAX; action++) {
    frame.mutable_recall()->set_action(static_cast<v1::Action>(action));
    EXPECT_EQ(fds_of(frame), action == v1::ACTION_FREEZE || action == v1::ACTION_TRIM ? 1u : 0u) << action;
  }
  frame.mutable_merge()->set_orphans(true);
  EXPECT_EQ(fds_of(frame), 1u);
}

TEST(FramingTest, SizeLimit) {
  Frame frame;
  auto* message = frame.mutable_status()->mutable_message();
  while (frame.ByteSizeLong() < kFrameMax) message->push_back('x');
  while (frame.ByteSizeLong() > kFrameMax) message->pop_back();
  ASSERT_EQ(frame.ByteSizeLong(), kFrameMax);
  const std::string largest = encode(frame);
  EXPECT_EQ(largest.size(), kFrameMax);
  Frame back;
  std::string error;
  EXPECT_TRUE(decode(largest, 0, &back, &error)) << error;
  message->push_back('x');
  EXPECT_TRUE(encode(frame).empty());
  EXPECT_FALSE(decode(frame.SerializeAsString(), 0, &back, &error));
  EXPECT_NE(error.find("the limit is 65536"), std::string::npos) << error;
}

TEST(FramingTest, MergeRangesLimit) {
  Frame frame;
  std::string error;
  Frame back;
  for (std::size_t i = 0; i < kRangesMax; i++) frame.mutable_merge()->add_ranges()->set_offset(~0ull - i);
  EXPECT_FALSE(encode(frame).empty()) << "the most ranges that are allowed must fit into a frame";
  EXPECT_TRUE(decode(encode(frame), 0, &back, &error)) << error;
  // Also with both fields of each range as long as they can get.
  for (auto& range : *frame.mutable_merge()->mutable_ranges()) range.set_length(~0ull);
  EXPECT_FALSE(encode(frame).empty());
  Frame many;
  for (std::size_t i = 0; i <= kRangesMax; i++) many.mutable_merge()->add_ranges();
  EXPECT_FALSE(decode(many.SerializeAsString(), 0, &back, &error));
  EXPECT_NE(error.find("2048 ranges"), std::string::npos) << error;
}

TEST(FramingTest, GarbageIsRefused) {
  Frame frame;
  std::string error;
  EXPECT_FALSE(decode("", 0, &frame, &error));
  EXPECT_FALSE(decode("\xff\xff\xff\xff", 0, &frame, &error));
  EXPECT_FALSE(decode(std::string(100, '\0'), 0, &frame, &error));
  Frame only_id;
  only_id.set_id(5);
  EXPECT_FALSE(decode(encode(only_id), 0, &frame, &error));
  EXPECT_NE(error.find("without a body"), std::string::npos) << error;
  EXPECT_FALSE(decode(std::string("\xa2\x06\x00", 3), 0, &frame, &error)) << "field 100: a body of a later version";
}

// Cut and damaged frames: refused, or understood as some frame; never a crash (and under sanitizers nothing worse).
TEST(FramingTest, DamagedFrames) {
  std::mt19937 random(20240607);
  for (const auto& [kind, body] : bodies()) {
    const std::string packet = encode(make(body));
    for (std::size_t cut = 0; cut < packet.size(); cut++) {
      Frame frame;
      std::string error;
      const bool good = decode(std::string_view(packet).substr(0, cut), body.fds, &frame, &error);
      EXPECT_EQ(good, error.empty()) << kind;
    }
    for (int round = 0; round < 200; round++) {
      std::string damaged = packet;
      damaged[random() % damaged.size()] ^= static_cast<char>(1 << random() % 8);
      Frame frame;
      std::string error;
      const bool good = decode(damaged, body.fds, &frame, &error);
      EXPECT_EQ(good, error.empty()) << kind;
    }
  }
}

TEST(FramingTest, Negotiate) {
  EXPECT_EQ(negotiate(kVersionMin, kVersionMax), kVersionMax);
  EXPECT_EQ(negotiate(kVersionMin, kVersionMax + 5), kVersionMax) << "a newer peer that still speaks ours";
  EXPECT_EQ(negotiate(kVersionMax + 1, kVersionMax + 5), 0u) << "a newer peer that does not";
  EXPECT_EQ(negotiate(0, kVersionMin - 1), 0u) << "an older peer";
  EXPECT_EQ(negotiate(kVersionMax, kVersionMin - 1), 0u) << "nonsense";
}

}  // namespace
}  // namespace mrlease::wire
