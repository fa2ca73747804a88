// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "tests/vm/load/json.h"
#include "tests/vm/load/memory.h"

namespace mrlease::load {
namespace {

class Plain : public Memory {
 public:
  Plain(const std::string& file, bool of_file, ibv_pd* pd) {
    fd_ = open(file.c_str(), O_RDWR | O_CLOEXEC);
    struct stat about {};
    check(fd_ >= 0 && !fstat(fd_, &about), "open " + file);
    length_ = static_cast<std::size_t>(about.st_size);
    void* at = of_file ? mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0)
                       : mmap(nullptr, length_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(at != MAP_FAILED, "map " + file);
    at_ = static_cast<char*>(at);
    mr_ = ibv_reg_mr(pd, at_, length_, kAccess);
    check(mr_, "ibv_reg_mr of a mapping of " + file);
  }
  ~Plain() override {
    ibv_dereg_mr(mr_);
    munmap(at_, length_);
    close(fd_);
  }
  Keys keys() const override { return {reinterpret_cast<std::uint64_t>(at_), length_, length_, mr_->rkey}; }
  char* at() const override { return at_; }
  void talk_to(Peer*) override {}
  int sync(std::string* error) override {
    if (!fsync(fd_)) return 0;
    *error = "fsync";
    return errno;
  }
  int extend(std::string*) override { return 0; }
  int reattach(std::string*) override { return ENOTSUP; }
  bool pause_for_extend() const override { return false; }
  void describe(Json& json) const override {
    json.add("backing", "plain").add("guard", "none").add("coverage", "nothing is held").add("reason", "no mrlease");
  }
  std::string events() const override { return ""; }

 private:
  static void check(bool ok, const std::string& what) {
    if (!ok) throw std::system_error(errno, std::generic_category(), what);
  }
  int fd_ = -1;
  std::size_t length_ = 0;
  char* at_ = nullptr;
  ibv_mr* mr_ = nullptr;
};

}  // namespace

std::unique_ptr<Memory> plain_memory(const Options& options, ibv_pd* pd) {
  return std::make_unique<Plain>(options.text("file"), options.text("backing") == "plain", pd);
}

}  // namespace mrlease::load
