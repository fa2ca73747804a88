// SPDX-License-Identifier: Apache-2.0
#include "tests/vm/load/foreign.h"

#include <fcntl.h>
#include <mrlease/mrlease.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <system_error>

#include "tests/support/ring.h"
#include "tests/vm/load/json.h"

namespace mrlease::load {
namespace {

void tell(Json* json, const Verdict& verdict) {
  json->add("lost", verdict.lost).add("risen", verdict.risen).add("torn", verdict.torn).add("first", verdict.first);
}

}  // namespace

Foreign::Foreign(const Options& options)
    : path_(options.text("file")),
      table_path_(options.text("table")),
      stores_path_(options.text("store-table")),
      spare_(options.number("spare")),
      begin_(options.number("begin")),
      uring_(options.flag("uring")),
      size_(options.number("size")) {
  if (posix_memalign(reinterpret_cast<void**>(&buffer_), kPage, size_)) throw std::bad_alloc();
  if (options.flag("plain")) return;
  mrl_open_options open_options{sizeof open_options};
  const std::string socket = options.text("socket", MRL_DEFAULT_SOCKET);
  open_options.socket_path = socket.c_str();
  open_options.flags = MRL_OPEN_OWN_LOOP;
  open_options.user = this;
  open_options.callback = [](const mrl_event* event, void* user) {
    if (event->type == MRL_EVENT_RECONNECTED) ++static_cast<Foreign*>(user)->reconnects_;
    return 0;
  };
  if (const int error = mrl_open(&open_options, &ctx_))
    throw std::system_error(error, std::generic_category(), std::string("mrl_open: ") + mrl_last_error());
}

Foreign::~Foreign() {
  if (freeze_) mrl_thaw(freeze_);
  if (ctx_) mrl_close(ctx_);
  std::free(buffer_);
}

int Foreign::reconnected(std::uint64_t times) {
  constexpr int kPatienceMs = 20000;  // the library looks every 2 s at least (mrlease.h, MRL_EVENT_DISCONNECTED)
  while (ctx_ && reconnects_ < times) {
    pollfd events{mrl_get_fd(ctx_), POLLIN, 0};
    const int ready = poll(&events, 1, kPatienceMs);
    if (ready <= 0) return ready < 0 ? errno : ETIMEDOUT;
    mrl_dispatch(ctx_);
  }
  return 0;
}

Checker& Foreign::checker() {
  if (!checker_) {
    table_ = std::make_unique<TableFile>(TableFile::open(table_path_));
    if (!stores_path_.empty()) stores_ = std::make_unique<TableFile>(TableFile::open(stores_path_));
    checker_ = std::make_unique<Checker>(table_->get(), stores_ ? &stores_->get() : nullptr, spare_);
  }
  return *checker_;
}

int Foreign::timed(const char* what, const std::function<int()>& call) {
  const std::uint64_t start = now_ns();
  const int code = call();
  waits_[what].push_back(now_ns() - start);
  return code;
}

int Foreign::truncate(std::uint64_t size, Json* json) {
  struct stat before {};
  if (stat(path_.c_str(), &before)) return errno;
  const bool shrinks = in_file(size) < before.st_size;
  if (shrinks) checker().cut(size, now_ns());
  const int code = timed(shrinks ? "truncate" : "grow",
                         [&] { return ::truncate(path_.c_str(), in_file(size)) ? errno : 0; });
  json->add("wait_ns", waits_[shrinks ? "truncate" : "grow"].back());
  return code;
}

namespace {

// One page looks like a truncate there.
std::uint64_t worker_takes(std::uint64_t length, std::uint64_t at) { return std::min(length, (at / kPage % 4 == 0 ? 1 : 5) * kPage); }

}  // namespace

ssize_t Foreign::write_at(int fd, char* from, std::uint64_t length, std::uint64_t at) {
  return uring_ ? test::by_worker(IORING_OP_WRITE, fd, from, length, begin_ + at) : pwrite(fd, from, length, in_file(at));
}

int Foreign::read_file(int flags, bool uring, std::vector<char>* to) {
  int fd = -1;
  if (const int code = timed("open", [&] {
        fd = open(path_.c_str(), O_RDONLY | O_CLOEXEC | flags);
        return fd < 0 ? errno : 0;
      }))
    return code;
  const int code = timed("read", [&] {
    for (std::uint64_t at = 0; at < size_;) {
      const std::uint64_t left = size_ - at;
      const ssize_t n = uring ? test::by_worker(IORING_OP_READ, fd, buffer_ + at, worker_takes(left, at), begin_ + at) : pread(fd, buffer_ + at, left, in_file(at));
      if (n < 0) return errno;
      if (n == 0) return ERANGE;  // shorter than it should be
      at += static_cast<std::uint64_t>(n);
    }
    return 0;
  });
  close(fd);
  to->assign(buffer_, buffer_ + size_);
  return code;
}

int Foreign::zeros(std::uint64_t from, Json* json) {
  std::vector<char> file;
  if (const int code = read_file(0, uring_, &file)) return code;
  // The page of the cut itself stays on the file, and the device writes all of it: its tail says nothing.
  std::uint64_t risen = 0;
  for (std::uint64_t page = (from + kPage - 1) / kPage; page < size_ / kPage; ++page) {
    const char* at = file.data() + page * kPage;
    if (word(at) || !uniform(at, kPage)) ++risen;
  }
  json->add("risen", risen);
  return 0;
}

void Foreign::extended(std::uint64_t at_ns) { checker().extended(at_ns); }
void Foreign::reattached(std::uint64_t size, std::uint64_t at_ns) { checker().reattached(size, at_ns); }

int Foreign::sync(std::uint32_t stable_ms, Json* json) {
  int fd = -1;
  const int opened = timed("open", [&] {
    fd = open(path_.c_str(), O_RDWR | O_CLOEXEC);
    return fd < 0 ? errno : 0;
  });
  if (opened) return opened;
  const int code = timed("sync", [&] {
    if (!ctx_) return fsync(fd) ? errno : 0;
    return stable_ms != 0 ? mrl_file_sync_stable(ctx_, fd, 0, 0, stable_ms) : mrl_file_sync(ctx_, fd, 0, 0);
  });
  if (code && ctx_) json->add("text", mrl_last_error());
  close(fd);
  json->add("wait_ns", waits_["sync"].back());
  return code;
}

int Foreign::freeze(std::uint32_t hold_ms, Json* json) {
  copy_.clear();
  if (!ctx_) return 0;
  int fd = -1;
  const int opened = timed("open", [&] {
    fd = open(path_.c_str(), O_RDWR | O_CLOEXEC);
    return fd < 0 ? errno : 0;
  });
  if (opened) return opened;
  std::uint64_t unsettled = 0;
  const int code = timed("freeze", [&] { return mrl_file_freeze(ctx_, fd, 0, 0, hold_ms, &freeze_, &unsettled); });
  if (code) json->add("text", mrl_last_error());
  close(fd);
  json->add("unsettled", unsettled).add("wait_ns", waits_["freeze"].back());
  return code;
}

// A worker of io_uring would wait for the thaw: it may be about to truncate.
int Foreign::copy(Json* json) {
  std::vector<char> file;
  if (const int code = read_file(0, false, &file)) return code;
  Verdict verdict = checker().torn(file.data());
  std::uint64_t moved = 0;
  for (std::uint64_t at = 0; !copy_.empty() && at < size_; at += kPage)
    if (std::memcmp(file.data() + at, copy_.data() + at, kPage)) ++moved;
  copy_ = std::move(file);
  tell(json, verdict);
  json->add("moved", moved);
  return 0;
}

int Foreign::thaw(Json* json) {
  if (!freeze_) return 0;
  const int code = timed("thaw", [&] { return mrl_thaw(freeze_); });
  freeze_ = nullptr;
  if (code) json->add("text", mrl_last_error());
  json->add("wait_ns", waits_["thaw"].back());
  return code;
}

int Foreign::check(bool direct_io, Json* json) {
  std::vector<char> file;
  int code = read_file(direct_io ? O_DIRECT : 0, uring_, &file);
  if (code == EINVAL && direct_io) {
    json->add("buffered", true);  // a memory file system before 6.6: there is no disk to look at
    code = read_file(0, uring_, &file);
  }
  if (code) return code;
  tell(json, checker().verify(file.data()));
  return 0;
}

void Foreign::waits(Json* json) const {
  for (const auto& [what, list] : waits_) {
    std::string text = "[";
    for (const std::uint64_t ns : list) text += (text.size() > 1 ? ", " : "") + std::to_string(ns);
    json->raw(what.c_str(), text + "]");
  }
}

}  // namespace mrlease::load
