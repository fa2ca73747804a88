// SPDX-License-Identifier: Apache-2.0
// Answers of the daemon as text for people. Pure. width: of the terminal; 0: no limit.
#pragma once

#include <cstddef>
#include <string>

#include "admin.pb.h"

namespace mrlease::ctl {

namespace v1 = admin::v1;

std::string view(const v1::ListLeasesResponse& r, std::size_t width);
std::string view(const v1::Lease& lease, std::size_t width);
std::string view(const v1::ListFilesResponse& r, std::size_t width);
std::string view(const v1::ProbeResponse& r, std::size_t width);
std::string view(const v1::GetStatsResponse& r, std::size_t width);
std::string view(const v1::GetConfigResponse& r, std::size_t width);
std::string view(const v1::ReloadResponse& r);
std::string view_tried(const v1::ReloadResponse& r, std::size_t width);  // of a dry run
std::string view(const v1::DrainResponse& r, const std::string& path, std::size_t width);
// One line, without its end.
std::string view(const v1::Event& event);
std::string view(const v1::FreezeResponse& r);

// Shared with top.
std::string lease_range(const v1::Lease& lease);
// "truncate by 1234 (cp)"
std::string what(const v1::Break& b);

}  // namespace mrlease::ctl
