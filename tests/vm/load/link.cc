// SPDX-License-Identifier: Apache-2.0
#include "tests/vm/load/link.h"

#include <arpa/inet.h>
#include <poll.h>

#include <cerrno>
#include <system_error>

namespace mrlease::load {
namespace {

void check(bool ok, const char* what) {
  if (!ok) throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

ControlBuffers::ControlBuffers(ibv_pd* pd) : in_(kReceives), out_(kSends) {
  in_mr_ = ibv_reg_mr(pd, in_.data(), in_.size() * sizeof(Message), IBV_ACCESS_LOCAL_WRITE);
  out_mr_ = ibv_reg_mr(pd, out_.data(), out_.size() * sizeof(Message), 0);
  check(in_mr_ && out_mr_, "register the control buffers");
}

ControlBuffers::~ControlBuffers() {
  if (in_mr_) ibv_dereg_mr(in_mr_);
  if (out_mr_) ibv_dereg_mr(out_mr_);
}

void ControlBuffers::post_receive(ibv_qp* qp, int slot) {
  ibv_sge sge{reinterpret_cast<std::uint64_t>(&in_[slot]), sizeof(Message), in_mr_->lkey};
  ibv_recv_wr work{}, *bad;
  work.wr_id = kReceiveBit | static_cast<std::uint64_t>(slot);
  work.sg_list = &sge;
  work.num_sge = 1;
  errno = ibv_post_recv(qp, &work, &bad);
  check(errno == 0, "post a receive");
}

void ControlBuffers::post_send(ibv_qp* qp, const Message& message, std::uint64_t wr_id) {
  Message& slot = out_[next_send_++ % kSends];
  slot = message;
  ibv_sge sge{reinterpret_cast<std::uint64_t>(&slot), sizeof(Message), out_mr_->lkey};
  ibv_send_wr work{}, *bad;
  work.wr_id = kControlSendBit | wr_id;
  work.sg_list = &sge;
  work.num_sge = 1;
  work.opcode = IBV_WR_SEND;
  work.send_flags = IBV_SEND_SIGNALED;
  errno = ibv_post_send(qp, &work, &bad);
  check(errno == 0, "send a control message");
}

Link::Link(const LinkOptions& options) : options_(options) {
  auto* in = reinterpret_cast<sockaddr_in*>(&address_);
  in->sin_family = AF_INET;
  in->sin_port = htons(static_cast<std::uint16_t>(std::stoi(options_.port)));
  errno = EINVAL;
  check(inet_pton(AF_INET, options_.address.c_str(), &in->sin_addr) == 1, "read the address");
  events_ = rdma_create_event_channel();
  check(events_, "open the rdma_cm event channel");
}

Link::~Link() {
  if (id_ && id_->qp) rdma_destroy_qp(id_);
  delete control_;
  if (cq_) ibv_destroy_cq(cq_);
  if (comp_) ibv_destroy_comp_channel(comp_);
  if (id_) rdma_destroy_id(id_);
  if (listener_) rdma_destroy_id(listener_);
  if (pd_) ibv_dealloc_pd(pd_);
  if (events_) rdma_destroy_event_channel(events_);
}

void Link::listen() {
  check(!rdma_create_id(events_, &listener_, nullptr, RDMA_PS_TCP), "create an rdma_cm id");
  check(!rdma_bind_addr(listener_, reinterpret_cast<sockaddr*>(&address_)), "bind the address of an RDMA device");
  check(!rdma_listen(listener_, 1), "listen");
  errno = ENODEV;
  check(listener_->verbs, "find the RDMA device of the address");
  pd_ = ibv_alloc_pd(listener_->verbs);
  check(pd_, "allocate a protection domain");
}

void Link::make_queue_pair() {
  comp_ = ibv_create_comp_channel(id_->verbs);
  check(comp_, "create a completion channel");
  cq_ = ibv_create_cq(id_->verbs, 256, nullptr, comp_, 0);
  check(cq_, "create a completion queue");
  ibv_qp_init_attr attr{};
  attr.send_cq = attr.recv_cq = cq_;
  attr.qp_type = IBV_QPT_RC;
  attr.cap = {static_cast<std::uint32_t>(options_.sends), ControlBuffers::kReceives, 1, 1, 0};
  check(!rdma_create_qp(id_, pd_, &attr), "create a queue pair");
  control_ = new ControlBuffers(pd_);
  for (int i = 0; i < ControlBuffers::kReceives; ++i) control_->post_receive(id_->qp, i);
  check(!ibv_req_notify_cq(cq_, 0), "ask for completions");
}

rdma_cm_id* Link::expect(rdma_cm_event_type type) {
  rdma_cm_event* event;
  check(!rdma_get_cm_event(events_, &event), "wait for rdma_cm");
  const rdma_cm_event_type came = event->event;
  rdma_cm_id* id = event->id;
  const int status = event->status;
  rdma_ack_cm_event(event);
  if (came == type) return id;
  throw std::system_error(status ? std::abs(status) : EPROTO, std::generic_category(),
                          std::string("rdma_cm said ") + rdma_event_str(came) + " instead of " + rdma_event_str(type));
}

void Link::accept() {
  id_ = expect(RDMA_CM_EVENT_CONNECT_REQUEST);
  make_queue_pair();
  rdma_conn_param param{};
  param.responder_resources = param.initiator_depth = 4;
  param.rnr_retry_count = 7;
  check(!rdma_accept(id_, &param), "accept");
  expect(RDMA_CM_EVENT_ESTABLISHED);
}

void Link::connect() {
  check(!rdma_create_id(events_, &id_, nullptr, RDMA_PS_TCP), "create an rdma_cm id");
  check(!rdma_resolve_addr(id_, nullptr, reinterpret_cast<sockaddr*>(&address_), 2000), "resolve the address");
  expect(RDMA_CM_EVENT_ADDR_RESOLVED);
  check(!rdma_set_option(id_, RDMA_OPTION_ID, RDMA_OPTION_ID_ACK_TIMEOUT, &options_.timeout, 1), "set the timeout");
  check(!rdma_resolve_route(id_, 2000), "resolve the route");
  expect(RDMA_CM_EVENT_ROUTE_RESOLVED);
  pd_ = ibv_alloc_pd(id_->verbs);
  check(pd_, "allocate a protection domain");
  make_queue_pair();
  rdma_conn_param param{};
  param.responder_resources = param.initiator_depth = 4;
  param.retry_count = options_.retry_count;
  param.rnr_retry_count = 7;
  check(!rdma_connect(id_, &param), "connect");
  expect(RDMA_CM_EVENT_ESTABLISHED);
}

void Link::disconnect() {
  if (id_) rdma_disconnect(id_);
}

void Link::wait_completion(int timeout_ms) {
  pollfd fd{comp_->fd, POLLIN, 0};
  if (poll(&fd, 1, timeout_ms) <= 0) return;
  ibv_cq* cq;
  void* context;
  if (ibv_get_cq_event(comp_, &cq, &context)) return;
  ibv_ack_cq_events(cq, 1);
  ibv_req_notify_cq(cq, 0);
}

}  // namespace mrlease::load
