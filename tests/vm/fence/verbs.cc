// SPDX-License-Identifier: Apache-2.0
#include "tests/vm/fence/verbs.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace mrlease::vm {
namespace {

constexpr std::size_t kPage = 4096;

void move(ibv_qp* qp, ibv_qp_attr attr, int mask) {
  if (const int code = ibv_modify_qp(qp, &attr, mask); code != 0) {
    errno = code;
    die("ibv_modify_qp");
  }
}

void connect_qp(ibv_qp* qp, const Endpoint& self, const Endpoint& other, std::uint32_t qpn) {
  ibv_qp_attr init{};
  init.qp_state = IBV_QPS_INIT;
  init.port_num = 1;
  init.qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
  move(qp, init, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
  ibv_qp_attr rtr{};
  rtr.qp_state = IBV_QPS_RTR;
  rtr.path_mtu = IBV_MTU_4096;
  rtr.dest_qp_num = qpn;
  rtr.max_dest_rd_atomic = 1;
  rtr.min_rnr_timer = 12;
  rtr.ah_attr.is_global = 1;
  rtr.ah_attr.grh.dgid = other.gid;
  rtr.ah_attr.grh.sgid_index = self.gid_index;
  rtr.ah_attr.grh.hop_limit = 1;
  rtr.ah_attr.port_num = 1;
  move(qp, rtr, IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                    IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER);
  ibv_qp_attr rts{};
  rts.qp_state = IBV_QPS_RTS;
  rts.timeout = 14;
  rts.retry_cnt = 7;
  rts.rnr_retry = 7;
  rts.max_rd_atomic = 1;
  move(qp, rts, IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
                    IBV_QP_MAX_QP_RD_ATOMIC);
}

}  // namespace

void die(const char* what) {
  std::fprintf(stderr, "process %d: %s: %s\n", static_cast<int>(::getpid()), what, std::strerror(errno));
  std::_Exit(3);
}

Verbs::Verbs() {
  ibv_device** list = ibv_get_device_list(nullptr);
  if (list == nullptr || list[0] == nullptr) die("no RDMA device");
  context = ibv_open_device(list[0]);
  if (context == nullptr) die("ibv_open_device");
  pd = ibv_alloc_pd(context);
  cq_ = ibv_create_cq(context, 16, nullptr, nullptr, 0);
  if (pd == nullptr || cq_ == nullptr) die("ibv_alloc_pd, ibv_create_cq");
  void* memory = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  source_memory_ = static_cast<char*>(memory);
  source_ = register_memory(memory, kPage, IBV_ACCESS_LOCAL_WRITE);
  if (source_ == nullptr) die("ibv_reg_mr of anonymous memory");
  // RoCE v2 over IPv4 is index 1 of a device with an address; index 0 is the link-local one.
  self_.gid_index = ibv_query_gid(context, 1, 1, &self_.gid) == 0 ? 1 : 0;
  if (self_.gid_index == 0 && ibv_query_gid(context, 1, 0, &self_.gid) != 0) die("ibv_query_gid");
  for (int i = 0; i < kQps; i++) {
    ibv_qp_init_attr attr{};
    attr.send_cq = attr.recv_cq = cq_;
    attr.cap = {8, 1, 1, 1, 0};
    attr.qp_type = IBV_QPT_RC;
    qps_[i] = ibv_create_qp(pd, &attr);
    if (qps_[i] == nullptr) die("ibv_create_qp");
    self_.qpn[i] = qps_[i]->qp_num;
  }
}

void Verbs::connect(const Endpoint& other) {
  for (int i = 0; i < kQps; i++) connect_qp(qps_[i], self_, other, other.qpn[i]);
}

ibv_mr* Verbs::register_memory(void* address, std::size_t length, int access) {
  return ibv_reg_mr(pd, address, length, static_cast<unsigned>(access));
}

int Verbs::write_page(int qp, std::uint64_t address, std::uint32_t rkey) {
  std::memset(source_memory_, 'w', kPage);
  ibv_sge sge{reinterpret_cast<std::uintptr_t>(source_memory_), kPage, source_->lkey};
  ibv_send_wr request{}, *bad = nullptr;
  request.sg_list = &sge;
  request.num_sge = 1;
  request.opcode = IBV_WR_RDMA_WRITE;
  request.send_flags = IBV_SEND_SIGNALED;
  request.wr.rdma.remote_addr = address;
  request.wr.rdma.rkey = rkey;
  if (const int code = ibv_post_send(qps_[qp], &request, &bad); code != 0) {
    errno = code;
    die("ibv_post_send");
  }
  return completed();
}

int Verbs::bind(ibv_mw* window, ibv_mr* mr, std::uint64_t address, std::size_t length) {
  ibv_mw_bind request{};
  request.send_flags = IBV_SEND_SIGNALED;
  request.bind_info = {mr, address, length, IBV_ACCESS_REMOTE_WRITE};
  if (const int code = ibv_bind_mw(qps_[0], window, &request); code != 0) {
    errno = code;
    die("ibv_bind_mw");
  }
  return completed();
}

int Verbs::completed() {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  ibv_wc completion{};
  while (std::chrono::steady_clock::now() < until) {
    if (ibv_poll_cq(cq_, 1, &completion) > 0) return completion.status;
  }
  return -1;
}

}  // namespace mrlease::vm
