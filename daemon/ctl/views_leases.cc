// SPDX-License-Identifier: Apache-2.0
// Leases, files, breaks.
#include "daemon/ctl/format.h"
#include "daemon/ctl/table.h"
#include "daemon/ctl/views.h"

namespace mrlease::ctl {
namespace {

using Align = Column::Align;

std::string access(const v1::Lease& l) { return std::string(l.read() ? "r" : "") + (l.write() ? "w" : ""); }

void line(std::string& text, const std::string& name, const std::string& value) {
  if (value.empty()) return;
  text += name + ":" + std::string(name.size() < 15 ? 15 - name.size() : 1, ' ') + value + "\n";
}

Table lease_table(bool with_file) {
  std::vector<Column> columns = {{"LEASE", Align::Right}};
  if (with_file) columns.push_back({"FILE", Align::Path});
  for (Column c : std::vector<Column>{{"RANGE"}, {"RW"}, {"BACKING"}, {"STATE"}, {"CLIENT"}}) columns.push_back(std::move(c));
  return Table(std::move(columns));
}

void add_lease(Table& table, const v1::Lease& l, bool with_file) {
  std::vector<std::string> row = {std::to_string(l.id())};
  if (with_file) row.push_back(file(l.file()));
  for (const auto& cell : {lease_range(l), access(l), word(l.backing()), word(l.state()), process(l.client())}) row.push_back(cell);
  table.add(std::move(row));
}

std::string bound(const v1::Break& b) {
  if (b.phase() == v1::BREAK_PHASE_HOLDING && b.has_hold_left()) return duration(seconds(b.hold_left())) + " left";
  return "";
}

std::string file_block(const v1::File& f, std::size_t width) {
  std::string text = f.id().path().empty() ? file(f.id()) : shortened(printable(f.id().path()), width == 0 ? std::size_t(-1) : width);
  text += "\n  " + std::to_string(f.id().device_major()) + ":" + std::to_string(f.id().device_minor()) + " inode " +
          std::to_string(f.id().inode()) + ", " + bytes(f.size()) + (f.filesystem().empty() ? "" : ", " + printable(f.filesystem())) +
          ", guard " + guard(f.guard()) + "\n";
  Table leases = lease_table(false), breaks({{"BREAK", Align::Right}, {"WHAT"}, {"RANGE"}, {"PHASE"}, {"SINCE"}, {""}});
  for (const auto& l : f.leases()) add_lease(leases, l, false);
  for (const auto& b : f.breaks())
    breaks.add({std::to_string(b.id()), what(b), range(b.range()), word(b.phase()), duration(seconds(b.age())), bound(b)});
  if (!leases.empty()) text += leases.text(width, 2);
  if (!breaks.empty()) text += breaks.text(width, 2);
  return text;
}

}  // namespace

std::string lease_range(const v1::Lease& l) {
  return range(l.range()) + (l.state() == v1::LEASE_STATE_TRIMMED ? ", cut at " + bytes(l.on_file_end()) : "");
}

std::string what(const v1::Break& b) {
  if (!b.what().empty()) return printable(b.what());
  std::string text = word(b.kind());
  if (b.has_by()) text += " by " + process(b.by());
  else if (b.source() == v1::BREAK_SOURCE_ADMIN) text += " by the administrator";
  return text;
}

std::string view(const v1::ListLeasesResponse& r, std::size_t width) {
  if (r.leases().empty()) return "no leases\n";
  Table table = lease_table(true);
  for (const auto& l : r.leases()) add_lease(table, l, true);
  return table.text(width);
}

std::string view(const v1::Lease& l, std::size_t width) {
  std::string text;
  line(text, "lease", std::to_string(l.id()));
  line(text, "file", file(l.file()) + " (" + std::to_string(l.file().device_major()) + ":" +
                         std::to_string(l.file().device_minor()) + " inode " + std::to_string(l.file().inode()) + ")");
  line(text, "range", lease_range(l));
  line(text, "access", std::string(l.read() ? "read" : "") + (l.read() && l.write() ? ", " : "") + (l.write() ? "write" : ""));
  line(text, "backing", word(l.backing()));
  line(text, "state", word(l.state()));
  std::string recalls;
  for (const int r : l.recalls()) recalls += (recalls.empty() ? "" : ", ") + word(static_cast<v1::Action>(r));
  line(text, "recalled to", recalls);
  line(text, "client", process(l.client()) + ", uid " + std::to_string(l.client().uid()) + ", session " + std::to_string(l.session()));
  line(text, "since", time_of_day(l.since()));
  line(text, "guard", guard(l.guard()));
  line(text, "coverage", printable(l.coverage()));
  line(text, "terms", (l.rule() == 0 ? "of the policy for all" : "of rule " + std::to_string(l.rule())) + ", recalled within " +
                          duration(seconds(l.recall_deadline())) +
                          (l.has_writeback_interval() ? ", synced every " + duration(seconds(l.writeback_interval())) : ""));
  line(text, "breaks", std::to_string(l.breaks()));
  line(text, "pages written", std::to_string(l.pages_written()));
  Table regions({{"DEVICE"}, {"HANDLE", Align::Right}, {"LKEY", Align::Right}, {"RKEY", Align::Right}, {"LENGTH", Align::Right}});
  for (const auto& m : l.memory_regions())
    regions.add({printable(m.device()), std::to_string(m.handle()), std::to_string(m.lkey()), std::to_string(m.rkey()), bytes(m.length())});
  if (!regions.empty()) text += "memory regions:\n" + regions.text(width, 2);
  return text;
}

std::string view(const v1::ListFilesResponse& r, std::size_t width) {
  if (r.files().empty()) return "no files\n";
  std::string text;
  for (const auto& f : r.files()) text += (text.empty() ? "" : "\n") + file_block(f, width);
  return text;
}

std::string view(const v1::FreezeResponse& r) {
  std::string text = r.leases() == 0 ? std::string("nothing is leased there, and nothing is held")
                                     : "stands still: " + std::to_string(r.leases()) + " lease" + (r.leases() == 1 ? "" : "s");
  text += " (freeze " + std::to_string(r.freeze()) + ", for " + duration(r.hold_ms() / 1e3) + " at most, took " +
          duration(seconds(r.took())) + ")";
  if (r.unsettled_pages() > 0) text += "; " + std::to_string(r.unsettled_pages()) + " pages were being written all the time and may be torn";
  return text + (r.coverage().empty() ? "\n" : "\ncoverage: " + printable(r.coverage()) + "\n");
}

std::string view(const v1::DrainResponse& r, const std::string& path, std::size_t width) {
  const std::string revoked = std::to_string(r.revoked()) + " lease" + (r.revoked() == 1 ? "" : "s") + " revoked";
  if (r.drained()) return "drained: " + revoked + "; no new ones under " + printable(path) + " until: mrleasectl undrain " + printable(path) + "\n";
  Table table = lease_table(true);
  for (const auto& l : r.left()) add_lease(table, l, true);
  return "not drained in time: " + revoked + ", these are left:\n" + table.text(width);
}

}  // namespace mrlease::ctl
