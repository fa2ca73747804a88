// SPDX-License-Identifier: Apache-2.0
#include "daemon/session/holders.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <fstream>
#include <utility>

namespace mrlease::session {
namespace {

bool lives(pid_t pid) { return pid > 0 && (::kill(pid, 0) == 0 || errno == EPERM); }

}  // namespace

Holders::Holders(std::string path) : path_(std::move(path)) {
  std::ifstream file(path_);
  for (pid_t pid; file >> pid;) {
    noted_.push_back(pid);
    if (lives(pid)) left_.insert(pid);
  }
  std::sort(noted_.begin(), noted_.end());
}

// Renamed into place: a kill in the middle leaves the old one.
void Holders::note(std::vector<pid_t> processes) {
  std::sort(processes.begin(), processes.end());
  if (processes == noted_) return;
  noted_ = std::move(processes);
  if (noted_.empty()) {
    std::remove(path_.c_str());
    return;
  }
  const std::string fresh = path_ + ".new";
  std::ofstream file(fresh, std::ios::trunc);
  for (const pid_t pid : noted_) file << pid << '\n';
  file.close();
  if (!file || std::rename(fresh.c_str(), path_.c_str()) != 0) std::remove(fresh.c_str());
}

}  // namespace mrlease::session
