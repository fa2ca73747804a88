// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/client/fake_link.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

namespace mrlease::client {
namespace {
std::mutex mutex;  // of all ends
}

struct FakeLinkCalls {
  static FakeEnd& end_of(ibv_qp* qp) { return *static_cast<FakeEnd*>(qp->qp_context); }
  static FakeEnd& end_of(ibv_cq* cq) { return *static_cast<FakeEnd*>(cq->cq_context); }

  static int post_send(ibv_qp* qp, ibv_send_wr* work, ibv_send_wr**) {
    std::lock_guard lock(mutex);
    const auto* at = reinterpret_cast<const unsigned char*>(work->sg_list[0].addr);
    send(end_of(qp), work->wr_id, {at, at + work->sg_list[0].length});
    return 0;
  }
  static void send(FakeEnd& from, std::uint64_t wr_id, std::vector<unsigned char> bytes) {
    FakeEnd& to = *from.other_;
    if (from.error_) return from.complete(wr_id, IBV_WC_WR_FLUSH_ERR);
    if (to.error_) {
      from.complete(wr_id, IBV_WC_RETRY_EXC_ERR);
      return from.end();
    }
    to.arriving_.push_back({&from, wr_id, std::move(bytes)});
    to.deliver();
  }
  static int post_recv(ibv_qp* qp, ibv_recv_wr* work, ibv_recv_wr**) {
    std::lock_guard lock(mutex);
    FakeEnd& end = end_of(qp);
    if (end.receives_.size() >= end.cap.max_recv_wr) return ENOMEM;
    end.receives_.push_back(*work);
    end.pieces_.push_back(work->sg_list[0]);
    end.deliver();
    return 0;
  }
  static int poll_cq(ibv_cq* cq, int most, ibv_wc* out) {
    std::lock_guard lock(mutex);
    FakeEnd& end = end_of(cq);
    int n = 0;
    for (; n < most && !end.done_.empty(); n++, end.done_.pop_front()) out[n] = end.done_.front();
    return n;
  }
  static int req_notify_cq(ibv_cq* cq, int) {
    std::lock_guard lock(mutex);
    end_of(cq).armed_ = true;
    return 0;
  }
  static int modify(ibv_qp* qp, const ibv_qp_attr& change, int mask) {
    std::lock_guard lock(mutex);
    if (change.qp_state == IBV_QPS_ERR) end_of(qp).end();
    if (end_of(qp).error_ && change.qp_state != IBV_QPS_ERR) return EINVAL;
    if ((mask & IBV_QP_MIN_RNR_TIMER) != 0) end_of(qp).min_rnr_timer = change.min_rnr_timer;
    return 0;
  }
  static int query(ibv_qp* qp, ibv_qp_attr* attributes) {
    std::lock_guard lock(mutex);
    attributes->cap = end_of(qp).cap;
    attributes->qp_state = end_of(qp).error_ ? IBV_QPS_ERR : IBV_QPS_RTS;
    return 0;
  }
};

FakeEnd::FakeEnd(FakeDevice& device) : ready_(::eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE)) {
  device.context.ops.poll_cq = FakeLinkCalls::poll_cq;
  device.context.ops.req_notify_cq = FakeLinkCalls::req_notify_cq;
  device.context.ops.post_send = FakeLinkCalls::post_send;
  device.context.ops.post_recv = FakeLinkCalls::post_recv;
  qp.context = cq.context = channel.context = &device.context;
  qp.qp_context = cq.cq_context = this;
  qp.pd = &device.pd;
  qp.send_cq = qp.recv_cq = &cq;
  qp.qp_type = IBV_QPT_RC;
  cq.channel = &channel;
  channel.fd = ready_.get();
}

void FakeEnd::connect(FakeEnd& a, FakeEnd& b) {
  a.other_ = &b;
  b.other_ = &a;
}

bool FakeEnd::in_error() {
  std::lock_guard lock(mutex);
  return error_;
}

void FakeEnd::send_raw(std::vector<unsigned char> bytes) {
  std::lock_guard lock(mutex);
  FakeLinkCalls::send(*this, 0, std::move(bytes));
}

void FakeEnd::complete(std::uint64_t wr_id, ibv_wc_status status, std::size_t bytes) {
  ibv_wc wc{};
  wc.wr_id = wr_id;
  wc.status = status;
  wc.byte_len = static_cast<std::uint32_t>(bytes);
  done_.push_back(wc);
  const std::uint64_t one = 1;
  if (std::exchange(armed_, false)) (void)!::write(ready_.get(), &one, sizeof one);
}

void FakeEnd::deliver() {
  while (!arriving_.empty() && !receives_.empty()) {
    const Send sent = std::move(arriving_.front());
    const ibv_sge into = pieces_.front();
    const std::uint64_t wr_id = receives_.front().wr_id;
    arriving_.pop_front();
    pieces_.pop_front();
    receives_.pop_front();
    const bool fits = sent.bytes.size() <= into.length;
    if (fits) std::copy(sent.bytes.begin(), sent.bytes.end(), reinterpret_cast<unsigned char*>(into.addr));
    sent.from->complete(sent.wr_id, fits ? IBV_WC_SUCCESS : IBV_WC_REM_INV_REQ_ERR);
    complete(wr_id, fits ? IBV_WC_SUCCESS : IBV_WC_LOC_LEN_ERR, sent.bytes.size());
  }
}

void FakeEnd::end() {
  if (std::exchange(error_, true)) return;
  for (const ibv_recv_wr& work : receives_) complete(work.wr_id, IBV_WC_WR_FLUSH_ERR);
  receives_.clear();
  pieces_.clear();
  arriving_.clear();
}

}  // namespace mrlease::client

using mrlease::client::FakeLinkCalls;

extern "C" {

int ibv_modify_qp(ibv_qp* qp, ibv_qp_attr* change, int mask) { return FakeLinkCalls::modify(qp, *change, mask); }
int ibv_query_qp(ibv_qp* qp, ibv_qp_attr* attributes, int, ibv_qp_init_attr*) { return FakeLinkCalls::query(qp, attributes); }
int ibv_get_cq_event(ibv_comp_channel* channel, ibv_cq** cq, void**) {
  std::uint64_t one;
  *cq = nullptr;
  return ::read(channel->fd, &one, sizeof one) == sizeof one ? 0 : -1;
}
void ibv_ack_cq_events(ibv_cq*, unsigned) {}
const char* ibv_wc_status_str(ibv_wc_status status) { return status == IBV_WC_WR_FLUSH_ERR ? "flushed" : "failed"; }

}  // extern "C"
