// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/views.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "daemon/ctl/format.h"

namespace mrlease::ctl {

using ::testing::HasSubstr;
using ::testing::Not;

v1::Lease lease() {
  v1::Lease l;
  l.set_id(42);
  l.mutable_file()->set_path("/srv/data/" + std::string(100, 'x') + "/ckpt.bin");
  l.mutable_file()->set_device_major(8);
  l.mutable_file()->set_inode(77);
  l.mutable_range()->set_offset(4096);
  l.mutable_range()->set_length(1 << 20);
  l.set_backing(v1::BACKING_ODP_COOPERATIVE);
  l.set_state(v1::LEASE_STATE_RECALLING);
  l.add_recalls(v1::ACTION_QUIESCE);
  l.set_read(true);
  l.set_write(true);
  l.mutable_client()->set_pid(1234);
  l.mutable_client()->set_program("train\x1b[31mer");
  l.set_coverage("holds truncate and open");
  return l;
}

void expect_fits(const std::string& text, std::size_t columns) {
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) EXPECT_LE(width(line), columns) << line;
}

TEST(Views, LeasesFitEightyColumnsAndHideNoControlCharacters) {
  v1::ListLeasesResponse r;
  *r.add_leases() = lease();
  const std::string text = view(r, 80);
  expect_fits(text, 80);
  for (const char* part : {"42", "ckpt.bin", "4K 1M", "rw", "odp_cooperative", "recalling", "1234 "})
    EXPECT_THAT(text, HasSubstr(part));
  EXPECT_THAT(view(r, 0), HasSubstr(std::string(100, 'x')));
  EXPECT_THAT(view(r, 0), HasSubstr("1234 (train\\x1b[31mer)"));
  EXPECT_EQ(view(v1::ListLeasesResponse(), 80), "no leases\n");
}

TEST(Views, OneLeaseTellsAllOfIt) {
  const std::string text = view(lease(), 80);
  for (const char* part : {"8:0 inode 77", "read, write", "recalled to:    quiesce", "holds truncate and open"}) EXPECT_THAT(text, HasSubstr(part));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
}

TEST(Views, AFileTellsWhoHoldsAndWhoWaits) {
  v1::ListFilesResponse r;
  auto* f = r.add_files();
  f->mutable_id()->set_path("/srv/a");
  f->set_guard(v1::GUARD_PRECONTENT);
  *f->add_leases() = lease();
  auto* b = f->add_breaks();
  b->set_id(7);
  b->set_kind(v1::BREAK_KIND_FREEZE);
  b->set_source(v1::BREAK_SOURCE_ADMIN);
  b->set_phase(v1::BREAK_PHASE_HOLDING);
  b->mutable_age()->set_seconds(3);
  b->mutable_hold_left()->set_seconds(27);
  const std::string text = view(r, 80);
  expect_fits(text, 80);
  for (const char* part : {"/srv/a\n", "guard precontent", "42", "freeze by the administrator", "holding", "3 s", "27 s left"})
    EXPECT_THAT(text, HasSubstr(part));
}

TEST(Views, EveryEventHasALineOfItsOwn) {
  const auto* what = v1::Event::descriptor()->FindOneofByName("what");
  for (int i = 0; i < what->field_count(); ++i) {
    v1::Event e;
    e.set_sequence(5);
    e.GetReflection()->MutableMessage(&e, what->field(i));
    const std::string line = view(e);
    EXPECT_THAT(line, HasSubstr("#5 " + what->field(i)->name() + ": "));
    EXPECT_THAT(line, Not(HasSubstr("\n")));
    EXPECT_THAT(line, Not(HasSubstr("does not know")));
  }
}

TEST(Views, ABreakTellsWhatItAskedOfEachLease) {
  v1::Event e;
  auto* d = e.mutable_break_done();
  d->mutable_break_()->set_what("truncate by 99 (cp)");
  d->mutable_break_()->mutable_file()->set_path("/srv/a");
  d->set_result(v1::BREAK_RESULT_DENIED);
  d->set_errno_value(16);
  d->mutable_waited()->set_nanos(12000000);
  auto* r = d->add_recalled();
  r->set_lease(42);
  r->set_action(v1::ACTION_TRIM);
  r->set_fenced(true);
  EXPECT_THAT(view(e), HasSubstr("truncate by 99 (cp) of /srv/a: denied, errno 16, waited 12 ms"));
  EXPECT_THAT(view(e), HasSubstr("lease 42 trim never answered, fenced"));
}

