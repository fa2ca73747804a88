// SPDX-License-Identifier: Apache-2.0
// What the listener is to hear: collected under the guard's lock, told without it, in order.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "daemon/guard/guard.h"

namespace mrlease::guard {

class Outbox {
 public:
  using Note = std::function<void(const Listener&)>;
  void add(Note note) { notes_.push_back(std::move(note)); }
  // A file was changed and nothing was held: told when the task's name has been looked up.
  struct Change {
    core::FileKey file;
    int tid = 0;
    std::string how;  // behind "changed by TID (NAME)"
  };
  void add_change(Change change) { changes_.push_back(std::move(change)); }
  const Change* next_change() const { return changes_.empty() ? nullptr : &changes_.front(); }
  // The first of them, by a task of that name.
  void name_change(const std::string& comm) {
    Change change = std::move(changes_.front());
    changes_.pop_front();
    add([file = change.file, text = "changed by " + std::to_string(change.tid) + " (" + comm + ")" + change.how](const Listener& listener) {
      listener.observed(file, text);
    });
  }

  bool empty() const { return notes_.empty() && changes_.empty(); }
  std::vector<Note> take() { return std::exchange(notes_, {}); }

 private:
  std::vector<Note> notes_;
  std::deque<Change> changes_;
};

}  // namespace mrlease::guard
