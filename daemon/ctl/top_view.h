// SPDX-License-Identifier: Apache-2.0
// The lines of top. Pure.
#pragma once

#include <string>
#include <vector>

#include "admin.pb.h"
#include "daemon/ctl/terminal.h"

namespace mrlease::ctl {

namespace v1 = admin::v1;

struct Snapshot {
  v1::GetStatsResponse stats;
  v1::ListFilesResponse files;
  double at = 0;        // seconds on a clock that does not jump
  std::string clock;    // time of day
  std::string trouble;  // not empty: why this is old
};

// At most size.rows lines of at most size.columns. before: an earlier snapshot, for what happened in between; may be null.
// rows 0: as many as there are.
std::vector<std::string> top_lines(const Snapshot& now, const Snapshot* before, Size size);

}  // namespace mrlease::ctl
