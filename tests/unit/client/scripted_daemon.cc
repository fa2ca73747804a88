// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/client/scripted_daemon.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace mrlease::client {
namespace {
constexpr auto kAnswered = std::chrono::seconds(30);
}

ScriptedDaemon::ScriptedDaemon(wire::Fd socket, std::uint32_t version)
    : version_(version), socket_(std::move(socket)), stop_(::eventfd(0, EFD_CLOEXEC)) {
  granted.set_lease(1);
  thread_ = std::thread([this] { run(); });
}

ScriptedDaemon::~ScriptedDaemon() {
  const std::uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof one);
  thread_.join();
}

void ScriptedDaemon::script(Script script) {
  std::lock_guard lock(mutex_);
  script_ = std::move(script);
}

void ScriptedDaemon::hang_up() { ::shutdown(socket_.get(), SHUT_RDWR); }

void ScriptedDaemon::send(wire::Frame frame, const std::vector<int>& fds) {
  const int code = wire::send_packet(socket_.get(), wire::encode(frame), fds);
  EXPECT_TRUE(code == 0 || code == EPIPE) << code;  // EPIPE: the client has closed and does not want it any more
}

void ScriptedDaemon::reply(const wire::Frame& to, wire::Frame frame, const std::vector<int>& fds) {
  frame.set_reply_to(to.id());
  send(std::move(frame), fds);
}

void ScriptedDaemon::reply_status(const wire::Frame& to, int code, const std::string& message) {
  wire::Frame f;
  f.mutable_status()->set_code(code);
  f.mutable_status()->set_message(message);
  reply(to, std::move(f));
}

std::uint64_t ScriptedDaemon::send_recall(wire::v1::Recall recall) {
  wire::Frame f;
  std::vector<int> fds;
  {
    std::lock_guard lock(mutex_);
    recall.set_recall(next_++);
    if (recall.deadline_ms() == 0) recall.set_deadline_ms(20000);
    const auto action = recall.action();
    if (action == wire::v1::ACTION_FREEZE || action == wire::v1::ACTION_TRIM) {
      Store& store = stores_[recall.store()];
      store = {wire::Fd(::memfd_create("store", MFD_CLOEXEC)), recall.offset()};
      EXPECT_EQ(::ftruncate(store.memfd.get(), static_cast<off_t>(recall.length())), 0);
      fds.push_back(store.memfd.get());
    }
  }
  const std::uint64_t id = recall.recall();
  *f.mutable_recall() = std::move(recall);
  send(std::move(f), fds);
  return id;
}

int ScriptedDaemon::wait_done(std::uint64_t recall) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, kAnswered, [&] { return done_.count(recall) != 0; });
  return done_.count(recall) != 0 ? done_[recall] : -1;
}

int ScriptedDaemon::recall(wire::v1::Recall recall) { return wait_done(send_recall(std::move(recall))); }

void ScriptedDaemon::notice(wire::v1::Notice::Kind kind, std::uint64_t lease, std::uint64_t size) {
  wire::Frame f;
  f.mutable_notice()->set_kind(kind);
  f.mutable_notice()->set_lease(lease);
  f.mutable_notice()->set_size(size);
  send(std::move(f));
}

bool ScriptedDaemon::wait_for(wire::Frame::BodyCase kind, int count) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kAnswered, [&] { return counts_[kind] >= count; });
}

wire::v1::Register ScriptedDaemon::registered() {
  std::lock_guard lock(mutex_);
  return registered_;
}

wire::v1::AddMr ScriptedDaemon::mr() {
  std::lock_guard lock(mutex_);
  return mr_;
}

wire::v1::RecallDone ScriptedDaemon::recall_done() {
  std::lock_guard lock(mutex_);
  return last_done_;
}

int ScriptedDaemon::count(wire::Frame::BodyCase kind) {
  std::lock_guard lock(mutex_);
  return counts_[kind];
}

