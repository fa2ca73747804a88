// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/verbs/message_queue.h"

#include <fcntl.h>
#include <infiniband/verbs.h>

#include <algorithm>

namespace mrlease::client::verbs {
namespace {

constexpr std::uint64_t kReceive = 1ull << 63;  // in wr_id, beside the slot

// The event that woke us is for the next poll(2): without it the descriptor stays readable.
void take_event(ibv_comp_channel* channel) {
  ibv_cq* cq = nullptr;
  void* context = nullptr;
  while (ibv_get_cq_event(channel, &cq, &context) == 0) ibv_ack_cq_events(cq, 1);
}

}  // namespace

Outcome MessageQueue::create(ibv_qp* qp, bool connected, std::unique_ptr<MessageQueue>* out) {
  std::unique_ptr<MessageQueue> made(new MessageQueue(qp));
  Outcome o = made->check(connected);
  if (o.ok()) o = made->set_up();
  if (o.ok()) *out = std::move(made);
  return o;
}

Outcome MessageQueue::check(bool connected) const {
  const std::string name = "queue pair " + std::to_string(qp_->qp_num);
  if (qp_->qp_type != IBV_QPT_RC) return {EINVAL, name + " is not of a reliable connection (IBV_QPT_RC)"};
  if (qp_->srq != nullptr) return {EINVAL, name + " has a shared receive queue; messages need receives of their own"};
  if (qp_->send_cq == nullptr || qp_->recv_cq == nullptr || qp_->send_cq->channel == nullptr ||
      qp_->recv_cq->channel == nullptr) {
    return {EINVAL, name + " has a completion queue without a completion channel (ibv_create_comp_channel)"};
  }
  ibv_qp_attr now{};
  ibv_qp_init_attr made{};
  const int code = ibv_query_qp(qp_, &now, IBV_QP_STATE | IBV_QP_CAP, &made);
  if (code != 0) return from_errno("ibv_query_qp", code);
  const ibv_qp_cap& has = now.cap;
  if (has.max_send_wr < kDepth || has.max_recv_wr < kDepth || has.max_send_sge < 1 || has.max_recv_sge < 1) {
    return {EINVAL, name + " has room for " + std::to_string(has.max_send_wr) + " sends and " + std::to_string(has.max_recv_wr) +
                        " receives; messages need " + std::to_string(kDepth) + " of each, of one piece"};
  }
  if (now.qp_state == IBV_QPS_RTS) return {};
  if (connected) return {EINVAL, name + " is not connected: its state is not RTS"};
  if (now.qp_state != IBV_QPS_INIT && now.qp_state != IBV_QPS_RTR) {
    return {EINVAL, name + " is neither connected nor about to be: its state is none of INIT, RTR and RTS"};
  }
  return {};
}

Outcome MessageQueue::set_up() {
  Outcome o = register_mr(qp_->pd, buffer_.data(), buffer_.size(), IBV_ACCESS_LOCAL_WRITE, false, &mr_);
  if (o.ok()) o = watch(qp_->send_cq);
  if (o.ok() && qp_->recv_cq != qp_->send_cq) o = watch(qp_->recv_cq);
  for (std::uint32_t slot = 0; o.ok() && slot < kDepth; slot++) o = post_receive(slot);
  return o;
}

Outcome MessageQueue::watch(ibv_cq* cq) {
  const int fd = cq->channel->fd;
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0) return from_errno("O_NONBLOCK for the completion channel");
  if (const int code = ibv_req_notify_cq(cq, 0); code != 0) return from_errno("ibv_req_notify_cq", code);
  cqs_.push_back(cq);
  if (std::find(fds_.begin(), fds_.end(), fd) == fds_.end()) fds_.push_back(fd);
  return {};
}

MessageQueue::~MessageQueue() {
  if (mr_.mr == nullptr) return;
  end_queue_pair(qp_);
  // An event that is not acknowledged would hang ibv_destroy_cq().
  for (ibv_cq* cq : cqs_) take_event(cq->channel);
  (void)deregister_mr(mr_.mr);
}

// Who sends more than we have receives for is refused, and tries again after our min_rnr_timer. rdma_cm leaves that at 0, which
// is 655 ms, longer than a recall has time for. Can be set from RTS on; until then once more with the next completion.
void MessageQueue::shorten_refusals() {
  ibv_qp_attr change{};
  change.qp_state = IBV_QPS_RTS;
  change.min_rnr_timer = 12;  // 0.64 ms
  refusals_short_ = ibv_modify_qp(qp_, &change, IBV_QP_STATE | IBV_QP_MIN_RNR_TIMER) == 0;
}

