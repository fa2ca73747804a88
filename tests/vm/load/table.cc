// SPDX-License-Identifier: Apache-2.0
#include "tests/vm/load/table.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace mrlease::load {
namespace {

Table* map(int fd, std::uint64_t bytes, int protection, const std::string& path) {
  void* at = fd < 0 ? MAP_FAILED : mmap(nullptr, bytes, protection, MAP_SHARED, fd, 0);
  const int error = errno;
  if (fd >= 0) close(fd);
  if (at == MAP_FAILED) throw std::system_error(error, std::generic_category(), "map the table " + path);
  return static_cast<Table*>(at);
}

}  // namespace

TableFile TableFile::create(const std::string& path, std::uint64_t pages, bool unaligned) {
  const std::string fresh = path + ".new";
  const int fd = ::open(fresh.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd >= 0 && ftruncate(fd, static_cast<off_t>(table_bytes(pages))))
    throw std::system_error(errno, std::generic_category(), "size the table " + path);
  Table* table = map(fd, table_bytes(pages), PROT_READ | PROT_WRITE, path);
  table->pages = pages;
  table->unaligned = unaligned;
  if (rename(fresh.c_str(), path.c_str())) throw std::system_error(errno, std::generic_category(), "name " + path);
  return TableFile(table);
}

TableFile TableFile::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat about {};
  if (fd >= 0 && fstat(fd, &about)) throw std::system_error(errno, std::generic_category(), "look at " + path);
  return TableFile(map(fd, static_cast<std::uint64_t>(about.st_size), PROT_READ, path));
}

}  // namespace mrlease::load
