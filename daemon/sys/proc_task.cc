// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/proc_task.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "daemon/sys/proc_file.h"

namespace mrlease::sys {
namespace {

// The first words of a text; more than there is room for are only counted. Without the heap: a task waits meanwhile.
class Words {
 public:
  explicit Words(std::string_view text) {
    for (std::size_t at = 0; at < text.size();) {
      std::size_t begin = text.find_first_not_of(" \n", at);
      if (begin == std::string_view::npos) break;
      std::size_t end = std::min(text.find_first_of(" \n", begin), text.size());
      if (size_ < words_.size()) words_[size_] = text.substr(begin, end - begin);
      ++size_;
      at = end;
    }
  }
  std::size_t size() const { return size_; }
  std::string_view operator[](std::size_t i) const { return words_[i]; }

 private:
  std::array<std::string_view, 20> words_{};  // as many of /proc/<tid>/stat as are looked at
  std::size_t size_ = 0;
};

template <class T>
bool number(std::string_view word, int base, T* out) {
  if (base == 16 && word.starts_with("0x")) word.remove_prefix(2);
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), *out, base);
  return error == std::errc{} && end == word.data() + word.size();
}

bool field(std::string_view text, std::string_view name, int base, std::uint64_t* out) {
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    if (line.starts_with(name)) {
      line.remove_prefix(name.size());
      line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
      return number(line, base, out);
    }
    at = end + 1;
  }
  return false;
}

}  // namespace

std::optional<SyscallState> parse_syscall(std::string_view text) {
  const Words word(text);
  SyscallState state;
  if (word.size() == 1 && word[0] == "running") {
    state.running = true;
    return state;
  }
  // Either "-1 sp pc", or "number a0 a1 a2 a3 a4 a5 sp pc".
  if (word.size() != 3 && word.size() != 9) return {};
  if (!number(word[0], 10, &state.number)) return {};
  if ((word.size() == 3) != (state.number == -1)) return {};
  for (std::size_t i = 0; i + 3 < word.size(); ++i)
    if (!number(word[i + 1], 16, &state.args[i])) return {};
  if (!number(word[word.size() - 2], 16, &state.sp) || !number(word[word.size() - 1], 16, &state.pc)) return {};
  return state;
}

std::optional<TaskStat> parse_stat(std::string_view text) {
  // The second field is the name in parentheses, and may itself hold blanks and parentheses: count from the last one.
  std::size_t close = text.rfind(')');
  if (close == std::string_view::npos) return {};
  const Words word(text.substr(close + 1));
  if (word.size() < 20 || word[0].size() != 1) return {};
  TaskStat stat;
  stat.state = word[0][0];  // field 3 of proc_pid_stat(5)
  if (!number(word[6], 10, &stat.flags)) return {};   // 9
  if (!number(word[11], 10, &stat.utime)) return {};  // 14
  if (!number(word[12], 10, &stat.stime)) return {};  // 15
  if (!number(word[19], 10, &stat.start)) return {};  // 22
  if (std::size_t open = text.find('('); open < close) stat.comm = text.substr(open + 1, close - open - 1);
  return stat;
}

std::optional<FdInfo> parse_fdinfo(std::string_view text) {
  FdInfo info;
  if (!field(text, "flags:", 8, &info.flags) || !field(text, "mnt_id:", 10, &info.mount) ||
      !field(text, "ino:", 10, &info.inode))
    return {};
  return info;
}

std::optional<SyscallState> read_syscall(int tid) {
  static thread_local RecentTasks recent("syscall");
  const ProcText text = recent.read(tid);
  return text ? parse_syscall(*text) : std::nullopt;
}

std::optional<TaskStat> read_stat(int tid) {
  static thread_local RecentTasks recent("stat");
  const ProcText text = recent.read(tid);
  return text ? parse_stat(*text) : std::nullopt;
}

std::optional<FdInfo> read_fdinfo(int tid, int fd) {
  static thread_local RecentTasks recent("fdinfo");
  const ProcText text = recent.read(tid, fd);
  return text ? parse_fdinfo(*text) : std::nullopt;
}

std::string read_comm(int tid) {
  if (tid == 0) return "?";  // a task of another pid namespace, not this process
  const ProcText text(tid, "comm");
  if (!text || (*text).empty()) return "?";
  std::string comm(*text);
  if (comm.back() == '\n') comm.pop_back();
  return comm;
}

std::string read_wchan(int tid) {
  const ProcText text(tid, "wchan");
  return text ? std::string(*text) : std::string();
}

bool is_own_thread(int tid) {
  static const pid_t self = ::getpid();
  return is_thread_of(self, tid);
}

bool is_thread_of(int process, int tid) {
  // Signal 0 goes to nobody, and the kernel finds a thread in a group faster than a path below /proc.
  return process > 0 && tid > 0 && (::syscall(SYS_tgkill, process, tid, 0) == 0 || errno != ESRCH);
}

bool is_gone(int tid) { return tid > 0 && ::kill(tid, 0) != 0 && errno == ESRCH; }

}  // namespace mrlease::sys
