// SPDX-License-Identifier: Apache-2.0
// The audit log: one record for each break that is over and each fence. Who broke what, who was recalled, how long it
// took, how it ended.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/session/happening.h"

namespace mrlease::admin {

struct AuditRecord {
  std::string message_id;  // systemd's MESSAGE_ID: one for each kind of record
  std::string text;        // one line for people
  std::vector<std::pair<std::string, std::string>> fields;  // MRLEASE_*
};

// Where records go.
class AuditSink {
 public:
  virtual ~AuditSink() = default;
  virtual void write(const AuditRecord& record) = 0;
};

// journald when systemd has connected our standard error to it ($JOURNAL_STREAM), else the log.
std::unique_ptr<AuditSink> make_audit_sink(std::function<void(int level, std::string line)> log);

// Pure.
AuditRecord record_of(const session::happening::BreakDone& done);
AuditRecord record_of(const session::happening::LeaseFenced& fenced);

// Used from one thread (the office).
class Audit {
 public:
  explicit Audit(std::unique_ptr<AuditSink> sink) : sink_(std::move(sink)) {}
  void see(const session::Happening& happening);

 private:
  std::unique_ptr<AuditSink> sink_;
};

}  // namespace mrlease::admin
