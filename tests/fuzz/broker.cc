// SPDX-License-Identifier: Apache-2.0
// The daemon's broker, with clients who say what they like, with whatever descriptors, and operations of others on their files. Every
// request is answered at most once; every operation that is held is let go in time; when the clients are gone nothing of them is left.
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fuzzer/FuzzedDataProvider.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "daemon/session/admin_view.h"
#include "daemon/session/broker.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/stranger.h"

using namespace mrlease;
namespace v1 = wire::v1;
using std::chrono::milliseconds;

namespace {

constexpr std::uint64_t kPage = 4096, kPages = 8, kFiles = 2;
constexpr auto kBound = std::chrono::seconds(5);

// Stands where the kernel's events would come from: it holds what it is told to, and an allowed operation is over at once.
class Guard : public guard::Guard {
 public:
  void listen(guard::Listener listener) { listener_ = std::move(listener); }
  void hold(guard::ForeignOp op) {
    op.id = (1ull << 63) | ++last_;
    held_.insert(op.id);
    listener_.held(std::move(op));
  }
  void see(const core::FileKey& file) { listener_.observed(file, "a write that nobody held"); }
  std::size_t held() const { return held_.size(); }

  void answer(core::BreakId id, int, bool watch_leaving) override {
    if (kPlanted) must(held_.size() < 2, "a mistake that was planted");
    must(held_.erase(id) == 1, "an operation is answered twice");
    if (watch_leaving) listener_.left(id, true);
  }
  std::vector<std::pair<std::string, int>> groups() const override { return {}; }
  std::vector<guard::Overdue> await_passing(milliseconds) override { return {}; }
  std::string begin() override { return {}; }
  std::string describe() const override { return "the fuzzer's"; }
  guard::Coverage watch(const core::FileKey&, int) override { return {guard::Kind::Precontent, "all"}; }
  void unwatch(const core::FileKey&) override {}
  void publish(const core::FileKey&, const core::Needs&) override {}
  bool heartbeat() override { return true; }
  void disarm() override {}

 private:
  guard::Listener listener_;
  std::set<core::BreakId> held_;
  std::uint64_t last_ = 0;
};

struct File {
  wire::Fd fd;
  core::FileKey key;
};

const std::vector<File>& files() {
  static const std::vector<File> made = [] {
    std::vector<File> out;
    for (std::uint64_t i = 0; i < kFiles; i++) {
      char path[] = "/dev/shm/mrlease-fuzz-XXXXXX";
      wire::Fd fd(::mkostemp(path, O_CLOEXEC));
      struct stat st {};
      must(fd && ::unlink(path) == 0 && ::fstat(fd.get(), &st) == 0, "a file in /dev/shm");
      out.push_back({std::move(fd), {st.st_dev, st.st_ino}});
    }
    return out;
  }();
  return made;
}

session::Options quick() {
  session::Options options;
  options.policy.recall_deadline = 40;
  options.policy.fence_deadline = 20;
  options.policy.passing_bound = 20;
  options.policy.freeze_hold_max = 40;
  options.leases_max = 6;
  options.sessions_max = 3;
  return options;
}

// One client's end of the wire, and what it has been told.
class Client {
 public:
  explicit Client(wire::Fd fd) : fd_(std::move(fd)) {}

