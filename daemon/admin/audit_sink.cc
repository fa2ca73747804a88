// SPDX-License-Identifier: Apache-2.0
#include <sys/uio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>

#include <cstdlib>

#include "daemon/admin/audit.h"

namespace mrlease::admin {

namespace {

class Journal final : public AuditSink {
 public:
  void write(const AuditRecord& record) override {
    std::vector<std::string> lines = {"MESSAGE=" + record.text, "MESSAGE_ID=" + record.message_id,
                                      "PRIORITY=" + std::to_string(LOG_INFO), "SYSLOG_IDENTIFIER=mrleased"};
    for (const auto& [name, value] : record.fields) lines.push_back(name + "=" + value);
    std::vector<iovec> parts;
    for (auto& line : lines) parts.push_back({line.data(), line.size()});
    ::sd_journal_sendv(parts.data(), static_cast<int>(parts.size()));
  }
};

class Text final : public AuditSink {
 public:
  explicit Text(std::function<void(int, std::string)> log) : log_(std::move(log)) {}
  void write(const AuditRecord& record) override { log_(1, record.text); }

 private:
  std::function<void(int, std::string)> log_;
};

}  // namespace

std::unique_ptr<AuditSink> make_audit_sink(std::function<void(int, std::string)> log) {
  if (std::getenv("JOURNAL_STREAM") != nullptr) return std::make_unique<Journal>();
  return std::make_unique<Text>(std::move(log));
}

}  // namespace mrlease::admin
