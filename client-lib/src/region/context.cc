// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/region/context.h"

#include <fcntl.h>
#include <unistd.h>

#include "client-lib/src/protocol/frames.h"
#include "client-lib/src/region/region.h"
#include "client-lib/src/util/same_open_file.h"

namespace mrlease::client {

namespace {
// The wire's versions that know NameMapped; a Merge of orphans.
constexpr std::uint32_t kNamesMapped = 4, kMergesOrphans = 5;
constexpr std::uint32_t kSaidNothing = 4;  // of a daemon whose Resume has no version
}  // namespace

Context::Context(const Options& options) : events_(options.callback, options.user), socket_path_(options.socket_path) {}

Outcome Context::open(const Options& options, std::unique_ptr<Context>* out) {
  wire::Fd socket;
  Outcome o = Connection::connect(options.socket_path, &socket);
  return o.ok() ? open(std::move(socket), options, out) : o;
}

Outcome Context::open(wire::Fd socket, const Options& options, std::unique_ptr<Context>* out) {
  std::unique_ptr<Context> made(new Context(options));
  Outcome started = made->start(std::move(socket), options);
  if (started.ok()) *out = std::move(made);
  return started;
}

Outcome Context::start(wire::Fd socket, const Options& options) {
  if (::sysconf(_SC_PAGESIZE) != static_cast<long>(kPage)) {
    return {ENOTSUP, "this kernel's pages are not of 4096 bytes; mrlease knows no others yet"};
  }
  connection_ = std::make_shared<Connection>(std::move(socket), sinks());
  wire::v1::Welcome welcome;
  wire::Fd device;
  Outcome o = greet(*connection_, &welcome, &device);
  if (!o.ok()) return o;
  userfaultfd_reason_ = welcome.userfaultfd_reason();
  if (device) {
    o = set_up_userfaultfd(std::move(device));
    if (!o.ok()) userfaultfd_reason_ = o.text;  // a freeze then needs the application
  }
  if (!options.own_loop) events_.start_thread();
  return {};
}

bool Context::merges_orphans() const { return version_ >= kMergesOrphans; }

bool Context::somebody_listens() const {
  wire::Fd socket;
  return !socket_path_.empty() && Connection::connect(socket_path_, &socket).ok();
}

Outcome Context::greet(Connection& connection, wire::v1::Welcome* welcome, wire::Fd* userfaultfd_device) {
  Reply reply;
  Outcome o = connection.call(protocol::hello(program_invocation_short_name), {}, wire::Frame::kWelcome, &reply);
  if (!o.ok()) return o;
  *welcome = reply.frame.welcome();
  const std::uint32_t version = welcome->version();
  if (version < wire::kVersionMin || version > wire::kVersionMax) {
    return {EPROTO, "mrleased chose version " + std::to_string(version) + ", which this library does not speak"};
  }
  version_ = version;
  callback_deadline_ms_ = welcome->callback_deadline_ms();
  if (welcome->userfaultfd() && !reply.fds.empty()) *userfaultfd_device = std::move(reply.fds[0]);
  return {};
}

Outcome Context::open_mapped(std::uint64_t address, bool writable, wire::Fd* file) const {
  if (version_ < kNamesMapped) return {EOPNOTSUPP, "it is too old to tell"};
  Reply reply;
  const Outcome o = connection()->call(protocol::name_mapped(address), {}, wire::Frame::kNamed, &reply);
  if (!o.ok()) return o;
  if (reply.fds.empty()) return {EPROTO, "it answers without a descriptor"};
  const std::string link = "/proc/self/fd/" + std::to_string(reply.fds[0].get());
  *file = wire::Fd(::open(link.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY));
  return *file ? Outcome{} : from_errno("it names the file, which may not be opened");
}

std::shared_ptr<Connection> Context::connection() const {
  std::lock_guard lock(connection_mutex_);
  return connection_;
}

Outcome Context::set_up_userfaultfd(wire::Fd device) {
  userfaultfd_device_ = std::move(device);
  Userfaultfd made;
  Outcome o = Userfaultfd::open(userfaultfd_device_.get(), &made);
  if (!o.ok() || !pagemap_.ok()) {
    userfaultfd_device_ = {};
    return o.ok() ? Outcome{ENOTSUP, "/proc/self/pagemap cannot be opened"} : o;
  }
  // The daemon must be able to poison what is gated before it destroys a memory region.
  o = connection()->call(protocol::add_userfaultfd(), {made.fd()}, wire::Frame::kStatus, nullptr);
  if (!o.ok()) {
    userfaultfd_device_ = {};
    return o;
  }
  resolver_ = std::make_unique<Resolver>(std::move(made));
  return {};
}

Context::~Context() {
  {
    std::lock_guard lock(connection_mutex_);
    closing_ = true;
    closing_changed_.notify_all();
  }
  if (auto last = connection()) last->close();
  resuming_.stop();
  asking_.stop();
  quiet_.stop();
  events_.stop_thread();
}

Sinks Context::sinks() {
  return {[this](wire::v1::Recall recall, wire::Fd store) { on_recall(std::move(recall), std::move(store)); },
          [this](const wire::v1::Notice& notice) { on_notice(notice); },
          [this](const std::string& why) { on_closed(why); }, [this](std::uint32_t version) { on_resumed(version); }};
}

// A lane of its own: the others may be waiting for an answer of the daemon.
void Context::on_resumed(std::uint32_t version) {
  version_ = version == 0 ? std::min<std::uint32_t>(version_, kSaidNothing) : std::min(version, wire::kVersionMax);
  resuming_.post([this] {
    hand_over_again();
    give_up_again();
  });
}

// What a daemon must not leave to its successor, so that a client's end is the end of its pins: without these it can fence
// us by SIGKILL only. First the userfaultfd: no memory region is destroyed while a device fault may wait.
void Context::hand_over_again() {
  if (resolver_) {
    (void)connection()->call(protocol::add_userfaultfd(), {resolver_->userfaultfd().fd()}, wire::Frame::kStatus, nullptr);
  }
  std::lock_guard lock(devices_mutex_);
  for (const auto& [context, used] : devices_) {
    if (!used.cmd_fd) continue;
    (void)connection()->call(protocol::add_device({}, used.driver_id, used.number), {used.cmd_fd.get()},
                            wire::Frame::kDeviceAdded, nullptr);
  }
}

void Context::give_up_again() {
  std::vector<std::shared_ptr<Region>> all;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [lease, region] : regions_)
      if (auto lives = region.lock()) all.push_back(std::move(lives));
  }
  for (const auto& region : all) region->release_given_up();
}