  void say(FuzzedDataProvider& in) {
    wire::Frame frame = any_frame(in);
    frame.set_id(++asked_);
    std::vector<wire::Fd> fds;
    const auto wanted = wire::fds_expected(frame).min;
    const std::size_t count = in.ConsumeIntegralInRange(0, 9) == 0 ? in.ConsumeIntegralInRange<std::size_t>(0, 4) : wanted;
    for (std::size_t i = 0; i < count; i++) fds.push_back(any_fd(in, frame, i));
    send(wire::encode(frame), fds);
  }
  // What happens to be a frame has a number that was not asked.
  void garbage(FuzzedDataProvider& in) {
    const std::string bytes = in.ConsumeRandomLengthString(64);
    wire::Frame frame;
    std::string error;
    if (!wire::decode(bytes, 0, &frame, &error)) send(bytes, {});
  }
  void greet() {
    wire::Frame frame;
    frame.mutable_hello()->set_version_min(1);
    frame.mutable_hello()->set_version_max(wire::kVersionMax);
    frame.set_id(++asked_);
    send(wire::encode(frame), {});
  }
  void listen() {
    wire::Packet packet;
    while (::recv(fd_.get(), nullptr, 0, MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC) > 0 && wire::recv_packet(fd_.get(), &packet) == 0) {
      wire::Frame frame;
      std::string error;
      must(wire::decode(packet.bytes, packet.fds.size(), &frame, &error), "the daemon says what the library does not read");
      if (frame.reply_to() != 0) must(frame.reply_to() <= asked_ && answered_.insert(frame.reply_to()).second, "answered twice, or not asked");
      if (frame.has_granted()) leases_.push_back(frame.granted().lease());
      if (frame.has_frozen()) freezes_.push_back(frame.frozen().freeze());
      if (frame.has_recall()) recalls_.push_back(frame.recall());
    }
  }

 private:
  void send(const std::string& bytes, const std::vector<wire::Fd>& fds) {
    std::vector<int> numbers;
    for (const wire::Fd& fd : fds) numbers.push_back(fd.get());
    (void)wire::send_packet(fd_.get(), bytes, numbers);
  }
  std::uint64_t any_of(FuzzedDataProvider& in, const std::vector<std::uint64_t>& known) {
    if (known.empty() || in.ConsumeIntegralInRange(0, 7) == 0) return in.ConsumeIntegralInRange<std::uint64_t>(0, 9);
    return known[in.ConsumeIntegralInRange<std::size_t>(0, known.size() - 1)];
  }
  static std::uint64_t any_offset(FuzzedDataProvider& in) {
    if (in.ConsumeIntegralInRange(0, 15) == 0) return in.ConsumeIntegral<std::uint64_t>();
    return in.ConsumeIntegralInRange<std::uint64_t>(0, kPages) * kPage;
  }
  static void any_range(FuzzedDataProvider& in, v1::Range* range) {
    range->set_offset(any_offset(in));
    range->set_length(any_offset(in));
  }
  v1::Recall any_recall(FuzzedDataProvider& in) {
    if (recalls_.empty()) return {};
    return recalls_[in.ConsumeIntegralInRange<std::size_t>(0, recalls_.size() - 1)];
  }

