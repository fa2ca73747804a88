// SPDX-License-Identifier: Apache-2.0
#include "tests/vm/bench/wire.h"

#include <sched.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <system_error>
#include <thread>

namespace mrlease::bench {
namespace {

load::LinkOptions at(const std::string& address) {
  load::LinkOptions options;
  options.address = address;
  return options;
}

void need(bool good, const char* what) {
  if (!good) throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

Wire::Wire(const std::string& address) : owner_(at(address)), peer_(at(address)) {
  owner_.listen();
  std::exception_ptr failed;
  std::thread accepts([&] {
    try {
      owner_.accept();
    } catch (...) {
      failed = std::current_exception();
    }
  });
  try {
    peer_.connect();
  } catch (...) {
    accepts.detach();  // nobody comes any more: the program ends
    throw;
  }
  accepts.join();
  if (failed) std::rethrow_exception(failed);
  void* const memory = ::mmap(nullptr, kLargest, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  need(memory != MAP_FAILED, "mmap");
  source_ = static_cast<unsigned char*>(memory);
  fill(1);
  source_mr_ = ibv_reg_mr(peer_.pd(), source_, kLargest, 0);
  need(source_mr_ != nullptr, "ibv_reg_mr of the source");
}

Wire::~Wire() {
  if (source_mr_ != nullptr) ibv_dereg_mr(source_mr_);
  if (source_ != nullptr) ::munmap(source_, kLargest);
}

void Wire::fill(unsigned char value) { std::memset(source_, value, kLargest); }

void Wire::post(Target target, std::size_t bytes) {
  ibv_sge piece{reinterpret_cast<std::uint64_t>(source_), static_cast<std::uint32_t>(bytes), source_mr_->lkey};
  ibv_send_wr request{}, *bad;
  request.sg_list = &piece;
  request.num_sge = 1;
  request.opcode = IBV_WR_RDMA_WRITE;
  request.send_flags = IBV_SEND_SIGNALED;
  request.wr.rdma = {target.at, target.rkey};
  errno = ibv_post_send(peer_.qp(), &request, &bad);
  need(errno == 0, "ibv_post_send");
}

void Wire::write(Target target, std::size_t bytes, int count, int window) {
  int posted = 0, done = 0;
  while (done < count) {
    while (posted < count && posted - done < window) {
      post(target, bytes);
      posted++;
    }
    ibv_wc completion{};
    const int n = ibv_poll_cq(peer_.cq(), 1, &completion);
    need(n >= 0, "ibv_poll_cq");
    if (n == 0) {
      ::sched_yield();
      continue;
    }
    if (completion.status != IBV_WC_SUCCESS) throw std::runtime_error(std::string("a write: ") + ibv_wc_status_str(completion.status));
    done++;
  }
}

}  // namespace mrlease::bench