std::shared_ptr<Region> Context::find(std::uint64_t lease) {
  std::lock_guard lock(mutex_);
  auto found = regions_.find(lease);
  return found == regions_.end() ? nullptr : found->second.lock();
}

void Context::add(std::uint64_t lease, std::weak_ptr<Region> region) {
  std::lock_guard lock(mutex_);
  regions_[lease] = std::move(region);
}

void Context::remove(std::uint64_t lease, const Region* region) {
  std::lock_guard lock(mutex_);
  const auto found = regions_.find(lease);
  // After a reconnect the number may be another region's.
  if (found != regions_.end() && found->second.lock().get() == region) regions_.erase(found);
}

void Context::on_recall(wire::v1::Recall recall, wire::Fd store) {
  if (auto region = find(recall.lease())) {
    region->on_recall(std::move(recall), std::move(store));
    return;
  }
  // Released meanwhile: nothing of it is reachable any more. From a lane, since sending may wait.
  // To the daemon that asks: the next one's recalls have the same numbers.
  quiet_.post([asks = connection(), id = recall.recall()] { (void)asks->send(protocol::recall_done(id, {})); });
}

void Context::on_notice(const wire::v1::Notice& notice) {
  auto region = find(notice.lease());
  if (!region) return;
  switch (notice.kind()) {
    case wire::v1::Notice::FENCED:
      region->on_fenced(notice.message());
      break;
    case wire::v1::Notice::TRIMMED:
      region->on_trimmed(notice.size());
      break;
    default:
      break;  // GREW: mrl_extend() is the application's choice
  }
}

void Context::on_closed(const std::string& why) {
  const bool first = connected_.exchange(false);  // else on the way back: the resuming lane sees to it
  if (first) tell(MRL_EVENT_DISCONNECTED, why);
  std::vector<std::shared_ptr<Region>> all;
  {
    std::lock_guard lock(mutex_);
    for (auto& [lease, weak] : regions_) {
      if (auto region = weak.lock()) all.push_back(std::move(region));
    }
  }
  for (auto& region : all) region->on_disconnected();
  if (first && !socket_path_.empty()) resuming_.post([this] { find_daemon_again(); });
}

Outcome Context::use_device(ibv_context* device, std::uint32_t* number, std::uint32_t* driver_id) {
  verbs::Device described;
  Outcome o = verbs::describe(device, &described);
  if (!o.ok()) return o;
  std::lock_guard lock(devices_mutex_);
  UsedDevice& used = devices_[device];
  if (!used.cmd_fd || !same_open_file(used.cmd_fd.get(), described.cmd_fd)) {
    const std::uint32_t driver = verbs::find_driver_id(described.cmd_fd);
    Reply reply;
    o = connection()->call(protocol::add_device(described.name, driver), {described.cmd_fd},
                          wire::Frame::kDeviceAdded, &reply);
    if (!o.ok()) return o;
    used = {reply.frame.device_added().device(), driver,
            wire::Fd(::fcntl(described.cmd_fd, F_DUPFD_CLOEXEC, 3))};
  }
  *number = used.number;
  *driver_id = used.driver_id;
  return {};
}

Outcome Context::caps(ibv_context* device, DeviceCaps* out) {
  verbs::Device described;
  Outcome o = verbs::describe(device, &described);
  if (!o.ok()) return o;
  const std::string key = described.name + "/" + std::to_string(described.guid);
  *out = caps_.get(key, [&] { return probe_device(device, [this](Userfaultfd* u) { return new_userfaultfd(u); }); });
  return {};
}

Outcome Context::new_userfaultfd(Userfaultfd* out) const {
  if (!userfaultfd_device_) {
    return {EPERM, userfaultfd_reason_.empty() ? "mrleased did not grant userfaultfd" : userfaultfd_reason_};
  }
  return Userfaultfd::open(userfaultfd_device_.get(), out);
}

}  // namespace mrlease::client
