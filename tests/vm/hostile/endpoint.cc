// SPDX-License-Identifier: Apache-2.0
#include "tests/vm/hostile/endpoint.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>

namespace mrlease::test {

namespace {
constexpr std::size_t kBuffer = 64 * 1024;
void check(bool ok, const char* what) {
  if (!ok) throw std::runtime_error(what);
}
}  // namespace

Endpoint::Endpoint() {
  int n = 0;
  ibv_device** list = ibv_get_device_list(&n);
  check(n > 0, "no RDMA device");
  context = ibv_open_device(list[0]);
  check(context != nullptr, "ibv_open_device");
  ibv_free_device_list(list);
  pd = ibv_alloc_pd(context);
  cq_ = ibv_create_cq(context, 256, nullptr, nullptr, 0);
  buffer_ = static_cast<std::uint64_t*>(::mmap(nullptr, kBuffer, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  mr_ = ibv_reg_mr(pd, buffer_, kBuffer, IBV_ACCESS_LOCAL_WRITE);
  check(pd && cq_ && mr_, "verbs objects");
  ibv_gid gid{};
  gid_index_ = ibv_query_gid(context, 1, 1, &gid) == 0 && gid.global.interface_id != 0 ? 1 : 0;
  renew();
}

Endpoint::~Endpoint() {
  if (qp_ != nullptr) ibv_destroy_qp(qp_);
  ibv_dereg_mr(mr_);
  ibv_destroy_cq(cq_);
  ibv_dealloc_pd(pd);
  ibv_close_device(context);
}

void Endpoint::renew() {
  if (qp_ != nullptr) ibv_destroy_qp(qp_);
  ibv_wc rest;
  while (ibv_poll_cq(cq_, 1, &rest) > 0) {
  }
  ibv_qp_init_attr init{};
  init.send_cq = init.recv_cq = cq_;
  init.cap = {128, 1, 1, 1, 0};
  init.qp_type = IBV_QPT_RC;
  qp_ = ibv_create_qp(pd, &init);
  check(qp_ != nullptr, "ibv_create_qp");
}

Address Endpoint::address() const {
  Address a;
  a.qp = qp_->qp_num;
  check(ibv_query_gid(context, 1, gid_index_, &a.gid) == 0, "ibv_query_gid");
  return a;
}

void Endpoint::connect(const Address& other) {
  ibv_qp_attr attr{};
  attr.qp_state = IBV_QPS_INIT;
  attr.port_num = 1;
  attr.qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;
  check(ibv_modify_qp(qp_, &attr, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS) == 0, "INIT");
  attr = {};
  attr.qp_state = IBV_QPS_RTR;
  attr.path_mtu = IBV_MTU_4096;
  attr.dest_qp_num = other.qp;
  attr.max_dest_rd_atomic = 1;
  attr.min_rnr_timer = 12;
  attr.ah_attr.is_global = 1;
  attr.ah_attr.grh.dgid = other.gid;
  attr.ah_attr.grh.sgid_index = static_cast<std::uint8_t>(gid_index_);
  attr.ah_attr.grh.hop_limit = 1;
  attr.ah_attr.port_num = 1;
  check(ibv_modify_qp(qp_, &attr, IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                                      IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER) == 0, "RTR");
  attr = {};
  attr.qp_state = IBV_QPS_RTS;
  attr.timeout = 14;
  attr.retry_cnt = 7;
  attr.rnr_retry = 7;
  attr.max_rd_atomic = 1;
  check(ibv_modify_qp(qp_, &attr, IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
                                      IBV_QP_MAX_QP_RD_ATOMIC) == 0, "RTS");
}

void Endpoint::post(ibv_wr_opcode opcode, std::uint64_t remote, std::uint32_t rkey, std::uint32_t length) {
  ibv_sge sge{reinterpret_cast<std::uint64_t>(buffer_), length, mr_->lkey};
  ibv_send_wr wr{}, *bad = nullptr;
  wr.sg_list = &sge;
  wr.num_sge = 1;
  wr.opcode = opcode;
  wr.send_flags = IBV_SEND_SIGNALED;
  wr.wr.rdma = {remote, rkey};
  check(ibv_post_send(qp_, &wr, &bad) == 0, "ibv_post_send");
}

void Endpoint::post_write(std::uint64_t remote, std::uint32_t rkey, std::uint64_t stamp, std::uint32_t length) {
  std::fill_n(buffer_, (length + 7) / 8, stamp);
  post(IBV_WR_RDMA_WRITE, remote, rkey, length);
}

ibv_wc_status Endpoint::complete(int seconds) {
  ibv_wc wc{};
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (ibv_poll_cq(cq_, 1, &wc) == 0) check(std::chrono::steady_clock::now() < deadline, "no completion came");
  return wc.status;
}

ibv_wc_status Endpoint::write(std::uint64_t remote, std::uint32_t rkey, std::uint64_t stamp, std::uint32_t length) {
  post_write(remote, rkey, stamp, length);
  return complete();
}

ibv_wc_status Endpoint::read(std::uint64_t remote, std::uint32_t rkey, std::uint64_t* stamp) {
  post(IBV_WR_RDMA_READ, remote, rkey, 4096);
  const ibv_wc_status status = complete();
  *stamp = buffer_[0];
  return status;
}

}  // namespace mrlease::test
