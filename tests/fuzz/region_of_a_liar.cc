// SPDX-License-Identifier: Apache-2.0
// A region whose daemon lies: grants, sizes, recalls, stores and answers of any kind, while the application uses what it has. Every recall
// is answered; no page of the region faults while the file is whole; no memory region is deregistered twice or used after that (the fake
// device looks); whoever has a memory region may post, but for an order to be quiet that holds; at the end all is given back.
#include <fcntl.h>
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client-lib/src/region/region.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/liar.h"
#include "tests/unit/client/fake_verbs.h"

using namespace mrlease;
using namespace mrlease::client;
namespace v1 = wire::v1;

namespace {

constexpr std::uint64_t kPages = 8, kOffset = kPage, kLength = kPages * kPage;

wire::Fd memory(std::uint64_t length) {
  wire::Fd fd(::memfd_create("fuzz", MFD_CLOEXEC));
  must(::ftruncate(fd.get(), static_cast<off_t>(length)) == 0, "no memory");
  return fd;
}

int next_descriptor() {
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(fd);
  return fd;
}

// Of the file, mostly near what the region has of it.
std::uint64_t any_offset(FuzzedDataProvider& in) {
  switch (in.ConsumeIntegralInRange(0, 4)) {
    case 0: return kOffset;
    case 1: return in.ConsumeIntegralInRange<std::uint64_t>(0, kPages + 2) * kPage;
    case 2: return kOffset + kLength;
    case 3: return in.ConsumeIntegralInRange<std::uint64_t>(0, kOffset + kLength + kPage);
    default: return in.ConsumeIntegral<std::uint64_t>();
  }
}

class Session {
 public:
  explicit Session(FuzzedDataProvider& in) : in_(in), file_(memory(kOffset + kLength)) {}

  void run() {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return;
    manners_ = in_.ConsumeIntegralInRange(0, 3);
    const Choice choice = any_choice();
    Liar liar(wire::Fd(pair[1]), {choice.transparent, kOffset + kLength, kLength}, in_);
    Context::Options options;
    options.callback = &Session::on_event;
    options.user = this;
    std::unique_ptr<Context> context;
    if (!Context::open(wire::Fd(pair[0]), options, &context).ok()) return;
    if (choice.transparent && context->resolver() == nullptr) return;
    if (create(*context, choice).ok()) {
      while (in_.remaining_bytes() > 0 && !liar.gone()) step(liar);
      liar.hang_up();
      must(region_->dereg().code != EBUSY, "no memory window is bound");
    }
    must(FakeDevice::live == static_cast<int>(context->leaked_mrs), "a memory region is left that nobody has destroyed");
    region_.reset();
    context.reset();
  }

 private:
  Choice any_choice() {
    switch (in_.ConsumeIntegralInRange(0, 3)) {
      case 0: return {MRL_BACKING_DIRECT, false, ""};
      case 1: return {MRL_BACKING_ODP_COOPERATIVE, false, ""};
      case 2: return {MRL_BACKING_ODP, true, ""};
      default: return {MRL_BACKING_BOUNCE, false, ""};
    }
  }
  Outcome create(Context& context, const Choice& choice) {
    RegionSpec spec;
    spec.pd = &device_.pd;
    spec.file = wire::Fd(::fcntl(file_.get(), F_DUPFD_CLOEXEC, 3));
    spec.offset = kOffset;
    spec.length = kLength - in_.ConsumeIntegralInRange<std::uint64_t>(0, 1) * 100;
    spec.access = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;
    spec.write = in_.ConsumeIntegralInRange(0, 7) != 0;
    spec.choice = choice;
    spec.orphans.preserve = in_.ConsumeBool();
    writes_ = spec.write;
    return Region::create(context, std::move(spec), reinterpret_cast<mrl_region*>(16), &region_);
  }
  static int on_event(const mrl_event* event, void* user) {
    auto* self = static_cast<Session*>(user);
    if (event->type != MRL_EVENT_RECALL) return 0;
    constexpr int kAnswers[] = {0, 0, EACCES, EINPROGRESS};  // the last one never answers
    return kAnswers[self->manners_];
  }

