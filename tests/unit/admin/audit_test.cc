// SPDX-License-Identifier: Apache-2.0
// What an audit record says, field by field.
#include "daemon/admin/audit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mrlease::admin {
namespace {

using namespace std::chrono_literals;
using session::Source;
using session::Who;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

struct Kept final : AuditSink {
  explicit Kept(std::vector<AuditRecord>* to) : records(to) {}
  void write(const AuditRecord& record) override { records->push_back(record); }
  std::vector<AuditRecord>* records;
};

session::FileRef file() { return {{2, 77}, std::make_shared<const std::string>("/data/model.bin")}; }

session::happening::BreakDone truncate_done() {
  session::BreakNote b;
  b.id = 9;
  b.file = file();
  b.kind = core::BreakKind::Truncate;
  b.source = Source::Foreign;
  b.extent = {4096, core::kToEnd};
  b.new_size = 4096;
  b.by = std::make_shared<const Who>(Who{1234, 65534, 65534, 1235, "cp"});
  b.what = "ftruncate by 1235 (cp) to 4096 bytes";
  b.began = session::Mono(1s);
  b.answered = b.began + 1500us;
  session::RecallNote recall;
  recall.lease = 5;
  recall.client = std::make_shared<const Who>(Who{400, 1000, 1000, 0, "trainer"});
  recall.backing = core::Backing::OdpTransparent;
  recall.action = core::Action::Trim;
  recall.took = 900us;
  b.recalled.push_back(recall);
  recall.lease = 6;
  recall.took.reset();
  recall.fenced = true;
  b.recalled.push_back(recall);
  return {b, 20ms};
}

TEST(Audit, ABreakNamesWhoBrokeWhatAndWhoWasRecalled) {
  const AuditRecord record = record_of(truncate_done());
  EXPECT_EQ(record.message_id.size(), 32u);
  EXPECT_THAT(record.fields,
              ElementsAre(Pair("MRLEASE_BREAK", "9"), Pair("MRLEASE_FILE", "/data/model.bin"), Pair("MRLEASE_DEVICE", "2"),
                          Pair("MRLEASE_INODE", "77"), Pair("MRLEASE_KIND", "truncate"), Pair("MRLEASE_SOURCE", "foreign"),
                          Pair("MRLEASE_OPERATION", "ftruncate by 1235 (cp) to 4096 bytes"), Pair("MRLEASE_OFFSET", "4096"),
                          Pair("MRLEASE_NEW_SIZE", "4096"), Pair("MRLEASE_BY_PID", "1234"), Pair("MRLEASE_BY_TID", "1235"),
                          Pair("MRLEASE_BY_UID", "65534"), Pair("MRLEASE_BY_COMM", "cp"), Pair("MRLEASE_RESULT", "allowed"),
                          Pair("MRLEASE_ERRNO", "0"), Pair("MRLEASE_WAITED_USEC", "1500"), Pair("MRLEASE_TOOK_USEC", "20000"),
                          Pair("MRLEASE_RECALLED", "lease=5 pid=400 uid=1000 action=trim backing=odp_transparent usec=900 errno=0 fenced=0 program=trainer"),
                          Pair("MRLEASE_RECALLED", "lease=6 pid=400 uid=1000 action=trim backing=odp_transparent usec=none errno=0 fenced=1 program=trainer")));
  EXPECT_EQ(record.text,
            "audit: /data/model.bin [4096, end): ftruncate by 1235 (cp) to 4096 bytes uid 65534: allowed after 1500 us; recalled "
            "lease 5 of trainer[400] trim in 900 us; lease 6 of trainer[400] trim, fenced");
}

TEST(Audit, ADenialHasItsErrno) {
  auto done = truncate_done();
  done.note.code = 16;
  const AuditRecord record = record_of(done);
  EXPECT_THAT(record.fields, ::testing::Contains(Pair("MRLEASE_RESULT", "denied")));
  EXPECT_THAT(record.fields, ::testing::Contains(Pair("MRLEASE_ERRNO", "16")));
  EXPECT_THAT(record.text, HasSubstr("denied (errno 16)"));
}

TEST(Audit, WhatWasSeenTooLateSaysSo) {
  auto done = truncate_done();
  done.note.source = Source::Late;
  EXPECT_THAT(record_of(done).fields, ::testing::Contains(Pair("MRLEASE_RESULT", "late")));
}

TEST(Audit, AFenceNamesItsClientCauseAndMeans) {
  session::LeaseNote lease;
  lease.id = 5;
  lease.file = file();
  lease.extent = {0, 8192};
  lease.backing = core::Backing::Direct;
  lease.client = std::make_shared<const Who>(Who{400, 1000, 1000, 0, "trainer"});
  const AuditRecord record = record_of(session::happening::LeaseFenced{lease, "recall_timeout", true, 3ms});
  EXPECT_THAT(record.fields,
              ElementsAre(Pair("MRLEASE_LEASE", "5"), Pair("MRLEASE_FILE", "/data/model.bin"), Pair("MRLEASE_DEVICE", "2"),
                          Pair("MRLEASE_INODE", "77"), Pair("MRLEASE_CLIENT_PID", "400"), Pair("MRLEASE_CLIENT_UID", "1000"),
                          Pair("MRLEASE_CLIENT_COMM", "trainer"), Pair("MRLEASE_BACKING", "direct"), Pair("MRLEASE_CAUSE", "recall_timeout"),
                          Pair("MRLEASE_MEANS", "killed"), Pair("MRLEASE_TOOK_USEC", "3000")));
  EXPECT_NE(record.message_id, record_of(truncate_done()).message_id);
  EXPECT_THAT(record.text, HasSubstr("lease 5 of trainer[400] was fenced (recall_timeout), its client killed in 3000 us"));
}

TEST(Audit, ReadsThatRecalledNobodyAreLeftOut) {
  std::vector<AuditRecord> records;
  Audit audit(std::make_unique<Kept>(&records));
  auto done = truncate_done();
  done.note.kind = core::BreakKind::Read;
  audit.see({{}, done});
  EXPECT_EQ(records.size(), 1u);
  done.note.recalled.clear();
  audit.see({{}, done});
  EXPECT_EQ(records.size(), 1u);
  done.note.code = 16;
  audit.see({{}, done});
  EXPECT_EQ(records.size(), 2u);
}

}  // namespace
}  // namespace mrlease::admin
