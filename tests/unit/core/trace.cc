// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/core/trace.h"

#include <sstream>

#include "daemon/core/break_table.h"

namespace mrlease::core {
namespace {

constexpr const char* kActionNames[] = {"none",   "quiesce", "reregister", "trim",   "settle",
                                        "freeze", "thaw",    "dirty",      "release"};
constexpr const char* kWorkNames[] = {"none", "flush", "hold-flush", "resume-flush", "freeze-flush", "merge", "fsync", "writeback"};
constexpr const char* kBacking[] = {"direct", "odp-transparent", "odp-cooperative", "bounce"};

std::string text(const Extent& e) {
  return "[" + std::to_string(e.begin) + "," + (e.end == kToEnd ? "end" : std::to_string(e.end)) + ")";
}

struct Writer {
  std::ostringstream out;

  void operator()(const event::RequestLease& e) {
    const Lease& l = e.lease;
    out << "> lease " << l.id << " session " << l.session << " file " << l.file.inode << " " << text(l.extent) << " "
        << kBacking[static_cast<int>(l.backing)] << (l.write ? " write" : "") << (l.share ? " share" : "");
  }
  void operator()(const event::ReleaseLease& e) { out << "> release " << e.lease; }
  void operator()(const event::ExtendLease& e) { out << "> extend " << e.lease << " to " << e.file_size; }
  void operator()(const event::SessionGone& e) { out << "> gone: session " << e.session; }
  void operator()(const event::RequestBreak& e) {
    out << "> break " << e.id << " " << name(e.kind) << " file " << e.file.inode << " " << text(e.extent) << " owner "
        << e.owner;
  }
  void operator()(const event::Thaw& e) { out << "> thaw " << e.freeze; }
  void operator()(const event::RecallAnswered& e) {
    out << "> recall " << e.recall << " answered by " << e.session << ": " << e.code;
  }
  void operator()(const event::WorkDone& e) { out << "> work " << e.work << ": " << e.code; }
  void operator()(const event::FenceDone& e) { out << "> fence of " << e.lease << " done"; }
  void operator()(const event::AdoptLease& e) { out << "> adopt: lease " << e.lease.id; }
  void operator()(const event::AdoptFence& e) { out << "> adopt: fence of lease " << e.lease; }
  void operator()(const event::AdoptBreak& e) { out << "> adopt: break " << e.id << ", size " << e.file_size; }
  void operator()(const event::AdoptPassing& e) { out << "> adopt: break " << e.id << ", inside file " << e.file.inode; }
  void operator()(const event::OperationLeft& e) { out << "> left: break " << e.id << ", size " << e.file_size; }
  void operator()(const event::Tick&) { out << "> tick"; }

  void operator()(const effect::Granted& e) { out << "  granted " << e.lease; }
  void operator()(const effect::Refused& e) { out << "  refused: " << e.message; }
  void operator()(const effect::Released& e) { out << "  released " << e.lease << ": " << e.code; }
  void operator()(const effect::Extended& e) { out << "  extended " << e.lease << " to " << e.file_size; }
  void operator()(const effect::Recall& e) {
    out << "  recall " << e.recall << " of " << e.lease << ": " << kActionNames[static_cast<int>(e.action)] << " "
        << text(e.extent) << " for " << name(e.reason);
  }
  void operator()(const effect::StartWork& e) {
    out << "  work " << e.work << " on " << e.lease << ": " << kWorkNames[static_cast<int>(e.kind)];
  }
  void operator()(const effect::StartFence& e) { out << "  fence " << e.lease << (e.kill ? " kill" : ""); }
  void operator()(const effect::BreakAnswered& e) { out << "  answered " << e.id << ": " << e.deny_errno; }
  void operator()(const effect::WatchPassing& e) { out << "  passing " << e.id; }
  void operator()(const effect::BreakDone& e) { out << "  done " << e.id; }
  void operator()(const effect::Thawed& e) { out << "  thawed " << e.freeze; }
  void operator()(const effect::Fenced& e) { out << "  fenced " << e.lease; }
  void operator()(const effect::Forget& e) { out << "  forget " << e.lease; }
  void operator()(const effect::SyncDue& e) { out << "  sync due of file " << e.file.inode; }
  void operator()(const effect::Report& e) { out << "  report: " << e.what; }
};

}  // namespace

std::string describe(const Event& event) {
  Writer writer;
  std::visit(writer, event);
  return writer.out.str();
}

std::string describe(const Effect& effect) {
  Writer writer;
  std::visit(writer, effect);
  return writer.out.str();
}

}  // namespace mrlease::core
