// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <mrlease/mrlease.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <system_error>
#include <vector>

#include "tests/vm/load/backing_named.h"
#include "tests/vm/load/json.h"
#include "tests/vm/load/layout.h"
#include "tests/vm/load/memory.h"

namespace mrlease::load {
namespace {

[[noreturn]] void fail(int code, const std::string& what) {
  throw std::system_error(code, std::generic_category(), what + ": " + mrl_last_error());
}

const char* event_name(mrl_event_type type) {
  switch (type) {
    case MRL_EVENT_RECALL:
      return "recall";
    case MRL_EVENT_RESTORED:
      return "restored";
    case MRL_EVENT_TRIMMED:
      return "trimmed";
    case MRL_EVENT_FENCED:
      return "fenced";
    case MRL_EVENT_DISCONNECTED:
      return "disconnected";
    case MRL_EVENT_RECONNECTED:
      return "reconnected";
  }
  return "unknown";
}

class Leased : public Memory {
 public:
  Leased(const Options& options, ibv_pd* pd) : begin_(options.number("begin")) {
    mrl_open_options open_options{sizeof open_options};
    const std::string socket = options.text("socket", MRL_DEFAULT_SOCKET);
    open_options.socket_path = socket.c_str();
    open_options.callback = [](const mrl_event* event, void* self) { return static_cast<Leased*>(self)->hear(*event); };
    open_options.user = this;
    if (const int error = mrl_open(&open_options, &ctx_)) fail(error, "mrl_open");
    const int fd = ::open(options.text("file").c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) throw std::system_error(errno, std::generic_category(), "open " + options.text("file"));
    mrl_reg_options reg{sizeof reg};
    reg.backing = backing_named(options.text("backing", "auto"));
    if (options.flag("quirk")) reg.accept_quirks = MRL_QUIRK_ODP_PAGE_ALIGNED;
    if (options.flag("preserve")) reg.flags = MRL_REG_PRESERVE_ORPHANS;
    reg.peer_budget_ms = static_cast<std::uint32_t>(options.number("budget", 200));
    const std::size_t size = options.number("length", static_cast<std::uint64_t>(lseek(fd, 0, SEEK_END)) - begin_);
    const int error = options.flag("adopt") ? adopt(fd, size, pd, reg) : mrl_reg_file(ctx_, pd, fd, begin_, size, kAccess, &reg, &region_);
    file_ = fd;
    if (error) fail(error, options.flag("adopt") ? "mrl_reg_mr" : "mrl_reg_file");
  }
  ~Leased() override {
    mrl_dereg(region_);
    mrl_close(ctx_);
    if (own_ != nullptr) give_back();
    close(file_);
  }
  Keys keys() const override {
    const mrl_info about = info();
    const bool whole = about.backing != MRL_BACKING_DIRECT;  // elsewhere the tail lies on orphan pages
    return {reinterpret_cast<std::uint64_t>(mrl_addr(region_)), mrl_length(region_),
            whole ? mrl_length(region_) : about.size, mrl_rkey(region_)};
  }
  char* at() const override { return static_cast<char*>(mrl_addr(region_)); }
  void talk_to(Peer* peer) override {
    std::lock_guard lock(mutex_);
    peer_ = peer;
  }
  int sync(std::string* error) override { return with_text(mrl_sync(region_, begin_, 0), error); }
  int extend(std::string* error) override { return with_text(mrl_extend(region_, nullptr), error); }
  int reattach(std::string* error) override { return with_text(mrl_reattach(region_, nullptr), error); }
  bool pause_for_extend() const override { return info().backing == MRL_BACKING_DIRECT || !transparent(); }
  void describe(Json& json) const override {
    const mrl_info about = info();
    json.add("backing", mrl_backing_name(about.backing))
        .add("transparent", about.transparent != 0)
        .add("fenced", about.fenced != 0)
        .add("size", about.size)
        .add("generation", about.generation)
        .add("recalls", about.recalls)
        .add("freezes", about.freezes)
        .add("pages_merged", about.pages_merged)
        .add("gate_us_max", about.stall_us_max)
        .add("guard", about.guard)
        .add("coverage", about.coverage)
        .add("reason", about.backing_reason);
    std::lock_guard lock(mutex_);
    json.add("fenced_why", fenced_why_);
  }
  std::string events() const override {
    std::lock_guard lock(mutex_);
    std::string text;
    for (const auto& [name, count] : counts_) text += (text.empty() ? "" : ", ") + name + " " + std::to_string(count);
    return text;
  }

 private:
  int adopt(int fd, std::size_t size, ibv_pd* pd, const mrl_reg_options& reg) {
    own_length_ = size;
    void* const at = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
    own_ = static_cast<char*>(at);
    return mrl_reg_mr(ctx_, pd, own_, size, kAccess, &reg, &region_);
  }
  // It is the file again: what is stored there is in the file, and the file's bytes are there.
  void give_back() {
    std::vector<char> file(own_length_);
    own_[kPage + 1] = 'M';
    if (pread(file_, file.data(), file.size(), 0) != static_cast<ssize_t>(file.size()) || file[kPage + 1] != 'M' ||
        std::memcmp(file.data(), own_, file.size())) {
      std::fprintf(stderr, "after mrl_dereg() the mapping is not the file's\n");
      std::_Exit(3);
    }
    munmap(own_, own_length_);
  }
  static int with_text(int code, std::string* error) {
    if (code) *error = mrl_last_error();
    return code;
  }
  mrl_info info() const {
    mrl_info about{sizeof about};
    mrl_get_info(region_, &about);
    return about;
  }
  bool transparent() const {
    const mrl_info about = info();
    return about.backing == MRL_BACKING_BOUNCE || about.transparent;
  }
  // On the library's thread. Waits for the peer to drain: the deadline is ours, the library's is longer.
  int hear(const mrl_event& event) {
    Peer* peer;
    {
      std::lock_guard lock(mutex_);
      ++counts_[event_name(event.type)];
      if (event.type == MRL_EVENT_FENCED) fenced_why_ = event.message;
      peer = peer_;
    }
    if (!peer) return 0;
    if (event.type == MRL_EVENT_RECALL)
      return peer->pause(kRecall, static_cast<int>(event.deadline_ms)) ? 0 : ETIMEDOUT;
    if (event.type == MRL_EVENT_RESTORED) peer->resume(kRecall, keys());
    return 0;
  }

  mutable std::mutex mutex_;
  Peer* peer_ = nullptr;
  std::map<std::string, int> counts_;
  std::string fenced_why_;
  mrl_ctx* ctx_ = nullptr;
  mrl_region* region_ = nullptr;
  int file_ = -1;
  const std::uint64_t begin_;  // of the region in the file
  char* own_ = nullptr;  // --adopt: our mapping
  std::size_t own_length_ = 0;
};

}  // namespace

std::unique_ptr<Memory> leased_memory(const Options& options, ibv_pd* pd) {
  return std::make_unique<Leased>(options, pd);
}

}  // namespace mrlease::load