Outcome MessageQueue::post_receive(std::uint32_t slot) {
  ibv_sge piece{reinterpret_cast<std::uint64_t>(slot_at(slot)), kBytesMax, mr_.lkey};
  ibv_recv_wr work{}, *bad = nullptr;
  work.wr_id = kReceive | slot;
  work.sg_list = &piece;
  work.num_sge = 1;
  const int code = ibv_post_recv(qp_, &work, &bad);
  return code == 0 ? Outcome{} : from_errno("ibv_post_recv of a control message", code);
}

Outcome MessageQueue::post_send(std::span<const unsigned char> bytes) {
  const std::uint32_t slot = kDepth + next_send_;
  std::copy(bytes.begin(), bytes.end(), slot_at(slot));
  ibv_sge piece{reinterpret_cast<std::uint64_t>(slot_at(slot)), static_cast<std::uint32_t>(bytes.size()), mr_.lkey};
  ibv_send_wr work{}, *bad = nullptr;
  work.sg_list = &piece;
  work.num_sge = 1;
  work.opcode = IBV_WR_SEND;
  work.send_flags = IBV_SEND_SIGNALED;
  if (const int code = ibv_post_send(qp_, &work, &bad); code != 0) return from_errno("ibv_post_send of a control message", code);
  // Sends complete in their order, so the oldest slot is the next that is free.
  next_send_ = (next_send_ + 1) % kDepth;
  in_flight_++;
  return {};
}

Outcome MessageQueue::send(std::span<const unsigned char> bytes) {
  if (bytes.size() > kBytesMax) return {EMSGSIZE, "a control message of " + std::to_string(bytes.size()) + " bytes"};
  if (in_flight_ < kDepth && waiting_.empty()) return post_send(bytes);
  if (waiting_.size() >= kWaitingMax) return {ENOBUFS, std::to_string(kWaitingMax) + " messages wait for the other end"};
  waiting_.emplace_back(bytes.begin(), bytes.end());
  return {};
}

Outcome MessageQueue::send_waiting() {
  while (!waiting_.empty() && in_flight_ < kDepth) {
    Outcome o = post_send(waiting_.front());
    if (!o.ok()) return o;
    waiting_.pop_front();
  }
  return {};
}

Outcome MessageQueue::take(const std::function<void(std::span<const unsigned char>)>& hear) {
  for (ibv_cq* cq : cqs_) {
    take_event(cq->channel);
    // Before the poll: what completes after it rings again.
    if (const int code = ibv_req_notify_cq(cq, 0); code != 0) return from_errno("ibv_req_notify_cq", code);
  }
  for (ibv_cq* cq : cqs_) {
    Outcome o = poll(cq, hear);
    if (!o.ok()) return o;
  }
  return send_waiting();
}

// All that was there when notifications were asked for: no more can be outstanding. What completes during this rings again, so
// no flood keeps the caller here.
Outcome MessageQueue::poll(ibv_cq* cq, const std::function<void(std::span<const unsigned char>)>& hear) {
  ibv_wc done[2 * kDepth];
  const int n = ibv_poll_cq(cq, 2 * kDepth, done);
  if (n < 0) return {ENOTCONN, "ibv_poll_cq failed"};
  for (int i = 0; i < n; i++) {
    if (done[i].status != IBV_WC_SUCCESS) return {ENOTCONN, ibv_wc_status_str(done[i].status)};
    if (!refusals_short_) shorten_refusals();
    if ((done[i].wr_id & kReceive) == 0) {
      in_flight_--;
      continue;
    }
    const auto slot = static_cast<std::uint32_t>(done[i].wr_id & ~kReceive);
    hear({slot_at(slot), done[i].byte_len});
    Outcome o = post_receive(slot);
    if (!o.ok()) return {ENOTCONN, o.text};
  }
  return {};
}

void end_queue_pair(ibv_qp* qp) {
  ibv_qp_attr end{};
  end.qp_state = IBV_QPS_ERR;
  (void)ibv_modify_qp(qp, &end, IBV_QP_STATE);
}

}  // namespace mrlease::client::verbs
