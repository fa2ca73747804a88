// SPDX-License-Identifier: Apache-2.0
#include "daemon/sys/mounts.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "daemon/sys/apart.h"
#include "daemon/sys/fd.h"

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

std::string read_start(const std::string& path, std::size_t most) {
  const Fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char piece[16384];
  ssize_t n = 0;
  while (file && text.size() < most && (n = ::read(file.get(), piece, sizeof piece)) > 0) text.append(piece, static_cast<std::size_t>(n));
  if (text.size() >= most) text.resize(text.rfind('\n') + 1);  // the last line may be cut
  return text;
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

std::vector<Mount> read_mounts() {
  std::ifstream in("/proc/self/mountinfo");
  std::stringstream text;
  text << in.rdbuf();
  return parse_mounts(text.str());
}

int mount_id(int fd) {
  std::ifstream in("/proc/self/fdinfo/" + std::to_string(fd));
  std::string word;
  while (in >> word) {
    int id;
    if (word == "mnt_id:" && in >> id) return id;
  }
  return -1;
}

std::optional<Mount> mount_of(int fd, pid_t process) {
  const int id = mount_id(fd);
  if (id < 0) return {};
  if (auto own = find_in(read_start("/proc/self/mountinfo", std::string::npos), id)) return own;
  if (process <= 0) return {};
  const auto theirs = apart(process, [process] { return read_start("/proc/" + std::to_string(process) + "/mountinfo", kForeignMountsMax); });
  return theirs ? find_in(*theirs, id) : std::nullopt;
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
