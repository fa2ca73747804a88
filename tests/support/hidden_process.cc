// SPDX-License-Identifier: Apache-2.0
#include "tests/support/hidden_process.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <stdexcept>
#include <utility>

namespace mrlease::test {
namespace {

void must(bool done) {
  if (!done) throw std::runtime_error("a process could not be hidden");
}

bool is_ready(Foreign* foreign) {
  foreign->next();
  return foreign->result() == 0;
}

}  // namespace

HiddenProcess::HiddenProcess(std::string directory, pid_t process) : fuse_(std::in_place, std::move(directory)) {
  wire::Fd served = fuse_->open_file();
  const int file = served.get();
  const std::string task = "/proc/" + std::to_string(process) + "/task/" + std::to_string(process);
  void* page = nullptr;  // in the reader
  reader_.emplace(std::vector<Foreign::Step>{
                      [&page, file] { return (page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0)) == MAP_FAILED ? errno : 0; },
                      [&page, task] { return outcome(::syscall(SYS_getdents64, ::open(task.c_str(), O_RDONLY | O_DIRECTORY), page, 4096)); }},
                  file);
  changer_.emplace(std::vector<Foreign::Step>{[] { return 0; }, [task] { return outcome(::chmod(task.c_str(), 0500)); }});
  must(is_ready(&*reader_) && is_ready(&*changer_));  // and nobody else has the file open: to close it would take an answer
  served = wire::Fd();
  fuse_->hang();
  reader_->next();
  must(reader_->blocked_in(SYS_getdents64));
  changer_->next();
  must(changer_->blocked_in(SYS_chmod));
}

// Both end when the file system is gone.
HiddenProcess::~HiddenProcess() { fuse_.reset(); }

}  // namespace mrlease::test