  wire::Frame any_frame(FuzzedDataProvider& in) {
    wire::Frame f;
    switch (in.ConsumeIntegralInRange(0, 19)) {
      case 0: f.mutable_hello()->set_version_max(in.ConsumeIntegralInRange<std::uint32_t>(0, 9)); break;
      case 1: f.mutable_add_device()->set_device(in.ConsumeIntegralInRange<std::uint32_t>(0, 3)); break;
      case 2: f.mutable_add_userfaultfd(); break;
      case 3: {
        v1::AddMr& a = *f.mutable_add_mr();
        a.set_lease(any_of(in, leases_));
        a.set_device(in.ConsumeIntegralInRange<std::uint32_t>(0, 3));
        a.set_handle(in.ConsumeIntegralInRange<std::uint32_t>(0, 3));
        break;
      }
      case 4: f.mutable_remove_mr()->set_lease(any_of(in, leases_)); break;
      case 5: f.mutable_release()->set_lease(any_of(in, leases_)); break;
      case 6: f.mutable_extend()->set_lease(any_of(in, leases_)); break;
      case 7: f.mutable_name_mapped()->set_address(in.ConsumeIntegral<std::uint64_t>()); break;
      case 8: f.mutable_reclaimed(); break;
      case 9: f.mutable_resumed()->add_waiting(in.ConsumeIntegralInRange<std::uint64_t>(0, 9)); break;
      case 10: any_range(in, f.mutable_sync_file()->mutable_range()); break;
      case 11: {
        any_range(in, f.mutable_freeze_file()->mutable_range());
        f.mutable_freeze_file()->set_hold_ms(in.ConsumeIntegralInRange<std::uint32_t>(0, 50));
        break;
      }
      case 12: f.mutable_thaw_file()->set_freeze(any_of(in, freezes_)); break;
      case 13: {
        const v1::Recall recall = any_recall(in);
        v1::Merge& m = *f.mutable_merge();
        m.set_lease(recall.lease());
        m.set_store(recall.store());
        any_range(in, m.add_ranges());
        m.set_orphans(in.ConsumeBool());
        m.set_begin(any_offset(in));
        break;
      }
      case 14:
      case 15:
      case 16: {
        const v1::Recall recall = any_recall(in);
        f.mutable_recall_done()->set_recall(recall.recall());
        if (in.ConsumeIntegralInRange(0, 3) == 0) f.mutable_recall_done()->set_code(in.ConsumeIntegralInRange(0, 140));
        f.mutable_recall_done()->set_deregistered(in.ConsumeBool());
        break;
      }
      default: {
        v1::Register& r = *f.mutable_register_();
        any_range(in, r.mutable_range());
        r.set_write(in.ConsumeBool());
        r.set_backing(static_cast<v1::Backing>(in.ConsumeIntegralInRange(0, 4)));
        r.set_share(in.ConsumeBool());
        r.set_reclaim(in.ConsumeIntegralInRange(0, 3) == 0);
        if (r.reclaim()) r.set_on_file_end(any_offset(in));
      }
    }
    return f;
  }
  static wire::Fd any_fd(FuzzedDataProvider& in, const wire::Frame& frame, std::size_t which) {
    if ((which == 1 && frame.has_register_()) || (frame.has_merge() && in.ConsumeIntegralInRange(0, 3) != 0)) {
      wire::Fd memory(::memfd_create("pages", MFD_CLOEXEC | MFD_ALLOW_SEALING));
      (void)!::ftruncate(memory.get(), static_cast<off_t>(in.ConsumeIntegralInRange<std::uint64_t>(0, kPages) * kPage));
      if (in.ConsumeIntegralInRange(0, 3) != 0) ::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
      return memory;
    }
    const int file = files()[in.ConsumeIntegralInRange<std::size_t>(0, kFiles - 1)].fd.get();
    switch (in.ConsumeIntegralInRange(0, 9)) {
      case 0: return wire::Fd(::open("/dev/null", O_RDWR | O_CLOEXEC));
      case 1: return wire::Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
      case 2: return wire::Fd(::memfd_create("some", MFD_CLOEXEC));
      case 3: return wire::Fd(::open(("/proc/self/fd/" + std::to_string(file)).c_str(), O_RDONLY | O_CLOEXEC));
      case 4: return wire::Fd(::open(("/proc/self/fd/" + std::to_string(file)).c_str(), O_PATH | O_CLOEXEC));
      default: return wire::Fd(::open(("/proc/self/fd/" + std::to_string(file)).c_str(), O_RDWR | O_CLOEXEC));
    }
  }

  wire::Fd fd_;
  std::uint64_t asked_ = 0;
  std::set<std::uint64_t> answered_;
  std::vector<std::uint64_t> leases_, freezes_;
  std::vector<v1::Recall> recalls_;
};

// One for all inputs, as a daemon has clients that come and go.
struct Daemon {
  Daemon() {
    guard.listen(broker.listener([](std::string) { must(false, "the guard failed"); }));
    broker.attach(&guard);
  }
  bool busy() const {
    const session::Totals totals = admin.totals();
    return guard.held() != 0 || totals.sessions + totals.leases + totals.breaks + totals.freezes != 0;
  }
  // What is closed by its workers takes a moment.
  template <class Done>
  bool run_until(Done done) {
    const auto end = std::chrono::steady_clock::now() + kBound;
    while (!done() && std::chrono::steady_clock::now() < end) io.run_one_for(milliseconds(1));
    return done();
  }

  asio::io_context io;
  Guard guard;
  session::Broker broker{io, quick(), [](int, std::string) {}};
  session::AdminView admin{broker};
  fuzz::Stranger stranger;
};

class Scene {
 public:
  Scene(FuzzedDataProvider& in, Daemon& daemon) : in_(in), daemon_(daemon) {}

