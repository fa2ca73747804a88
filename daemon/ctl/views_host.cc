// SPDX-License-Identifier: Apache-2.0
// The host, the daemon's counters and its options.
#include <algorithm>
#include <map>

#include "daemon/ctl/format.h"
#include "daemon/ctl/table.h"
#include "daemon/ctl/views.h"

namespace mrlease::ctl {
namespace {

using Align = Column::Align;

// Text in lines of at most `columns`, each after the first indented.
std::string folded(const std::string& first, const std::string& text, std::size_t columns, std::size_t indent) {
  std::string result = first, word;
  std::size_t at = width(first);
  bool fresh = true;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] != ' ') {
      word += text[i];
      continue;
    }
    if (word.empty()) continue;
    if (!fresh && columns != 0 && at + 1 + width(word) > columns) {
      result += "\n" + std::string(indent, ' ');
      at = indent;
    } else if (!fresh) {
      result += " ";
      ++at;
    }
    result += word;
    at += width(word);
    fresh = false;
    word.clear();
  }
  return result + "\n";
}

std::string capabilities(const google::protobuf::RepeatedPtrField<v1::Capability>& list, std::size_t columns) {
  std::size_t widest = 0;
  for (const auto& c : list) widest = std::max(widest, width(c.name()));
  std::string text;
  for (const auto& c : list) {
    const std::string name = printable(c.name());
    const std::string first = "  " + name + std::string(widest - std::min(widest, width(name)), ' ') + (c.supported() ? "  yes  " : "  no   ");
    text += folded(first, printable(c.reason()), columns, width(first));
  }
  return text;
}

std::string labels_of(const google::protobuf::Map<std::string, std::string>& labels) {
  std::vector<std::string> words;
  for (const auto& [name, value] : labels) words.push_back(printable(name + "=" + value));
  std::sort(words.begin(), words.end());
  std::string text;
  for (const auto& w : words) text += (text.empty() ? "" : " ") + w;
  return text;
}

void add_counts(Table& table, const std::string& name, const google::protobuf::RepeatedPtrField<v1::Count>& counts) {
  for (const auto& c : counts) table.add({name, labels_of(c.labels()), std::to_string(c.value())});
}

// The bound under which a share of all observations lies; "-" without any.
std::string quantile(const v1::Histogram& h, double share) {
  if (h.count() == 0) return "-";
  double below = 0;
  for (int i = 0; i < h.buckets_size(); ++i) {
    below += static_cast<double>(h.buckets(i));
    if (below < share * static_cast<double>(h.count())) continue;
    if (i < h.bounds_seconds_size()) return "<= " + duration(h.bounds_seconds(i));
    break;
  }
  return h.bounds_seconds_size() == 0 ? "-" : "> " + duration(h.bounds_seconds(h.bounds_seconds_size() - 1));
}

void add_times(Table& table, const std::string& name, const google::protobuf::RepeatedPtrField<v1::Histogram>& list) {
  for (const auto& h : list)
    table.add({name, labels_of(h.labels()), std::to_string(h.count()),
               h.count() == 0 ? "-" : duration(h.sum_seconds() / static_cast<double>(h.count())), quantile(h, 0.5), quantile(h, 0.99)});
}

std::string joined(const google::protobuf::RepeatedPtrField<std::string>& words, const std::string& none) {
  std::string text;
  for (const auto& w : words) text += (text.empty() ? "" : ", ") + printable(w);
  return text.empty() ? none : text;
}

std::string restarts(const v1::ReloadResponse& r) {
  return r.needs_restart().empty() ? "" : "needs a restart: " + joined(r.needs_restart(), "") + "\n";
}

// Of leases that are granted anew: "orphans of 64M, kept for 1 m, stalls of 200 ms".
std::string limits(const v1::LeaseTerms& t) {
  std::string text;
  const auto add = [&text](const std::string& what) { text += (text.empty() ? "" : ", ") + what; };
  if (t.discard_orphans()) add("no orphans");
  else if (t.orphan_bytes_max() != 0) add("orphans of " + bytes(t.orphan_bytes_max()));
  if (t.has_orphan_keep_max()) add("kept for " + duration(seconds(t.orphan_keep_max())));
  if (t.has_peer_budget_max()) add("stalls of " + duration(seconds(t.peer_budget_max())));
  return text.empty() ? "" : "\n     anew, at most: " + text;
}

std::string terms(const v1::LeaseTerms& t) {
  return "recall within " + duration(seconds(t.recall_deadline())) + ", fence within " + duration(seconds(t.fence_deadline())) + ", on timeout " +
         word(t.on_timeout()) +
         (t.has_writeback_interval() ? ", synced every " + duration(seconds(t.writeback_interval())) : "") + (t.rule() == 0 ? "" : " (rule " + std::to_string(t.rule()) + ")") + limits(t);
}

}  // namespace

