// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/proc_task.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "daemon/sys/fd.h"

namespace mrlease::sys {
namespace {

std::vector<std::string_view> words(std::string_view text) {
  std::vector<std::string_view> out;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t begin = text.find_first_not_of(" \n", at);
    if (begin == std::string_view::npos) break;
    std::size_t end = std::min(text.find_first_of(" \n", begin), text.size());
    out.push_back(text.substr(begin, end - begin));
    at = end;
  }
  return out;
}

template <class T>
bool number(std::string_view word, int base, T* out) {
  if (base == 16 && word.starts_with("0x")) word.remove_prefix(2);
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), *out, base);
  return error == std::errc{} && end == word.data() + word.size();
}

// These files are made on read and fit in one.
std::optional<std::string> slurp(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return {};
  char buffer[4096];
  ssize_t length = ::read(fd.get(), buffer, sizeof buffer);
  if (length < 0) return {};
  return std::string(buffer, length);
}

std::string task_path(int tid, const char* name) { return "/proc/" + std::to_string(tid) + "/" + name; }

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
  auto word = words(text);
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
  if (!number(word[word.size() - 2], 16, &state.sp) || !number(word.back(), 16, &state.pc)) return {};
  return state;
}

std::optional<TaskStat> parse_stat(std::string_view text) {
  // The second field is the name in parentheses, and may itself hold blanks and parentheses: count from the last one.
  std::size_t close = text.rfind(')');
  if (close == std::string_view::npos) return {};
  auto word = words(text.substr(close + 1));
  if (word.size() < 20 || word[0].size() != 1) return {};
  TaskStat stat;
  stat.state = word[0][0];  // field 3 of proc_pid_stat(5)
  if (!number(word[6], 10, &stat.flags)) return {};   // 9
  if (!number(word[11], 10, &stat.utime)) return {};  // 14
  if (!number(word[12], 10, &stat.stime)) return {};  // 15
  if (!number(word[19], 10, &stat.start)) return {};  // 22
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
  auto text = slurp(task_path(tid, "syscall"));
  return text ? parse_syscall(*text) : std::nullopt;
}

std::optional<TaskStat> read_stat(int tid) {
  auto text = slurp(task_path(tid, "stat"));
  return text ? parse_stat(*text) : std::nullopt;
}

std::optional<FdInfo> read_fdinfo(int tid, int fd) {
  std::string owner = tid ? std::to_string(tid) : "self";
  auto text = slurp("/proc/" + owner + "/fdinfo/" + std::to_string(fd));
  return text ? parse_fdinfo(*text) : std::nullopt;
}

std::string read_comm(int tid) {
  auto text = slurp(task_path(tid, "comm"));
  if (!text || text->empty()) return "?";
  if (text->back() == '\n') text->pop_back();
  return *text;
}

std::string read_wchan(int tid) { return slurp(task_path(tid, "wchan")).value_or(""); }

bool is_own_thread(int tid) {
  return tid > 0 && ::access(("/proc/self/task/" + std::to_string(tid)).c_str(), F_OK) == 0;
}

}  // namespace mrlease::sys
