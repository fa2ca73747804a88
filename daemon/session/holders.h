// SPDX-License-Identifier: Apache-2.0
// Which processes hold leases, in a file for the next daemon: it waits for them to come back before it grants to others.
//
// A line for each that begins ("PID START", proc_pid_stat(5)) and for each that ends ("-PID"), so that a change costs a line however many
// there are; written anew when most of it is history. A last line that a kill has cut is not believed.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace mrlease::session {

// Not thread-safe.
class Holders {
 public:
  // Takes the file over, or makes it. A change that cannot be written is not noted: who began with it is not waited for.
  explicit Holders(std::string path);
  // Of a predecessor, those that still live.
  std::multiset<pid_t> left() const { return left_; }
  // Once for each session that holds leases: each has to come back.
  void note(std::vector<pid_t> processes);

 private:
  std::string line_of(pid_t pid) const;
  bool append(const std::string& lines);
  bool write_anew();

  const std::string path_;
  std::multiset<pid_t> left_;
  std::vector<pid_t> noted_;  // rising
  std::map<pid_t, std::uint64_t> started_;  // of those that are noted: a number may be another process's by the time
  std::size_t lines_ = 0;  // of the file; 0: it is not ours yet
};

}  // namespace mrlease::session