TEST(Views, StatsTellQuantilesByTheirBounds) {
  v1::GetStatsResponse r;
  auto* h = r.add_foreign_wait();
  (*h->mutable_labels())["kind"] = "truncate";
  h->set_count(100);
  h->set_sum_seconds(1);
  for (const double bound : {0.001, 0.01, 0.1}) h->add_bounds_seconds(bound);
  for (const std::uint64_t n : {60, 30, 9, 1}) h->add_buckets(n);
  const std::string text = view(r, 80);
  expect_fits(text, 80);
  EXPECT_THAT(text, HasSubstr("kind=truncate"));
  EXPECT_THAT(text, HasSubstr("10 ms"));       // mean
  EXPECT_THAT(text, HasSubstr("<= 1 ms"));     // half of them
  EXPECT_THAT(text, HasSubstr("<= 100 ms"));   // 99 of 100
}

TEST(Views, AProbeGivesReasonsAndFolds) {
  v1::ProbeResponse r;
  auto* c = r.add_host();
  c->set_name("fanotify_pre_access");
  c->set_reason("the kernel is older than 6.14 and has no FAN_PRE_ACCESS; boot a newer one, or live with the lease guard");
  const std::string text = view(r, 80);
  expect_fits(text, 80);
  EXPECT_THAT(text, HasSubstr("fanotify_pre_access  no   the kernel is older"));
  EXPECT_THAT(text, HasSubstr("no RDMA device"));
}

TEST(Views, AReloadNamesWhatNeedsARestart) {
  v1::ReloadResponse r;
  EXPECT_EQ(view(r), "reloaded: nothing has changed\n");
  r.add_changed("on-timeout");
  r.add_needs_restart("socket");
  EXPECT_EQ(view(r), "reloaded: changed: on-timeout\nneeds a restart: socket\n");
}

TEST(Views, ADryRunNamesTheLeasesThatWouldHaveOtherTerms) {
  v1::ReloadResponse r;
  EXPECT_EQ(view_tried(r, 80), "dry run: nothing would change\nno lease would have other terms\n");
  r.add_changed("rule");
  for (const char* refused : {"", "a rule of the administrator (line 7 of the daemon's configuration) allows no lease of /data/b"}) {
    v1::LeaseChange& l = *r.add_leases();
    l.set_lease(12);
    l.mutable_file()->set_path("/data/checkpoints/a/rather/long/name/of/a/file.bin");
    l.mutable_client()->set_program("receiver");
    l.mutable_client()->set_pid(4711);
    l.mutable_now()->mutable_recall_deadline()->set_seconds(2);
    l.mutable_now()->mutable_fence_deadline()->set_nanos(500000000);
    l.mutable_now()->set_on_timeout(v1::ON_TIMEOUT_FENCE);
    *l.mutable_then() = l.now();
    l.mutable_then()->set_rule(1);
    l.mutable_then()->set_on_timeout(v1::ON_TIMEOUT_KILL);
    l.mutable_then()->set_orphan_bytes_max(64 << 20);
    l.mutable_then()->mutable_orphan_keep_max()->set_seconds(60);
    l.mutable_then()->mutable_peer_budget_max()->set_nanos(200000000);
    l.set_refused(refused);
  }
  r.set_leases_total(5);
  const std::string text = view_tried(r, 80);
  EXPECT_THAT(text, HasSubstr("would change: rule\n"));
  EXPECT_THAT(text, HasSubstr("from recall within 2 s, fence within 500 ms, on timeout fence\n"
                              "to   recall within 2 s, fence within 500 ms, on timeout kill (rule 1)\n"
                              "     anew, at most: orphans of 64M, kept for 1 m, stalls of 200 ms:\n"
                              "  LEASE  FILE "));
  EXPECT_THAT(text, HasSubstr("what is there goes on):\na rule of the administrator (line 7 of"));
  EXPECT_THAT(text, HasSubstr("\nand 3 leases more\n"));
  expect_fits(text.substr(0, text.find("would not")), 80);
}

}  // namespace mrlease::ctl