std::string view(const v1::ProbeResponse& r, std::size_t width) {
  std::string text = "kernel " + printable(r.kernel()) + " " + printable(r.machine()) + ", mrleased " + printable(r.daemon_version()) + "\n";
  text += folded("guard: " + guard(r.guard()) + ":", " " + printable(r.guard_text()), width, 2);
  text += "\nhost\n" + capabilities(r.host(), width);
  for (const auto& f : r.filesystems()) {
    text += "\nfile system of " + printable(f.path()) + ": " + printable(f.type()) + " on " + printable(f.mount()) + " (" +
            printable(f.source()) + "), guard " + guard(f.guard()) + (f.root() ? ", armed from the start" : "") + "\n";
    text += capabilities(f.capabilities(), width);
  }
  for (const auto& d : r.devices()) {
    text += "\ndevice " + printable(d.name()) + ": " + printable(d.uverbs()) + ", driver " + printable(d.driver()) + ", " +
            printable(d.node_type()) + "\n";
    for (const auto& port : d.ports()) text += "  port " + printable(port) + "\n";
    text += capabilities(d.capabilities(), width);
  }
  if (r.devices().empty()) text += "\nno RDMA device\n";
  return text;
}

std::string view(const v1::GetStatsResponse& r, std::size_t width) {
  std::string text = "mrleased " + printable(r.version()) + ", up " + duration(seconds(r.uptime())) + "\n\n";
  Table now({{"NOW"}, {""}, {"", Align::Right}});
  const auto value = [](Table& table, const std::string& name, std::uint64_t n) { table.add({name, "", std::to_string(n)}); };
  value(now, "sessions", r.sessions());
  value(now, "files", r.files());
  value(now, "leases", r.leases());
  add_counts(now, "leases", r.leases_by_backing());
  value(now, "breaks pending", r.breaks_pending());
  value(now, "freezes holding", r.freezes_holding());
  now.add({"bounce pages", "", bytes(r.bounce_bytes())});
  value(now, "watchers", r.watchers());
  Table total({{"SINCE THE START"}, {""}, {"", Align::Right}});
  value(total, "leases granted", r.leases_granted());
  value(total, "leases refused", r.leases_refused());
  add_counts(total, "breaks", r.breaks());
  add_counts(total, "recalls", r.recalls());
  add_counts(total, "fences", r.fences());
  value(total, "pages written", r.pages_written());
  value(total, "page conflicts", r.page_conflicts());
  value(total, "late changes", r.late_changes());
  Table times({{"TIMES"}, {""}, {"COUNT", Align::Right}, {"MEAN", Align::Right}, {"P50", Align::Right}, {"P99", Align::Right}});
  add_times(times, "foreign wait", r.foreign_wait());
  add_times(times, "recall", r.recall_time());
  text += now.text(width) + "\n" + total.text(width);
  if (!times.empty()) text += "\n" + times.text(width);
  return text;
}

std::string view(const v1::GetConfigResponse& r, std::size_t width) {
  Table table({{"OPTION"}, {"VALUE", Align::Path}, {"DEFAULT", Align::Path}, {"FROM"}, {"RELOAD"}});
  for (const auto& o : r.options())
    table.add({printable(o.name()), joined(o.values(), "none"), joined(o.defaults(), "none"), printable(o.source()), o.reloadable() ? "yes" : "no"});
  return (r.file().empty() ? "no configuration file\n" : "file: " + printable(r.file()) + "\n") + table.text(width);
}

std::string view(const v1::ReloadResponse& r) {
  return "reloaded: " + (r.changed().empty() ? "nothing has changed" : "changed: " + joined(r.changed(), "")) + "\n" + restarts(r);
}

std::string view_tried(const v1::ReloadResponse& r, std::size_t width) {
  std::string text = "dry run: " + (r.changed().empty() ? "nothing would change" : "would change: " + joined(r.changed(), "")) + "\n" + restarts(r);
  if (r.leases().empty()) return text + "no lease would have other terms\n";
  // By what becomes of them: a rule is for many.
  std::map<std::string, Table> changes;
  for (const auto& l : r.leases()) {
    const std::string change = l.refused().empty() ? "from " + terms(l.now()) + "\nto   " + terms(l.then()) + ":"
                                                   : "would not be granted anew (what is there goes on):\n" + printable(l.refused()) + ":";
    changes.try_emplace(change, Table({{"LEASE", Align::Right}, {"FILE", Align::Path}, {"CLIENT"}}))
        .first->second.add({std::to_string(l.lease()), file(l.file()), process(l.client())});
  }
  for (const auto& [change, leases] : changes) text += change + "\n" + leases.text(width, 2);
  if (r.leases_total() > static_cast<std::uint64_t>(r.leases_size())) text += "and " + std::to_string(r.leases_total() - r.leases_size()) + " leases more\n";
  return text;
}

}  // namespace mrlease::ctl
