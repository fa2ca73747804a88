// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/verbs/loopback.h"

#include <infiniband/verbs.h>
#include <sys/mman.h>

#include <array>
#include <chrono>
#include <thread>

namespace mrlease::client::verbs {
namespace {

constexpr int kTarget = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE;

struct Path {
  ibv_port_attr port{};
  bool global = false;
  ibv_gid gid{};
  std::uint8_t gid_index = 0;
};

bool is_ipv4(const ibv_gid& gid) {
  for (int i = 0; i < 10; i++) {
    if (gid.raw[i] != 0) return false;
  }
  return gid.raw[10] == 0xff && gid.raw[11] == 0xff;
}

// Prefers RoCE v2 over IPv4, then any RoCE v2, then any.
Outcome find_path(ibv_context* device, Path* path) {
  if (ibv_query_port(device, 1, &path->port) != 0) return from_errno("ibv_query_port of port 1");
  if (path->port.state != IBV_PORT_ACTIVE) return {ENETDOWN, "port 1 of the device is not active"};
  if (path->port.link_layer == IBV_LINK_LAYER_INFINIBAND) return {};
  path->global = true;
  std::array<ibv_gid_entry, 256> entries;
  const ssize_t n = ibv_query_gid_table(device, entries.data(), entries.size(), 0);
  int best = -1;
  for (ssize_t i = 0; i < n; i++) {
    const ibv_gid_entry& e = entries[static_cast<std::size_t>(i)];
    if (e.port_num != 1) continue;
    const int rank = e.gid_type != IBV_GID_TYPE_ROCE_V2 ? 0 : is_ipv4(e.gid) ? 2 : 1;
    if (rank <= best) continue;
    best = rank;
    path->gid = e.gid;
    path->gid_index = static_cast<std::uint8_t>(e.gid_index);
  }
  if (best < 0) return {EADDRNOTAVAIL, "port 1 of the device has no GID: give its network interface an address"};
  return {};
}

Outcome modify(ibv_qp* qp, ibv_qp_attr* attributes, int mask, const char* state) {
  const int code = ibv_modify_qp(qp, attributes, mask);
  return code == 0 ? Outcome{} : from_errno(std::string("ibv_modify_qp to ") + state, code);
}

Outcome connect(ibv_qp* qp, std::uint32_t peer, const Path& path) {
  ibv_qp_attr a{};
  a.qp_state = IBV_QPS_INIT;
  a.port_num = 1;
  a.qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
  Outcome o = modify(qp, &a, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS, "INIT");
  if (!o.ok()) return o;
  a = {};
  a.qp_state = IBV_QPS_RTR;
  a.path_mtu = path.port.active_mtu;
  a.dest_qp_num = peer;
  a.max_dest_rd_atomic = 1;
  a.min_rnr_timer = 12;  // 0.64 ms; 0 would be 655 ms
  a.ah_attr.port_num = 1;
  a.ah_attr.dlid = path.port.lid;
  if (path.global) {
    a.ah_attr.is_global = 1;
    a.ah_attr.grh.dgid = path.gid;
    a.ah_attr.grh.sgid_index = path.gid_index;
    a.ah_attr.grh.hop_limit = 1;
  }
  o = modify(qp, &a,
             IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC |
                 IBV_QP_MIN_RNR_TIMER,
             "RTR");
  if (!o.ok()) return o;
  a = {};
  a.qp_state = IBV_QPS_RTS;
  a.timeout = 14;
  a.retry_cnt = 7;
  a.rnr_retry = 7;
  a.max_rd_atomic = 1;
  return modify(
      qp, &a,
      IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC,
      "RTS");
}

}  // namespace

struct Loopback::Impl {
  ibv_pd* pd = nullptr;
  ibv_cq* cq = nullptr;
  ibv_qp* from = nullptr;
  ibv_qp* to = nullptr;
  unsigned char* source = nullptr;
  Mr source_mr;

  ~Impl() {
    if (from != nullptr) ibv_destroy_qp(from);
    if (to != nullptr) ibv_destroy_qp(to);
    if (source_mr.mr != nullptr) ibv_dereg_mr(source_mr.mr);
    if (cq != nullptr) ibv_destroy_cq(cq);
    if (pd != nullptr) ibv_dealloc_pd(pd);
    if (source != nullptr) ::munmap(source, kSource);
  }
  ibv_qp* make_qp() {
    ibv_qp_init_attr a{};
    a.send_cq = a.recv_cq = cq;
    a.cap = {4, 4, 1, 1, 0};
    a.qp_type = IBV_QPT_RC;
    return ibv_create_qp(pd, &a);
  }
};

Loopback::Loopback() : impl_(std::make_unique<Impl>()) {}
Loopback::~Loopback() = default;
ibv_pd* Loopback::pd() const { return impl_->pd; }
const unsigned char* Loopback::source() const { return impl_->source; }

Outcome Loopback::create(ibv_context* device, std::unique_ptr<Loopback>* out) {
  std::unique_ptr<Loopback> made(new Loopback);
  Impl& i = *made->impl_;
  Path path;
  Outcome o = find_path(device, &path);
  if (!o.ok()) return o;
  if ((i.pd = ibv_alloc_pd(device)) == nullptr) return from_errno("ibv_alloc_pd");
  if ((i.cq = ibv_create_cq(device, 16, nullptr, nullptr, 0)) == nullptr) return from_errno("ibv_create_cq");
  void* memory = ::mmap(nullptr, kSource, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return from_errno("mmap");
  i.source = static_cast<unsigned char*>(memory);
  for (std::size_t k = 0; k < kSource; k++) i.source[k] = static_cast<unsigned char>(1 + k % 251);
  if (!(o = register_mr(i.pd, i.source, kSource, IBV_ACCESS_LOCAL_WRITE, false, &i.source_mr)).ok()) return o;
  if ((i.from = i.make_qp()) == nullptr || (i.to = i.make_qp()) == nullptr) return from_errno("ibv_create_qp");
  if (!(o = connect(i.from, i.to->qp_num, path)).ok()) return o;
  if (!(o = connect(i.to, i.from->qp_num, path)).ok()) return o;
  *out = std::move(made);
  return {};
}

Outcome Loopback::write(std::uint64_t address, std::uint32_t rkey, std::size_t length) {
  ibv_sge piece{reinterpret_cast<std::uint64_t>(impl_->source), static_cast<std::uint32_t>(length),
                impl_->source_mr.lkey};
  ibv_send_wr request{};
  request.sg_list = &piece;
  request.num_sge = 1;
  request.opcode = IBV_WR_RDMA_WRITE;
  request.send_flags = IBV_SEND_SIGNALED;
  request.wr.rdma = {address, rkey};
  ibv_send_wr* bad = nullptr;
  if (const int code = ibv_post_send(impl_->from, &request, &bad); code != 0) return from_errno("ibv_post_send", code);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  ibv_wc completion{};
  for (int n = 0; n == 0;) {
    n = ibv_poll_cq(impl_->cq, 1, &completion);
    if (n < 0) return {EIO, "ibv_poll_cq failed"};
    if (n == 0 && std::chrono::steady_clock::now() > deadline) return {ETIMEDOUT, "no completion within 5 s"};
    if (n == 0) std::this_thread::yield();
  }
  if (completion.status != IBV_WC_SUCCESS) return {EIO, ibv_wc_status_str(completion.status)};
  return {};
}

Outcome register_target(ibv_pd* pd, void* address, std::size_t length, bool on_demand, Mr* out) {
  return register_mr(pd, address, length, kTarget, on_demand, out);
}

}  // namespace mrlease::client::verbs
