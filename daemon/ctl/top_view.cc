// SPDX-License-Identifier: Apache-2.0
#include "daemon/ctl/top_view.h"

#include <algorithm>

#include "daemon/ctl/format.h"
#include "daemon/ctl/table.h"
#include "daemon/ctl/views.h"

namespace mrlease::ctl {
namespace {

using Align = Column::Align;

std::uint64_t sum(const google::protobuf::RepeatedPtrField<v1::Count>& counts) {
  std::uint64_t n = 0;
  for (const auto& c : counts) n += c.value();
  return n;
}

struct Times {
  std::uint64_t count = 0;
  double sum = 0;
};

Times total(const google::protobuf::RepeatedPtrField<v1::Histogram>& list) {
  Times t;
  for (const auto& h : list) {
    t.count += h.count();
    t.sum += h.sum_seconds();
  }
  return t;
}

std::string rate(std::uint64_t now, std::uint64_t before, double over) {
  if (over <= 0 || now <= before) return "";
  char text[32];
  const double r = static_cast<double>(now - before) / over;
  std::snprintf(text, sizeof text, r < 10 ? " (+%.1f/s)" : " (+%.0f/s)", r);
  return text;
}

std::string times(const std::string& name, const Times& now, const Times* before) {
  std::string text = name + " " + std::to_string(now.count);
  if (now.count > 0) text += ", mean " + duration(now.sum / static_cast<double>(now.count));
  if (before && now.count > before->count)
    text += ", lately " + duration((now.sum - before->sum) / static_cast<double>(now.count - before->count));
  return text;
}

std::string backings(const v1::GetStatsResponse& s) {
  std::string text;
  for (const auto& c : s.leases_by_backing()) {
    const auto label = c.labels().find("backing");
    if (c.value() == 0 || label == c.labels().end()) continue;
    text += (text.empty() ? " (" : ", ") + printable(label->second) + " " + std::to_string(c.value());
  }
  return text.empty() ? text : text + ")";
}

std::vector<std::string> heading(const Snapshot& now, const Snapshot* before, std::size_t columns) {
  const v1::GetStatsResponse& s = now.stats;
  const double over = before ? now.at - before->at : 0;
  const auto old = [&](auto field) { return before ? field(before->stats) : 0; };
  const auto breaks = [](const v1::GetStatsResponse& x) { return sum(x.breaks()); };
  const auto fences = [](const v1::GetStatsResponse& x) { return sum(x.fences()); };
  const auto pages = [](const v1::GetStatsResponse& x) { return x.pages_written(); };
  const Times waited = before ? total(before->stats.foreign_wait()) : Times{};
  const Times recalled = before ? total(before->stats.recall_time()) : Times{};
  std::string first = "mrleased " + printable(s.version()) + ", up " + duration(seconds(s.uptime()));
  const std::string clock = now.trouble.empty() ? now.clock : "OLD";
  if (width(first) + width(clock) + 1 < columns) first += std::string(columns - width(first) - width(clock), ' ') + clock;
  const auto n = [](std::uint64_t value) { return std::to_string(value); };
  return {first,
          n(s.leases()) + " leases" + backings(s) + ", " + n(s.files()) + " files, " + n(s.sessions()) + " sessions, bounce " + bytes(s.bounce_bytes()),
          n(s.breaks_pending()) + " breaks pending, " + n(s.freezes_holding()) + " freezes hold",
          "breaks " + n(breaks(s)) + rate(breaks(s), old(breaks), over) + ", fences " + n(fences(s)) + rate(fences(s), old(fences), over) +
              ", late " + n(s.late_changes()) + ", pages " + n(s.pages_written()) + rate(s.pages_written(), old(pages), over),
          times("foreign waits", total(s.foreign_wait()), before ? &waited : nullptr) + "; " +
              times("recalls", total(s.recall_time()), before ? &recalled : nullptr),
          printable(now.trouble)};
}

// Those that somebody waits for first, then the oldest.
std::vector<const v1::Break*> sorted_breaks(const v1::ListFilesResponse& files) {
  std::vector<const v1::Break*> list;
  for (const auto& f : files.files())
    for (const auto& b : f.breaks()) list.push_back(&b);
  std::stable_sort(list.begin(), list.end(), [](const v1::Break* a, const v1::Break* b) {
    const bool a_waits = a->phase() == v1::BREAK_PHASE_WAITING, b_waits = b->phase() == v1::BREAK_PHASE_WAITING;
    return a_waits != b_waits ? a_waits : seconds(a->age()) > seconds(b->age());
  });
  return list;
}

// Those to which something happens first, then those that had most breaks.
std::vector<const v1::Lease*> sorted_leases(const v1::ListFilesResponse& files) {
  std::vector<const v1::Lease*> list;
  for (const auto& f : files.files())
    for (const auto& l : f.leases()) list.push_back(&l);
  std::stable_sort(list.begin(), list.end(), [](const v1::Lease* a, const v1::Lease* b) {
    const bool a_calm = a->state() == v1::LEASE_STATE_ACTIVE, b_calm = b->state() == v1::LEASE_STATE_ACTIVE;
    return a_calm != b_calm ? b_calm : a->breaks() > b->breaks();
  });
  return list;
}

void add_breaks(const v1::ListFilesResponse& files, std::size_t room, std::size_t columns, std::vector<std::string>* lines) {
  Table table({{"BREAK", Align::Right}, {"WHAT"}, {"FILE", Align::Path}, {"PHASE"}, {"SINCE", Align::Right}});
  for (const v1::Break* b : sorted_breaks(files)) {
    if (room != 0 && table.rows() + 1 >= room) break;
    table.add({std::to_string(b->id()), what(*b), file(b->file()), word(b->phase()), duration(seconds(b->age()))});
  }
  if (table.empty()) return;
  lines->push_back("");
  for (auto& line : table.lines(columns)) lines->push_back(std::move(line));
}

void add_leases(const v1::ListFilesResponse& files, std::size_t room, std::size_t columns, std::vector<std::string>* lines) {
  Table table({{"LEASE", Align::Right}, {"FILE", Align::Path}, {"RANGE"}, {"BACKING"}, {"STATE"}, {"CLIENT"}});
  for (const v1::Lease* l : sorted_leases(files)) {
    if (room != 0 && table.rows() + 1 >= room) break;
    table.add({std::to_string(l->id()), file(l->file()), lease_range(*l), word(l->backing()), word(l->state()), process(l->client())});
  }
  if (table.empty()) return;
  lines->push_back("");
  for (auto& line : table.lines(columns)) lines->push_back(std::move(line));
}

}  // namespace

std::vector<std::string> top_lines(const Snapshot& now, const Snapshot* before, Size size) {
  std::vector<std::string> lines = heading(now, before, size.columns);
  if (lines.back().empty()) lines.pop_back();
  // A blank line and the table's heading come with each table.
  const std::size_t room = size.rows == 0 ? 0 : size.rows > lines.size() + 4 ? size.rows - lines.size() : 4;
  add_breaks(now.files, room == 0 ? 0 : room / 2, size.columns, &lines);
  const std::size_t left = size.rows == 0 ? 0 : size.rows > lines.size() + 1 ? size.rows - lines.size() - 1 : 1;
  add_leases(now.files, left, size.columns, &lines);
  for (auto& line : lines) line = cut(line, size.columns);
  if (size.rows != 0 && lines.size() > size.rows) lines.resize(size.rows);
  return lines;
}

}  // namespace mrlease::ctl