void ScriptedDaemon::run() {
  for (;;) {
    pollfd what[2] = {{socket_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (::poll(what, 2, -1) < 0) continue;
    if (what[1].revents != 0) return;
    wire::Packet packet;
    const int code = wire::recv_packet(socket_.get(), &packet);
    if (code == EAGAIN) continue;
    if (code != 0) return;
    wire::Frame frame;
    std::string error;
    if (!wire::decode(packet.bytes, packet.fds.size(), &frame, &error)) {
      ADD_FAILURE() << error;
      return;
    }
    Script script;
    {
      std::lock_guard lock(mutex_);
      script = script_;
      if (frame.has_register_()) {
        file_ = std::move(packet.fds[0]);
        registered_ = frame.register_();
        if (packet.fds.size() > 1) bounce_ = std::move(packet.fds[1]);
      }
      if (frame.has_add_mr()) mr_ = frame.add_mr();
      if (frame.has_merge() && frame.merge().orphans()) stores_[0] = {std::move(packet.fds[0]), frame.merge().begin()};
      if (frame.has_recall_done()) {
        last_done_ = frame.recall_done();
        done_[last_done_.recall()] = last_done_.code();
      }
      counts_[frame.body_case()]++;  // before the answer: who has got that may count
      changed_.notify_all();
    }
    if (!script || !script(*this, frame)) answer(frame);
  }
}

void ScriptedDaemon::answer(const wire::Frame& frame) {
  wire::Frame f;
  switch (frame.body_case()) {
    case wire::Frame::kHello: {
      wire::Fd device(grant_userfaultfd ? ::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC) : -1);
      f.mutable_welcome()->set_version(version_);
      f.mutable_welcome()->set_callback_deadline_ms(5000);
      f.mutable_welcome()->set_userfaultfd(static_cast<bool>(device));
      reply(frame, std::move(f), device ? std::vector<int>{device.get()} : std::vector<int>{});
      return;
    }
    case wire::Frame::kAddDevice:
      f.mutable_device_added()->set_device(7);
      reply(frame, std::move(f));
      return;
    case wire::Frame::kRegister: {
      *f.mutable_granted() = granted;
      f.mutable_granted()->set_backing(frame.register_().backing());
      struct stat now {};
      ::fstat(file_.get(), &now);
      f.mutable_granted()->set_file_size(static_cast<std::uint64_t>(now.st_size));
      std::vector<int> fds;
      if (frame.register_().backing() == wire::v1::BACKING_BOUNCE && frame.register_().reclaim()) {
        fds.push_back(bounce_.get());
      } else if (frame.register_().backing() == wire::v1::BACKING_BOUNCE) {
        bounce_ = wire::Fd(::memfd_create("bounce", MFD_CLOEXEC));
        EXPECT_EQ(::ftruncate(bounce_.get(), static_cast<off_t>(page_up(frame.register_().range().length()))), 0);
        fds.push_back(bounce_.get());
      }
      reply(frame, std::move(f), fds);
      return;
    }
    case wire::Frame::kExtend: {
      struct stat now {};
      ::fstat(file_.get(), &now);
      f.mutable_extended()->set_file_size(static_cast<std::uint64_t>(now.st_size));
      reply(frame, std::move(f));
      return;
    }
    case wire::Frame::kMerge: {
      const Outcome merged = merge(frame.merge());
      reply_status(frame, merged.code, merged.text);
      return;
    }
    case wire::Frame::kRecallDone:
      return;
    default:
      reply_status(frame, 0);
  }
}

Outcome ScriptedDaemon::merge(const wire::v1::Merge& merge) {
  std::lock_guard lock(mutex_);
  const Store& store = stores_[merge.orphans() ? 0 : merge.store()];
  struct stat now {};
  ::fstat(file_.get(), &now);
  const auto size = static_cast<std::uint64_t>(now.st_size);
  char page[kPage];
  for (const auto& r : merge.ranges()) {
    for (std::uint64_t o = r.offset(); o < r.offset() + r.length() && o < size; o += kPage) {
      const std::uint64_t n = std::min(kPage, std::min(size, r.offset() + r.length()) - o);
      if (::pread(store.memfd.get(), page, n, static_cast<off_t>(o - store.begin)) != static_cast<ssize_t>(n)) {
        return from_errno("pread of the store");
      }
      if (::pwrite(file_.get(), page, n, static_cast<off_t>(o)) != static_cast<ssize_t>(n)) return from_errno("pwrite");
    }
  }
  return {};
}

}  // namespace mrlease::client
