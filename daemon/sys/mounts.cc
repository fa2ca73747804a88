// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/mounts.h"

#include <poll.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>

#include "daemon/sys/own_proc.h"

namespace mrlease::sys {

namespace {

// Spaces, tabs, newlines and backslashes stand as three octal digits behind a backslash.
std::string unescape(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool octal = text[i] == '\\' && i + 3 < text.size() &&
                       std::all_of(text.begin() + i + 1, text.begin() + i + 4, [](char c) { return c >= '0' && c <= '7'; });
    if (!octal) {
      out += text[i];
      continue;
    }
    out += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
    i += 3;
  }
  return out;
}

std::optional<Mount> find_in(std::string_view mountinfo, int id) {
  const std::string begin = std::to_string(id) + " ";
  for (std::size_t at = 0; at < mountinfo.size();) {
    const std::size_t end = std::min(mountinfo.find('\n', at), mountinfo.size());
    const std::string_view line = mountinfo.substr(at, end - at);
    at = end + 1;
    if (!line.starts_with(begin)) continue;
    auto found = parse_mounts(line);
    if (!found.empty()) return std::move(found.front());
  }
  return {};
}

}  // namespace

std::vector<Mount> parse_mounts(std::string_view mountinfo) {
  std::vector<Mount> mounts;
  std::istringstream in{std::string(mountinfo)};
  for (std::string line; std::getline(in, line);) {
    const auto dash = line.find(" - ");
    std::istringstream front(line.substr(0, dash));
    std::string parent, device, root, point, type, source;
    Mount m;
    if (dash == std::string::npos || !(front >> m.id >> parent >> device >> root >> point)) continue;
    std::istringstream back(line.substr(dash + 3));
    if (!(back >> type >> source)) continue;
    m.point = unescape(point);
    m.type = type;
    m.source = unescape(source);
    mounts.push_back(std::move(m));
  }
  return mounts;
}

std::vector<Mount> read_mounts() { return parse_mounts(read_proc("self/mountinfo")); }

int mount_id(int fd) {
  constexpr std::string_view kName = "mnt_id:";
  constexpr std::size_t kStart = 4096;  // locks stand behind it, as many as a client likes
  const std::string text = read_proc("self/fdinfo/" + std::to_string(fd), kStart);
  const std::size_t at = text.find(kName);
  if (at == std::string::npos) return -1;
  return std::atoi(text.c_str() + at + kName.size());
}

bool OwnMounts::changed() {
  if (!watch_) {
    watch_ = open_proc("self/mountinfo");
    return true;
  }
  pollfd list{watch_.get(), POLLPRI, 0};
  return ::poll(&list, 1, 0) != 0;
}

std::optional<Mount> OwnMounts::find(int id) {
  constexpr std::size_t kMost = 1024;
  std::lock_guard lock(mutex_);
  if (changed() || found_.size() >= kMost) found_.clear();  // before the list is read
  const auto known = found_.find(id);
  if (known != found_.end()) return known->second;
  const std::string list = read_proc("self/mountinfo");
  auto found = find_in(list, id);
  if (watch_ && !list.empty()) found_.emplace(id, found);
  return found;
}

std::optional<Mount> own_mount(int id) {
  static OwnMounts own;
  return own.find(id);
}

std::optional<Mount> mount_of_process(pid_t process, int id) {
  return find_in(read_proc(std::to_string(process) + "/mountinfo", kForeignMountsMax), id);
}

const Mount* find_mount(const std::vector<Mount>& mounts, int id) {
  const auto it = std::find_if(mounts.begin(), mounts.end(), [id](const Mount& m) { return m.id == id; });
  return it == mounts.end() ? nullptr : &*it;
}

bool is_under(std::string_view path, std::string_view directory) {
  while (directory.size() > 1 && directory.back() == '/') directory.remove_suffix(1);
  if (directory == "/") return !path.empty() && path[0] == '/';
  return path.starts_with(directory) && (path.size() == directory.size() || path[directory.size()] == '/');
}

}  // namespace mrlease::sys
