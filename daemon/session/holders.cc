// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/holders.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <sstream>
#include <utility>

#include "daemon/sys/apart.h"
#include "daemon/sys/proc_task.h"

namespace mrlease::session {
namespace {

// Lines beyond twice those that are needed.
constexpr std::size_t kHistoryMost = 64;

// 0: there is no such process, or it cannot be looked at.
std::uint64_t start_of(pid_t pid) {
  const auto stat = sys::apart(pid, [pid] { return sys::read_stat(pid); });
  return stat && *stat ? (*stat)->start : 0;
}

bool lives(pid_t pid) { return ::kill(pid, 0) == 0 || errno == EPERM; }

std::vector<pid_t> without(const std::vector<pid_t>& all, const std::vector<pid_t>& others) {
  std::vector<pid_t> out;
  std::set_difference(all.begin(), all.end(), others.begin(), others.end(), std::back_inserter(out));
  return out;
}

}  // namespace

Holders::Holders(std::string path) : path_(std::move(path)) {
  std::ifstream file(path_);
  std::multimap<pid_t, std::uint64_t> there;
  for (std::string text; std::getline(file, text) && !file.eof();) {
    std::istringstream line(text);
    pid_t pid = 0;
    std::uint64_t start = 0;
    line >> pid >> start;
    if (pid > 0) there.emplace(pid, start);
    else if (const auto ended = there.find(-pid); ended != there.end()) there.erase(ended);
  }
  for (const auto& [pid, start] : there) {
    noted_.push_back(pid);
    started_[pid] = start;
    // 0: it could not be told, or a daemon before this file had it noted none.
    const std::uint64_t now = start_of(pid);
    if (start != 0 && now != 0 ? now == start : lives(pid)) left_.insert(pid);
  }
}

void Holders::note(std::vector<pid_t> processes) {
  std::sort(processes.begin(), processes.end());
  if (processes == noted_) return;
  const std::vector<pid_t> ended = without(noted_, processes), begun = without(processes, noted_);
  noted_ = std::move(processes);
  std::string lines;
  for (const pid_t pid : ended) lines += '-' + std::to_string(pid) + '\n';
  for (const pid_t pid : begun) {
    started_[pid] = start_of(pid);
    lines += line_of(pid);
  }
  lines_ = lines_ == 0 ? 0 : lines_ + ended.size() + begun.size();
  const bool anew = lines_ == 0 || lines_ > 2 * noted_.size() + kHistoryMost;
  if (!noted_.empty() && (anew ? write_anew() : append(lines))) return;
  // What stands there is still right of most of them; the next change writes it anew.
  if (noted_.empty()) std::remove(path_.c_str());
  lines_ = 0;
}

std::string Holders::line_of(pid_t pid) const { return std::to_string(pid) + ' ' + std::to_string(started_.at(pid)) + '\n'; }

bool Holders::append(const std::string& lines) {
  std::ofstream file(path_, std::ios::app);
  file << lines;
  file.close();
  return static_cast<bool>(file);
}

// Renamed into place: a kill in the middle leaves the old one.
bool Holders::write_anew() {
  std::erase_if(started_, [this](const auto& entry) { return !std::binary_search(noted_.begin(), noted_.end(), entry.first); });
  const std::string fresh = path_ + ".new";
  std::ofstream file(fresh, std::ios::trunc);
  for (const pid_t pid : noted_) file << line_of(pid);
  file.close();
  lines_ = noted_.size();
  if (file && std::rename(fresh.c_str(), path_.c_str()) == 0) return true;
  std::remove(fresh.c_str());
  return false;
}

}  // namespace mrlease::session
