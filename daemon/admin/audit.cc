// SPDX-License-Identifier: Apache-2.0
#include "daemon/admin/audit.h"

#include "daemon/admin/words.h"

namespace mrlease::admin {

namespace {

namespace happening = session::happening;
using std::to_string;

// Random, as systemd-id128(1) makes them, and never changed; listed in daemon/admin/README.md.
constexpr const char* kBreakDone = "1f1fd649fdba480482f3fc0297bc688e";
constexpr const char* kLeaseFenced = "a99f9482f49e466185f1ea5df9883398";

std::string microseconds(session::Span span) {
  return to_string(std::chrono::duration_cast<std::chrono::microseconds>(span).count());
}

std::string for_people(session::Span span) {
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(span).count();
  return us < 10000 ? to_string(us) + " us" : to_string(us / 1000) + " ms";
}

std::string name_of(const session::FileRef& file) {
  return file.path->empty() ? to_string(file.key.device) + ":" + to_string(file.key.inode) : *file.path;
}

void add_file(const session::FileRef& file, AuditRecord* record) {
  record->fields.emplace_back("MRLEASE_FILE", *file.path);
  record->fields.emplace_back("MRLEASE_DEVICE", to_string(file.key.device));
  record->fields.emplace_back("MRLEASE_INODE", to_string(file.key.inode));
}

void add_who(const char* prefix, const session::Who& who, AuditRecord* record) {
  const std::string name = std::string("MRLEASE_") + prefix;
  record->fields.emplace_back(name + "_PID", to_string(who.pid));
  if (who.tid != 0) record->fields.emplace_back(name + "_TID", to_string(who.tid));
  record->fields.emplace_back(name + "_UID", to_string(who.uid));
  record->fields.emplace_back(name + "_COMM", who.program);
}

std::string extent_text(const core::Extent& e) {
  return "[" + to_string(e.begin) + ", " + (e.end == core::kToEnd ? "end" : to_string(e.end)) + ")";
}

std::string recalled_text(const session::RecallNote& recall) {
  std::string text = "lease " + to_string(recall.lease) + " of " + recall.client->program + "[" + to_string(recall.client->pid) + "] " +
                     word(recall.action);
  if (recall.took) text += " in " + for_people(*recall.took);
  if (recall.code != 0) text += ", refused with errno " + to_string(recall.code);
  if (recall.fenced) text += ", fenced";
  return text;
}

}  // namespace

AuditRecord record_of(const happening::BreakDone& done) {
  const auto& b = done.note;
  const std::string result = word(result_of(b));
  AuditRecord r{kBreakDone, {}, {}};
  r.fields.emplace_back("MRLEASE_BREAK", to_string(b.id));
  add_file(b.file, &r);
  r.fields.emplace_back("MRLEASE_KIND", word(b.kind));
  r.fields.emplace_back("MRLEASE_SOURCE", word(b.source));
  r.fields.emplace_back("MRLEASE_OPERATION", b.what);
  r.fields.emplace_back("MRLEASE_OFFSET", to_string(b.extent.begin));
  if (b.extent.end != core::kToEnd) r.fields.emplace_back("MRLEASE_LENGTH", to_string(b.extent.end - b.extent.begin));
  if (b.kind == core::BreakKind::Truncate) r.fields.emplace_back("MRLEASE_NEW_SIZE", to_string(b.new_size));
  add_who("BY", *b.by, &r);
  r.fields.emplace_back("MRLEASE_RESULT", result);
  r.fields.emplace_back("MRLEASE_ERRNO", to_string(b.code));
  if (b.answered) r.fields.emplace_back("MRLEASE_WAITED_USEC", microseconds(*b.answered - b.began));
  r.fields.emplace_back("MRLEASE_TOOK_USEC", microseconds(done.took));
  std::string people;
  for (const auto& recall : b.recalled) {
    people += (people.empty() ? "; recalled " : "; ") + recalled_text(recall);
    // journald keeps each of several fields of one name.
    r.fields.emplace_back("MRLEASE_RECALLED", "lease=" + to_string(recall.lease) + " pid=" + to_string(recall.client->pid) +
                                                  " uid=" + to_string(recall.client->uid) + " action=" + word(recall.action) +
                                                  " backing=" + word(recall.backing) +
                                                  " usec=" + (recall.took ? microseconds(*recall.took) : "none") +
                                                  " errno=" + to_string(recall.code) + " fenced=" + (recall.fenced ? "1" : "0") +
                                                  " program=" + recall.client->program);
  }
  const std::string by = b.source == session::Source::Client
                             ? std::string(word(b.kind)) + " by " + b.by->program + "[" + to_string(b.by->pid) + "]"
                             : b.what;
  r.text = "audit: " + name_of(b.file) + " " + extent_text(b.extent) + ": " + by +
           (b.by->tid != 0 ? " uid " + to_string(b.by->uid) : "") + ": " + result +
           (b.code != 0 ? " (errno " + to_string(b.code) + ")" : "") +
           (b.answered ? " after " + for_people(*b.answered - b.began) : "") + people;
  return r;
}

AuditRecord record_of(const happening::LeaseFenced& fenced) {
  AuditRecord r{kLeaseFenced, {}, {}};
  r.fields.emplace_back("MRLEASE_LEASE", to_string(fenced.lease.id));
  add_file(fenced.lease.file, &r);
  add_who("CLIENT", *fenced.lease.client, &r);
  r.fields.emplace_back("MRLEASE_BACKING", word(fenced.lease.backing));
  r.fields.emplace_back("MRLEASE_CAUSE", fenced.cause);
  r.fields.emplace_back("MRLEASE_MEANS", fenced.killed ? "killed" : "destroyed");
  r.fields.emplace_back("MRLEASE_TOOK_USEC", microseconds(fenced.took));
  r.text = "audit: " + name_of(fenced.lease.file) + " " + extent_text(fenced.lease.extent) + ": lease " + to_string(fenced.lease.id) +
           " of " + fenced.lease.client->program + "[" + to_string(fenced.lease.client->pid) + "] was fenced (" + fenced.cause + "), " +
           (fenced.killed ? "its client killed" : "its memory regions destroyed") + " in " + for_people(fenced.took);
  return r;
}

// A read that nobody was recalled for is not a break of anything: a backup would drown the rest.
void Audit::see(const session::Happening& h) {
  if (const auto* fenced = std::get_if<happening::LeaseFenced>(&h.what)) return sink_->write(record_of(*fenced));
  const auto* done = std::get_if<happening::BreakDone>(&h.what);
  if (done == nullptr) return;
  const auto& b = done->note;
  if (b.kind == core::BreakKind::Read && b.recalled.empty() && b.code == 0) return;
  sink_->write(record_of(*done));
}

}  // namespace mrlease::admin
