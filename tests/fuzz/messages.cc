// SPDX-License-Identifier: Apache-2.0
// What the library says: whatever its arguments are, the daemon's side of the wire reads the same. And merges() asks for every
// range, once, within the limits.
#include <fuzzer/FuzzedDataProvider.h>

#include <string>
#include <vector>

#include "client-lib/src/protocol/frames.h"
#include "tests/fuzz/fuzz.h"

using namespace mrlease;
using namespace mrlease::client;
using protocol::FileRange;

namespace {

wire::Frame read_by_daemon(const wire::Frame& sent) {
  const std::string packet = wire::encode(sent);
  must(!packet.empty(), "a message larger than a packet");
  wire::Frame got;
  std::string error;
  must(wire::decode(packet, wire::fds_expected(sent).min, &got, &error), "the daemon refuses what the library says");
  return got;
}

void check_register(FuzzedDataProvider& in) {
  protocol::LeaseRequest r;
  r.range = {in.ConsumeIntegral<std::uint64_t>(), in.ConsumeIntegral<std::uint64_t>()};
  r.write = in.ConsumeBool();
  r.backing = static_cast<wire::v1::Backing>(in.ConsumeIntegralInRange(0, 4));
  r.share = in.ConsumeBool();
  r.preserve_orphans = in.ConsumeBool();
  r.peer_budget_ms = in.ConsumeIntegral<std::uint32_t>();
  r.reclaim = in.ConsumeBool();
  r.on_file_end = in.ConsumeIntegral<std::uint64_t>();
  wire::Frame got = read_by_daemon(protocol::register_lease(r));
  if (kPlanted && r.reclaim) got.mutable_register_()->set_on_file_end(0);
  const auto& g = got.register_();
  must(g.range().offset() == r.range.offset && g.range().length() == r.range.length && g.write() == r.write &&
           g.backing() == r.backing && g.share() == r.share && g.preserve_orphans() == r.preserve_orphans &&
           g.peer_budget_ms() == r.peer_budget_ms && g.reclaim() == r.reclaim && g.on_file_end() == r.on_file_end,
       "register");
}

void check_mr(FuzzedDataProvider& in) {
  const auto lease = in.ConsumeIntegral<std::uint64_t>();
  const protocol::MrIdentity mr{in.ConsumeIntegral<std::uint32_t>(), in.ConsumeIntegral<std::uint32_t>(),
                                in.ConsumeIntegral<std::uint32_t>(), in.ConsumeIntegral<std::uint32_t>(),
                                in.ConsumeIntegral<std::uint64_t>(), in.ConsumeIntegral<std::uint64_t>()};
  const wire::Frame added = read_by_daemon(protocol::add_mr(lease, mr));
  const auto& a = added.add_mr();
  must(a.lease() == lease && a.device() == mr.device && a.handle() == mr.handle && a.lkey() == mr.lkey && a.rkey() == mr.rkey &&
           a.address() == mr.address && a.length() == mr.length,
       "add_mr");
  const wire::Frame removed = read_by_daemon(protocol::remove_mr(lease, mr.device, mr.handle));
  must(removed.remove_mr().lease() == lease && removed.remove_mr().handle() == mr.handle, "remove_mr");
}

// Sorted, without overlaps, as a scan of the page map gives them.
void check_merges(FuzzedDataProvider& in) {
  std::vector<FileRange> ranges, expected, got;
  std::uint64_t at = in.ConsumeIntegral<std::uint32_t>();
  const bool many = in.ConsumeBool();
  while (in.remaining_bytes() > 1) {
    at += in.ConsumeIntegralInRange<std::uint64_t>(0, 3) * 4096;
    const std::uint64_t length = in.ConsumeIntegralInRange<std::uint64_t>(0, 3) * 4096;
    for (int copies = many ? 64 : 1; copies > 0; copies--, at += length + (many ? 4096 : 0)) ranges.push_back({at, length});
  }
  for (const FileRange& r : ranges) {
    if (r.length == 0) continue;
    if (!expected.empty() && expected.back().offset + expected.back().length == r.offset) expected.back().length += r.length;
    else expected.push_back(r);
  }
  const std::vector<wire::Frame> frames = protocol::merges(7, 8, ranges);
  for (const wire::Frame& f : frames) {
    const wire::Frame read = read_by_daemon(f);
    must(read.merge().lease() == 7 && read.merge().store() == 8, "merge: of another store");
    for (const auto& r : read.merge().ranges()) got.push_back({r.offset(), r.length()});
  }
  must(got == expected, "merges: not the ranges that were asked for");
}

void check_text(FuzzedDataProvider& in) {
  const auto recall = in.ConsumeIntegral<std::uint64_t>();
  const auto code = in.ConsumeIntegral<int>();
  const std::string text = in.ConsumeRemainingBytesAsString();
  const wire::Frame done = protocol::recall_done(recall, {code, text});
  if (wire::encode(done).empty()) return;
  wire::Frame got;
  std::string error;
  if (!wire::decode(wire::encode(done), 0, &got, &error)) return;  // proto3: a text that is not UTF-8
  must(got.recall_done().recall() == recall && got.recall_done().code() == code && got.recall_done().message() == text, "recall_done");
}

}  // namespace

FUZZ(data, size) {
  FuzzedDataProvider in(data, size);
  switch (in.ConsumeIntegralInRange(0, 3)) {
    case 0: check_register(in); break;
    case 1: check_mr(in); break;
    case 2: check_merges(in); break;
    default: check_text(in); break;
  }
  return 0;
}