  void run() {
    for (const File& file : files()) must(::ftruncate(file.fd.get(), kPages * kPage) == 0, "ftruncate");
    arrive();
    for (int step = 0; step < 60 && in_.remaining_bytes() > 0; step++) {
      one_step();
      daemon_.io.poll();
      for (auto& client : clients_) client->listen();
    }
    clients_.clear();
    daemon_.run_until([this] { return !daemon_.busy(); });
    must(daemon_.guard.held() == 0, "an operation is held for ever");
    must(!daemon_.busy(), "something of the clients is left");
  }

 private:
  void one_step() {
    const int what = in_.ConsumeIntegralInRange(0, 15);
    if (what == 0 || clients_.empty()) return arrive();
    Client& client = *clients_[in_.ConsumeIntegralInRange<std::size_t>(0, clients_.size() - 1)];
    switch (what) {
      case 1: clients_.erase(clients_.begin() + in_.ConsumeIntegralInRange<std::ptrdiff_t>(0, std::ssize(clients_) - 1)); break;
      case 2: client.garbage(in_); break;
      case 3: daemon_.guard.see(files()[in_.ConsumeIntegralInRange<std::size_t>(0, kFiles - 1)].key); break;
      case 4: daemon_.io.run_for(milliseconds(in_.ConsumeIntegralInRange(0, 2))); break;  // workers get somewhere, deadlines pass
      case 5:
      case 6:
      case 7: foreign(); break;
      default: client.say(in_);
    }
  }
  void arrive() {
    auto [theirs, ours] = daemon_.stranger.connect();
    clients_.push_back(std::make_unique<Client>(std::move(theirs)));
    daemon_.broker.accept(session::Connection::Socket(daemon_.io, asio::generic::seq_packet_protocol(AF_UNIX, 0), ours.release()));
    if (in_.ConsumeIntegralInRange(0, 7) != 0) clients_.back()->greet();
  }
  // What the guard says of it does not have to be what happens to the file.
  void foreign() {
    const File& file = files()[in_.ConsumeIntegralInRange<std::size_t>(0, kFiles - 1)];
    guard::ForeignOp op;
    op.file = file.key;
    op.kind = static_cast<core::BreakKind>(in_.ConsumeIntegralInRange(0, 3));
    op.new_size = in_.ConsumeIntegralInRange<std::uint64_t>(0, 2 * kPages * kPage);
    op.extent = {op.kind == core::BreakKind::Truncate ? op.new_size : 0, core::kToEnd};
    op.tid = 1;
    op.what = "an operation of the fuzzer's";
    const bool cut = op.kind == core::BreakKind::Truncate && in_.ConsumeBool();
    const auto size = static_cast<off_t>(op.new_size);
    daemon_.guard.hold(std::move(op));
    if (cut) must(::ftruncate(file.fd.get(), size) == 0, "ftruncate");
  }

  FuzzedDataProvider& in_;
  Daemon& daemon_;
  std::vector<std::unique_ptr<Client>> clients_;
};

// Without the files of tasks that were looked at lately, which each thread keeps some of (sys/proc_file.h).
std::vector<std::string> descriptors() {
  std::vector<std::string> out;
  for (const auto& each : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const std::string file = std::filesystem::read_symlink(each.path(), gone);
    if (!gone && file.find("/task/") == std::string::npos) out.push_back(file);
  }
  return out;
}

}  // namespace

FUZZ(data, size) {
  static Daemon* const daemon = new Daemon;  // never destroyed: its workers go on to the end, as the daemon's do
  static std::size_t most = 0;
  FuzzedDataProvider in(data, size);
  Scene(in, *daemon).run();
  // What is made once: a store ahead of time, and what the first client and the first files take.
  constexpr std::size_t kOnce = 16;
  if (most == 0) most = descriptors().size() + kOnce;
  const bool closed = daemon->run_until([] { return descriptors().size() <= most; });
  if (!closed)
    for (const std::string& each : descriptors()) std::fprintf(stderr, "%s\n", each.c_str());
  must(closed, "descriptors are lost");
  return 0;
}
