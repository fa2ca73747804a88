// SPDX-License-Identifier: Apache-2.0
// The log, on stderr. Who reads that may be slow, or stopped (a pager, a full pipe, a journal that hangs), and nobody that the daemon holds may
// wait for him: a thread of its own writes.
#pragma once

#include <chrono>
#include <string>

namespace mrlease::loop::log {

// Once, before there are other threads. Lines before it, or without it, go to stderr at once. level: as the option log-level has it. `stamped`: each
// line begins with the time of day; a manager writes its own. Throws spdlog::spdlog_ex or std::system_error when there can be no thread.
void begin(const std::string& level, bool stamped);
void set_level(const std::string& level);

// level: 0 debug, 1 info, 2 warning, 3 error. Thread-safe; does not wait. Of more lines than kLinesMax that are not written yet the oldest are
// lost, and how many is told by one that comes when half of them are written. A process that is killed takes with it what is not written yet.
inline constexpr std::size_t kLinesMax = 1024;
void line(int level, const std::string& text);

// Before the process ends: what has been said is written, or that time has passed.
void end(std::chrono::milliseconds at_most = std::chrono::milliseconds(250));

}  // namespace mrlease::loop::log
