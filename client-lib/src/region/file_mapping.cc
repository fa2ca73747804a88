// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/region/file_mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>

namespace mrlease::client {
namespace {

constexpr const char kDeleted[] = " (deleted)";

std::string hex(std::uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%" PRIx64, value);
  return text;
}

// The kernel writes a line feed of a name as \012, and nothing else (fs/proc/task_mmu.c).
std::string unescaped(std::string path) {
  for (std::size_t at = 0; (at = path.find("\\012", at)) != std::string::npos;) path.replace(at, 4, "\n");
  return path;
}

Outcome read_maps(std::vector<MapsLine>* out) {
  std::ifstream in("/proc/self/maps");
  if (!in) return from_errno("/proc/self/maps");
  MapsLine parsed;
  for (std::string line; std::getline(in, line);)
    if (parse_maps_line(line, &parsed)) out->push_back(parsed);
  return {};
}

// The line of the first page of that file, mapped for a moment: what the kernel calls its device and inode here.
Outcome line_of(int fd, MapsLine* out) {
  void* const page = ::mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) return from_errno("mmap of the file that was opened again");
  std::vector<MapsLine> maps;
  Outcome o = read_maps(&maps);
  const auto at = reinterpret_cast<std::uint64_t>(page);
  if (o.ok()) o = check_mapping(maps, at, kPage, false, out);
  ::munmap(page, kPage);
  return o;
}

// Is this the file that is mapped there?
Outcome is_under(const MapsLine& mapping, int file) {
  MapsLine again;
  Outcome o = line_of(file, &again);
  if (o.ok() && (again.device != mapping.device || again.inode != mapping.inode))
    o = {ESTALE, "another file is called " + mapping.path + " now; use mrl_reg_file with a descriptor"};
  return o;
}

Outcome open_by_path(const MapsLine& mapping, wire::Fd* file) {
  // Before it is opened: to open a device may do something.
  struct stat about {};
  if (::stat(mapping.path.c_str(), &about) == 0 && !S_ISREG(about.st_mode))
    return {ENOTSUP, mapping.path + " is not a regular file; register it with ibv_reg_mr"};
  *file = wire::Fd(::open(mapping.path.c_str(), (mapping.writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NOCTTY));
  if (*file) return is_under(mapping, file->get());
  const int code = errno;
  return {code, mapping.path + " is mapped there, and cannot be opened again: " + std::strerror(code) + "; use mrl_reg_file with a descriptor"};
}

}  // namespace

bool parse_maps_line(const std::string& line, MapsLine* out) {
  MapsLine m;
  char permissions[5], device[24];
  int path = 0;
  if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %23s %" SCNu64 " %n", &m.begin, &m.end, permissions, &m.offset, device,
                  &m.inode, &path) != 6 || std::strlen(permissions) != 4)
    return false;
  m.readable = permissions[0] == 'r';
  m.writable = permissions[1] == 'w';
  m.shared = permissions[3] == 's';
  m.device = device;
  m.path = unescaped(line.substr(std::min<std::size_t>(static_cast<std::size_t>(path), line.size())));
  if (m.path.ends_with(kDeleted)) {
    m.deleted = true;
    m.path.resize(m.path.size() - std::strlen(kDeleted));
  }
  *out = std::move(m);
  return true;
}

Outcome check_mapping(const std::vector<MapsLine>& maps, std::uint64_t address, std::uint64_t length, bool write, MapsLine* whole) {
  const std::uint64_t end = address + length;
  std::uint64_t at = address;
  const MapsLine* first = nullptr;
  for (const MapsLine& m : maps) {
    if (m.end <= at) continue;
    if (at >= end || m.begin > at) break;
    if (!m.shared || m.inode == 0)
      return {ENOTSUP, hex(at) + " is not a shared mapping of a file (" + (m.path.empty() ? "anonymous" : m.path) +
                           "); register it with ibv_reg_mr"};
    if (!m.readable) return {EFAULT, hex(at) + " is mapped without PROT_READ"};
    if (write && !m.writable) return {EACCES, hex(at) + " is mapped for reading only, but the access has writes"};
    if (first == nullptr) {
      first = &m;
    } else if (m.device != first->device || m.inode != first->inode || m.offset - first->offset != m.begin - first->begin) {
      return {EINVAL, "at " + hex(m.begin) + " begins another file, or another part of it; register each mapping by itself"};
    } else if (m.writable != first->writable) {
      return {EINVAL, "the mapping is writable in parts; register each part by itself"};
    }
    at = m.end;
  }
  if (at < end) return {EFAULT, "nothing is mapped at " + hex(at)};
  if (first->deleted)
    return {ENOENT, first->path + " was unlinked: its file cannot be found by name; use mrl_reg_file with a descriptor"};
  *whole = *first;
  whole->offset += address - first->begin;
  whole->begin = address;
  whole->end = end;
  return {};
}

Outcome find_file_mapping(const void* address, std::size_t length, bool write, FileMapping* out, const OpenMapping& otherwise) {
  std::vector<MapsLine> maps;
  MapsLine mapping;
  Outcome o = read_maps(&maps);
  if (o.ok()) o = check_mapping(maps, reinterpret_cast<std::uint64_t>(address), length, write, &mapping);
  if (o.ok()) o = open_by_path(mapping, &out->file);
  if (!o.ok() && !mapping.path.empty() && o.code != ENOTSUP && otherwise) {
    Outcome other = otherwise(mapping, &out->file);
    if (other.ok()) other = is_under(mapping, out->file.get());
    o = other.ok() ? other : Outcome{other.code, o.text + "; mrleased: " + other.text};
  }
  if (!o.ok()) return o;
  out->offset = mapping.offset;
  out->writable = mapping.writable;
  return {};
}

}  // namespace mrlease::client
