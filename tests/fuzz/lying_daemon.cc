// SPDX-License-Identifier: Apache-2.0
// A daemon that lies, at the library's end of the socket: any packets, with any descriptors, while a call waits. The call ends,
// and says yes only to the answer that it wanted; what is not for it is told once; no descriptor is lost.
#include <fcntl.h>
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "client-lib/src/connection/connection.h"
#include "client-lib/src/protocol/frames.h"
#include "tests/fuzz/fuzz.h"

using namespace mrlease;
using namespace mrlease::client;

namespace {

int next_descriptor() {
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(fd);
  return fd;
}

void check_recall(const wire::v1::Recall& r) {
  const Outcome o = protocol::check_recall(r);
  must(o.ok() || !o.text.empty(), "refused without a reason");
  if (!o.ok()) return;
  must(r.action() != wire::v1::ACTION_NONE && wire::v1::Action_IsValid(r.action()), "an action that there is not");
  must(r.offset() + r.length() >= r.offset(), "a recall that overflows");
}

void one_session(FuzzedDataProvider& in) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return;
  wire::Fd daemon(pair[1]);
  std::atomic<int> closed{0};
  Sinks sinks{[](const wire::v1::Recall& r, const wire::Fd&) { check_recall(r); },
              [](const wire::v1::Notice&) {}, [&](const std::string& why) { closed++; must(!why.empty(), "lost without a reason"); }, {}};
  Connection connection(wire::Fd(pair[0]), std::move(sinks));
  std::thread caller([&] {
    Reply reply;
    const Outcome o = connection.call(protocol::extend(1), {}, wire::Frame::kExtended, &reply);
    if (kPlanted && reply.frame.has_frozen()) must(o.ok(), "a mistake that was planted");
    must(!o.ok() || reply.frame.has_extended(), "yes to another answer");
    must(o.ok() || !o.text.empty(), "an error without words");
  });
  wire::Packet asked;  // the call is under way before anything is said
  while (wire::recv_packet(daemon.get(), &asked) == EAGAIN) std::this_thread::yield();
  while (in.remaining_bytes() > 0) {
    const std::vector<int> fds(in.ConsumeIntegralInRange<std::size_t>(0, 2), daemon.get());
    const std::string bytes = in.ConsumeRandomLengthString(2000);
    if (wire::send_packet(daemon.get(), bytes, fds) != 0) break;
  }
  // A call's own timeout is two minutes: it ends with the socket.
  ::shutdown(daemon.get(), SHUT_RDWR);
  caller.join();
  connection.close();
  must(closed <= 1, "closed twice");
}

}  // namespace

FUZZ(data, size) {
  FuzzedDataProvider in(data, size);
  const int before = next_descriptor();
  one_session(in);
  must(next_descriptor() == before, "a descriptor is lost");
  return 0;
}