  void step(Liar& liar) {
    unsigned index = 0;
    switch (in_.ConsumeIntegralInRange(0, 7)) {
      case 0: (void)region_->extend(in_.ConsumeBool() ? TakeBack::Reattach : TakeBack::Discard, nullptr); break;
      case 1: (void)region_->sync(kOffset, kPage); break;
      case 2: (void)region_->add_mr(&device_.pd, IBV_ACCESS_REMOTE_READ, &index); break;
      case 3: liar.notice(static_cast<v1::Notice::Kind>(in_.ConsumeIntegralInRange(0, 4)), any_offset(in_)); break;
      default: recall(liar);
    }
    look_at_pages();
    if (!liar.gone()) look_at_guard();  // else a recall may be under way still, of which nobody hears how it ends
  }

  void recall(Liar& liar) {
    v1::Recall r;
    const auto action = static_cast<v1::Action>(in_.ConsumeIntegralInRange(0, 9));
    r.set_action(action);
    r.set_reason(static_cast<v1::Reason>(in_.ConsumeIntegralInRange(0, 9)));
    r.set_offset(any_offset(in_));
    r.set_length(in_.ConsumeBool() ? kOffset + kLength - std::min(r.offset(), kOffset + kLength) : any_offset(in_));
    r.set_size(any_offset(in_));
    r.set_store(in_.ConsumeIntegralInRange<std::uint64_t>(1, 3));
    r.set_deadline_ms(manners_ < 2 ? 60000 : in_.ConsumeIntegralInRange<std::uint32_t>(0, 10));
    wire::Fd store;
    if (action == v1::ACTION_FREEZE || action == v1::ACTION_TRIM) store = any_store(r);
    const int code = liar.recall(r, store.get());
    must(!kPlanted || code != 0 || action != v1::ACTION_FREEZE, "a mistake that was planted");
    if (code == 0 && action == v1::ACTION_TRIM) trimmed_ = true;
    const bool after = action == v1::ACTION_THAW || action == v1::ACTION_SETTLE || action == v1::ACTION_REREGISTER;
    if (code > 0 && after) failed_after_ = true;
  }
  wire::Fd any_store(const v1::Recall& r) {
    switch (in_.ConsumeIntegralInRange(0, 5)) {
      case 0: return wire::Fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
      case 1: return memory(in_.ConsumeIntegralInRange<std::uint64_t>(0, kLength));
      case 2: return wire::Fd(::fcntl(file_.get(), F_DUPFD_CLOEXEC, 3));
      default: return memory(std::min(r.length(), 4 * kLength));
    }
  }

  void look_at_pages() {
    auto* const base = static_cast<volatile char*>(region_->address());
    for (std::uint64_t page = 0; page < kPages; page++) {
      const char here = base[page * kPage];
      if (writes_ && (touched_ >> page & 1) != 0) base[page * kPage] = static_cast<char>(here + 1);
    }
    touched_++;
  }
  // With no recall under way.
  void look_at_guard() {
    const ibv_mr* const mr = region_->mr();
    must(mr == nullptr || mr->pd == &device_.pd, "not a memory region of ours");
    const int entered = region_->guard().enter();
    if (entered == 0) region_->guard().leave();
    must(entered == 0 || entered == EAGAIN || entered == EKEYREVOKED, "the guard says something else");
    // What follows an operation and is refused, the daemon answers with a fence.
    const bool may_be_closed = mr == nullptr || trimmed_ || failed_after_;
    must(entered != EAGAIN || may_be_closed, "the posting guard is left closed");
  }

  FuzzedDataProvider& in_;
  FakeDevice device_;
  wire::Fd file_;
  int manners_ = 0;
  bool writes_ = true, trimmed_ = false, failed_after_ = false;
  unsigned touched_ = 1;
  std::shared_ptr<Region> region_;
};

}  // namespace

FUZZ(data, size) {
  FuzzedDataProvider in(data, size);
  const int before = next_descriptor();
  Session(in).run();
  must(next_descriptor() == before, "a descriptor is lost");
  return 0;
}
