// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/protocol/frames.h"

namespace mrlease::client::protocol {

Frame hello(const std::string& program) {
  Frame f;
  f.mutable_hello()->set_version_min(wire::kVersionMin);
  f.mutable_hello()->set_version_max(wire::kVersionMax);
  f.mutable_hello()->set_program(program);
  return f;
}

Frame resumed(const std::vector<std::uint64_t>& waiting, std::uint64_t start) {
  Frame f;
  f.mutable_resumed()->set_start(start);
  f.mutable_resumed()->mutable_waiting()->Add(waiting.begin(), waiting.end());
  return f;
}

Frame add_device(const std::string& name, std::uint32_t driver_id, std::uint32_t device) {
  Frame f;
  f.mutable_add_device()->set_name(name);
  f.mutable_add_device()->set_driver_id(driver_id);
  f.mutable_add_device()->set_device(device);
  return f;
}

Frame reclaimed() {
  Frame f;
  f.mutable_reclaimed();
  return f;
}

Frame add_userfaultfd() {
  Frame f;
  f.mutable_add_userfaultfd();
  return f;
}

Frame register_lease(const LeaseRequest& request) {
  Frame f;
  auto* r = f.mutable_register_();
  r->mutable_range()->set_offset(request.range.offset);
  r->mutable_range()->set_length(request.range.length);
  r->set_write(request.write);
  r->set_backing(request.backing);
  r->set_share(request.share);
  r->set_preserve_orphans(request.preserve_orphans);
  r->set_peer_budget_ms(request.peer_budget_ms);
  r->set_reclaim(request.reclaim);
  r->set_on_file_end(request.on_file_end);
  return f;
}

Frame name_mapped(std::uint64_t address) {
  Frame f;
  f.mutable_name_mapped()->set_address(address);
  return f;
}

Frame add_mr(std::uint64_t lease, const MrIdentity& mr) {
  Frame f;
  auto* a = f.mutable_add_mr();
  a->set_lease(lease);
  a->set_device(mr.device);
  a->set_handle(mr.handle);
  a->set_lkey(mr.lkey);
  a->set_rkey(mr.rkey);
  a->set_address(mr.address);
  a->set_length(mr.length);
  return f;
}

Frame remove_mr(std::uint64_t lease, std::uint32_t device, std::uint32_t handle) {
  Frame f;
  f.mutable_remove_mr()->set_lease(lease);
  f.mutable_remove_mr()->set_device(device);
  f.mutable_remove_mr()->set_handle(handle);
  return f;
}

Frame release(std::uint64_t lease) {
  Frame f;
  f.mutable_release()->set_lease(lease);
  return f;
}

Frame extend(std::uint64_t lease) {
  Frame f;
  f.mutable_extend()->set_lease(lease);
  return f;
}

Frame recall_done(std::uint64_t recall, const Outcome& outcome, bool deregistered) {
  Frame f;
  f.mutable_recall_done()->set_recall(recall);
  f.mutable_recall_done()->set_code(outcome.code);
  f.mutable_recall_done()->set_message(outcome.text);
  f.mutable_recall_done()->set_deregistered(deregistered);
  return f;
}

namespace {
void set_range(wire::v1::Range* to, FileRange from) {
  to->set_offset(from.offset);
  to->set_length(from.length);
}
}  // namespace

Frame sync_file(FileRange range, bool failed) {
  Frame f;
  f.mutable_sync_file()->set_failed(failed);
  set_range(f.mutable_sync_file()->mutable_range(), range);
  return f;
}

Frame freeze_file(FileRange range, std::uint32_t hold_ms) {
  Frame f;
  set_range(f.mutable_freeze_file()->mutable_range(), range);
  f.mutable_freeze_file()->set_hold_ms(hold_ms);
  return f;
}

Frame thaw_file(std::uint64_t freeze) {
  Frame f;
  f.mutable_thaw_file()->set_freeze(freeze);
  return f;
}

std::vector<Frame> merges(std::uint64_t lease, std::uint64_t store, const std::vector<FileRange>& ranges) {
  std::vector<Frame> out;
  wire::v1::Range* last = nullptr;
  for (const FileRange& r : ranges) {
    if (r.length == 0) continue;
    if (last != nullptr && last->offset() + last->length() == r.offset) {
      last->set_length(last->length() + r.length);
      continue;
    }
    if (out.empty() || out.back().merge().ranges_size() == static_cast<int>(wire::kRangesMax)) {
      out.emplace_back();
      out.back().mutable_merge()->set_lease(lease);
      out.back().mutable_merge()->set_store(store);
    }
    last = out.back().mutable_merge()->add_ranges();
    set_range(last, r);
  }
  return out;
}

std::vector<Frame> of_orphans(std::vector<Frame> merges, std::uint64_t begin) {
  for (Frame& f : merges) {
    f.mutable_merge()->set_orphans(true);
    f.mutable_merge()->set_begin(begin);
  }
  return merges;
}

Outcome expect(const Frame& reply, Frame::BodyCase wanted) {
  if (reply.has_status()) {
    const int code = reply.status().code();
    if (code < 0 || code > 4095) {  // MAX_ERRNO, include/linux/err.h
      return {EPROTO, "mrleased answered with " + std::to_string(code) + ", which is no errno value"};
    }
    if (code != 0) return {code, reply.status().message().empty() ? std::strerror(code) : reply.status().message()};
  }
  if (reply.body_case() == wanted) return {};
  return {EPROTO, "mrleased answered with message " + std::to_string(reply.body_case()) + " instead of " +
                      std::to_string(wanted) + "; library and daemon may be of different versions"};
}

Outcome check_recall(const wire::v1::Recall& recall) {
  if (recall.action() <= wire::v1::ACTION_NONE || recall.action() > wire::v1::ACTION_RELEASE) {
    return {EOPNOTSUPP, "this library does not know recall action " + std::to_string(recall.action())};
  }
  if (recall.offset() + recall.length() < recall.offset()) {
    return {EINVAL, "a recall of " + std::to_string(recall.length()) + " bytes at " + std::to_string(recall.offset()) +
                        " overflows"};
  }
  return {};
}

const char* guard_name(wire::v1::Guard guard) {
  switch (guard) {
    case wire::v1::GUARD_PRECONTENT:
      return "precontent";
    case wire::v1::GUARD_LEASE:
      return "lease";
    case wire::v1::GUARD_SEAL:
      return "seal";
    case wire::v1::GUARD_OBSERVE:
      return "observe";
    default:
      return "none";
  }
}

}  // namespace mrlease::client::protocol
