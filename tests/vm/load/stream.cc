// SPDX-License-Identifier: Apache-2.0
#include "tests/vm/load/stream.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "tests/vm/load/json.h"

namespace mrlease::load {

Stream::Stream(Link& link, StreamOptions options)
    : link_(link), options_(std::move(options)), memory_((kWindow + 1) * kPage), random_(options_.seed) {
  const auto start = reinterpret_cast<std::uintptr_t>(memory_.data());
  buffers_ = memory_.data() + ((kPage - start % kPage) % kPage);
  ibv_device_attr device{};
  if (const int code = ibv_query_device(link_.pd()->context, &device)) throw std::system_error(code, std::generic_category(), "query the device");
  if (device.atomic_cap == IBV_ATOMIC_NONE) options_.atomics = false;
  // iWARP reads into what the remote side may write (RFC 5040, 5.1: the sink is a tagged buffer).
  const bool iwarp = link_.pd()->context->device->transport_type == IBV_TRANSPORT_IWARP;
  mr_ = ibv_reg_mr(link_.pd(), memory_.data(), memory_.size(), IBV_ACCESS_LOCAL_WRITE | (iwarp ? IBV_ACCESS_REMOTE_WRITE : 0));
  if (!mr_) throw std::system_error(errno, std::generic_category(), "register the sender's buffers");
}

Stream::~Stream() {
  ibv_dereg_mr(mr_);
  delete table_;
}

void Stream::run() {
  while (!(leaving_ && in_flight_ == 0)) {
    fill_window();
    if (drain_queue() == 0) link_.wait_completion(10);  // a turn of Stall's
    note_gap(now_ns());
    answer_pauses();
    if (failed_ && in_flight_ == 0) return;
  }
}

int Stream::drain_queue() {
  ibv_wc done[16];
  const int n = ibv_poll_cq(link_.cq(), 16, done);
  for (int i = 0; i < n; ++i) complete(done[i]);
  return n;
}

void Stream::hear(const Message& message) {
  if (message.say == Say::Resume) {
    if (!begun_) {
      table_ = new TableFile(TableFile::create(options_.table, message.length / kPage, options_.unaligned));
      posted_.resize(message.length / kPage);
      begun_ = true;
    } else if (message.rkey != target_.rkey || message.address != target_.address) {
      ++key_changes_;
    }
    target_ = message;
    resume(message.who);
  } else if (message.say == Say::Pause) {
    pause(message.who);
  } else if (message.say == Say::Bye) {
    leaving_ = true;
  }
}

void Stream::pause(std::uint32_t who) {
  if (!stalled()) stall_.begin(now_ns());
  quiet_ |= who;
  owed_ |= who;
}

void Stream::resume(std::uint32_t who) {
  note_gap(now_ns());
  quiet_ &= ~who;
  if (who & kDriver) stall_.begin(now_ns());
}

void Stream::answer_pauses() {
  if (!owed_ || in_flight_ || failed_) return;
  Message message{};
  message.say = Say::Paused;
  message.who = owed_;
  owed_ = 0;
  link_.control().post_send(link_.qp(), message, 0);
}

std::uint64_t Stream::writable_pages() const {
  const std::uint64_t pages = std::min(target_.limit, target_.length) / kPage;
  return std::min(pages, posted_.size() - options_.spare);
}

void Stream::fill_window() {
  for (int i = 0; i < kWindow; ++i) {
    if (!begun_ || quiet_ || leaving_ || failed_ || writable_pages() < 2) return;
    if (!slots_[i].busy && !post(i)) return;
  }
}

void Stream::choose(Slot& slot) {
  const std::uint64_t dice = random_() % 16;
  slot.kind = dice == 0 && options_.atomics ? Kind::Atomic : dice < 3 ? Kind::Read : Kind::Write;
  slot.page = slot.kind == Kind::Atomic ? 0 : 1 + random_() % (writable_pages() - 1);
}

void Stream::prepare(Slot& slot, char* buffer) {
  if (slot.kind == Kind::Write) {
    slot.stamp = make_stamp(++sequence_, slot.page);
    fill(buffer, part_of(slot.page, options_.unaligned).length, slot.stamp);
    posted_[slot.page] = slot.stamp;
  } else if (slot.kind == Kind::Read) {
    slot.stamp = slot.page < options_.floor ? posted_[slot.page] : 0;
  } else {
    slot.stamp = atomics_posted_++;
  }
}

bool Stream::post(int index) {
  Slot& slot = slots_[index];
  choose(slot);
  const Part part = slot.kind == Kind::Atomic ? Part{0, 8} : part_of(slot.page, options_.unaligned);
  char* buffer = buffers_ + index * kPage + part.offset;
  prepare(slot, buffer);
  ibv_sge sge{reinterpret_cast<std::uint64_t>(buffer), part.length, mr_->lkey};
  ibv_send_wr work{}, *bad;
  work.wr_id = static_cast<std::uint64_t>(index);
  work.sg_list = &sge;
  work.num_sge = 1;
  work.send_flags = IBV_SEND_SIGNALED;
  const std::uint64_t address = target_.address + slot.page * kPage + part.offset;
  if (slot.kind == Kind::Atomic) {
    work.opcode = IBV_WR_ATOMIC_FETCH_AND_ADD;
    work.wr.atomic = {address, 1, 0, target_.rkey};
  } else {
    work.opcode = slot.kind == Kind::Read ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE;
    work.wr.rdma = {address, target_.rkey};
  }
  slot.post_ns = now_ns();
  if (in_flight_ == 0) stall_.begin(slot.post_ns);
  if (const int error = ibv_post_send(link_.qp(), &work, &bad)) {
    failed_ = true;
    ++failures_[std::string("post: ") + std::generic_category().message(error)];
    (*table_)->errors++;
    return false;
  }
  slot.busy = true;
  ++in_flight_;
  return true;
}

void Stream::complete(const ibv_wc& wc) {
  if (wc.wr_id & kReceiveBit) {
    const int slot = static_cast<int>(wc.wr_id & 0xffff);
    if (wc.status != IBV_WC_SUCCESS) {
      leaving_ = leaving_ || !begun_;
      failed_ = failed_ || begun_;
      return;
    }
    hear(link_.control().received(slot));
    link_.control().post_receive(link_.qp(), slot);
    return;
  }
  if (wc.wr_id & kControlSendBit) return;
  Slot& slot = slots_[wc.wr_id];
  slot.busy = false;
  if (wc.status != IBV_WC_SUCCESS) {
    failed_ = true;
    ++failures_[ibv_wc_status_str(wc.status)];
    (*table_)->errors++;
  } else {
    if (note_gap(now_ns()) > 20'000'000) ++stalls_over_20ms_;
    finish(slot, buffers_ + wc.wr_id * kPage);
  }
  stall_.begin(now_ns());
  --in_flight_;
}

// The stall: how long no operation completed while some were outstanding, or none was allowed for a lease's sake.
std::uint64_t Stream::note_gap(std::uint64_t now) {
  if (stalled() && !failed_) return stall_.goes_on(now);
  stall_.turn(now);
  return 0;
}

void Stream::finish(Slot& slot, const char* buffer) {
  Table& table = table_->get();
  if (slot.kind == Kind::Write) {
    ++writes_;
    table.acked[slot.page] = {slot.stamp, slot.post_ns, now_ns()};
  } else if (slot.kind == Kind::Read) {
    ++reads_;
    check_read(slot, buffer);
  } else {
    if (word(buffer) != slot.stamp) ++wrong_atomics_;
    ++table.atomics;
  }
  ++table.ops;
}

// A read that was posted after a write on the same connection returns that write, or a later one.
void Stream::check_read(const Slot& slot, const char* buffer) {
  if (slot.page >= options_.floor) return;  // half of a page may have been cut off and grown back
  const Part part = part_of(slot.page, options_.unaligned);
  const std::uint64_t came = word(buffer + part.offset);
  if (!uniform(buffer + part.offset, part.length)) ++torn_reads_;
  if (came < slot.stamp || (came && stamp_page(came) != slot.page)) ++stale_reads_;
}

void Stream::print() const {
  std::string failures;
  for (const auto& [what, count] : failures_)
    failures += (failures.empty() ? "" : "; ") + what + " x " + std::to_string(count);
  Json()
      .add("ops", table_ ? table_->get().ops.load() : 0)
      .add("errors", table_ ? table_->get().errors.load() : 0)
      .add("failures", failures)
      .add("writes", writes_)
      .add("reads", reads_)
      .add("atomics", table_ ? table_->get().atomics.load() : 0)
      .add("stale_reads", stale_reads_)
      .add("torn_reads", torn_reads_)
      .add("wrong_atomics", wrong_atomics_)
      .add("stall_us_max", stall_.longest() / 1000)
      .add("away_us", stall_.away() / 1000)
      .add("stalls_over_20ms", stalls_over_20ms_)
      .add("key_changes", key_changes_)
      .print();
}

}  // namespace mrlease::load
