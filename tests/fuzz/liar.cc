// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/liar.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "tests/fuzz/fuzz.h"

namespace mrlease {

using wire::Frame;

namespace {

constexpr std::size_t kLies = 12;  // then it begins anew
// What else may be answered than the truth.
enum Lie : unsigned { kErrors = 3, kOther = 10, kHangUp, kOtherBacking, kNoMemory, kShortMemory, kLast };
constexpr int kCodes[kOther - kErrors] = {EIO, ENOSPC, EKEYREVOKED, ENOENT, EBUSY, -1, 1 << 20};

wire::Fd memory(std::uint64_t length) {
  wire::Fd fd(::memfd_create("liar", MFD_CLOEXEC));
  must(::ftruncate(fd.get(), static_cast<off_t>(length)) == 0, "no memory");
  return fd;
}

}  // namespace

Liar::Liar(wire::Fd socket, const Truth& truth, FuzzedDataProvider& in) : truth_(truth), socket_(std::move(socket)) {
  const std::size_t honest = in.ConsumeIntegralInRange<std::size_t>(0, kLies);
  for (std::size_t i = 0; i < kLies; i++) lies_.push_back(i < honest ? 0 : in.ConsumeIntegralInRange<std::uint8_t>(0, kLast));
  file_size_ = in.ConsumeBool() ? truth_.file_size : in.ConsumeIntegral<std::uint64_t>();
  lease_ = in.ConsumeIntegralInRange<std::uint64_t>(0, 2);
  thread_ = std::thread([this] { run(); });
}

Liar::~Liar() {
  hang_up();
  thread_.join();
}

void Liar::hang_up() {
  gone_ = true;
  ::shutdown(socket_.get(), SHUT_RDWR);
}

void Liar::send(Frame frame, int fd) {
  const std::vector<int> fds = fd >= 0 ? std::vector<int>{fd} : std::vector<int>{};
  if (wire::send_packet(socket_.get(), wire::encode(frame), fds) != 0) hang_up();
}

int Liar::recall(wire::v1::Recall recall, int store) {
  Frame f;
  recall.set_lease(lease_);
  recall.set_recall(next_recall_);
  *f.mutable_recall() = std::move(recall);
  send(std::move(f), store);
  std::unique_lock lock(mutex_);
  must(changed_.wait_for(lock, std::chrono::seconds(15), [&] { return gone_ || done_.count(next_recall_) != 0; }), "a recall is not answered");
  const auto found = done_.find(next_recall_++);
  return found == done_.end() ? -1 : found->second;
}

void Liar::notice(wire::v1::Notice::Kind kind, std::uint64_t size) {
  Frame f;
  f.mutable_notice()->set_lease(lease_);
  f.mutable_notice()->set_kind(kind);
  f.mutable_notice()->set_size(size);
  send(std::move(f));
}

void Liar::run() {
  for (;;) {
    pollfd more{socket_.get(), POLLIN, 0};
    if (::poll(&more, 1, -1) < 0) continue;
    wire::Packet packet;
    const int code = wire::recv_packet(socket_.get(), &packet);
    if (code == EAGAIN) continue;
    if (code != 0) break;
    Frame request;
    std::string error;
    must(wire::decode(packet.bytes, packet.fds.size(), &request, &error), "the library has sent what is no frame");
    if (request.has_recall_done()) {
      std::lock_guard lock(mutex_);
      must(done_.emplace(request.recall_done().recall(), request.recall_done().code()).second, "a recall is answered twice");
      changed_.notify_all();
    } else {
      answer(request);
    }
  }
  std::lock_guard lock(mutex_);
  gone_ = true;
  changed_.notify_all();
}

unsigned Liar::next_lie() { return lies_[told_++ % lies_.size()]; }

void Liar::answer(const Frame& request) {
  Frame f;
  wire::Fd fd;
  switch (request.body_case()) {
    case Frame::kHello:
      f.mutable_welcome()->set_version(wire::kVersionMax);
      f.mutable_welcome()->set_callback_deadline_ms(60000);
      if (truth_.userfaultfd) fd = wire::Fd(::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
      f.mutable_welcome()->set_userfaultfd(static_cast<bool>(fd));
      break;
    case Frame::kAddDevice: f.mutable_device_added()->set_device(1); break;
    case Frame::kRegister: fd = granted(request.register_(), f.mutable_granted()); break;
    case Frame::kExtend: f.mutable_extended()->set_file_size(file_size_); break;
    default: f.mutable_status();
  }
  const unsigned lie = request.has_hello() ? 0 : next_lie();
  if (lie == kHangUp) return hang_up();
  if (lie >= kErrors && lie < kOther) f.mutable_status()->set_code(kCodes[lie - kErrors]);
  if (lie == kOther) f.mutable_frozen()->set_freeze(1);  // to another question
  if (lie >= kErrors && lie <= kOther) fd = {};
  f.set_reply_to(request.id());
  send(std::move(f), fd.get());
}

wire::Fd Liar::granted(const wire::v1::Register& asked, wire::v1::Granted* out) {
  out->set_lease(lease_);
  out->set_file_size(file_size_);
  const unsigned lie = next_lie();
  out->set_backing(lie == kOtherBacking ? wire::v1::BACKING_BOUNCE : asked.backing());
  if (out->backing() != wire::v1::BACKING_BOUNCE) return {};
  if (lie == kNoMemory) return wire::Fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
  return memory(lie == kShortMemory ? truth_.length / 2 : truth_.length);
}

}  // namespace mrlease
