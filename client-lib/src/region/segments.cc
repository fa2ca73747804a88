// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/region/segments.h"

#include <algorithm>

namespace mrlease::client {

Segments::Segments(std::uint64_t pages) {
  if (pages > 0) list_.push_back({0, pages});
}

std::vector<Segment> Segments::in(std::uint64_t begin, std::uint64_t end) const {
  std::vector<Segment> out;
  for (Segment s : list_) {
    s.begin = std::max(s.begin, begin);
    s.end = std::min(s.end, end);
    if (s.begin < s.end) out.push_back(s);
  }
  return out;
}

std::vector<Segment> Segments::of_store(std::uint64_t store) const {
  std::vector<Segment> out;
  for (const Segment& s : list_) {
    if (s.kind == Segment::Kind::Store && s.store == store) out.push_back(s);
  }
  return out;
}

std::vector<Segment> Segments::orphans(std::uint64_t end) const {
  std::vector<Segment> out = in(0, end);
  std::erase_if(out, [](const Segment& s) { return s.kind != Segment::Kind::Orphan; });
  return out;
}

std::uint64_t Segments::first_orphan() const {
  const auto first = std::find_if(list_.begin(), list_.end(), [](const Segment& s) { return s.kind == Segment::Kind::Orphan; });
  return first == list_.end() ? pages() : first->begin;
}

bool Segments::uses(std::uint64_t store) const {
  return std::any_of(list_.begin(), list_.end(),
                     [&](const Segment& s) { return s.kind != Segment::Kind::File && s.store == store; });
}

void Segments::set(std::uint64_t begin, std::uint64_t end, Segment::Kind kind, std::uint64_t store) {
  end = std::min(end, pages());
  if (begin >= end) return;
  std::vector<Segment> out;
  auto append = [&](const Segment& s) {
    if (s.begin >= s.end) return;
    const bool file = s.kind == Segment::Kind::File;
    if (file && !out.empty() && out.back().kind == Segment::Kind::File) {
      out.back().end = s.end;
    } else {
      out.push_back(s);
    }
  };
  bool placed = false;
  for (const Segment& s : list_) {
    append({s.begin, std::min(s.end, begin), s.kind, s.store});
    if (!placed && s.end > begin) {
      append({begin, end, kind, kind == Segment::Kind::File ? 0 : store});
      placed = true;
    }
    append({std::max(s.begin, end), s.end, s.kind, s.store});
  }
  list_ = std::move(out);
}

}  // namespace mrlease::client
