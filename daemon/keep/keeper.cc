// SPDX-License-Identifier: Apache-2.0
#include "daemon/keep/keeper.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <thread>
#include <utility>

namespace mrlease::keep {

Keeper::Keeper(std::vector<NamedFd> inherited) : active_(has_manager()), count_(inherited.size()) {
  for (NamedFd& each : inherited) {
    all_.push_back(each.name);
    names_bytes_ += each.name.size() + 1;
    inherited_[each.name] = std::move(each.fd);
  }
}

void Keeper::drop_all() {
  std::vector<std::string> names;
  {
    std::lock_guard lock(mutex_);
    names = std::exchange(all_, {});
    // Side by side: the close of one group of the guard waits for tasks that another one holds.
    for (auto& [name, fd] : inherited_) std::thread([n = fd.release()] { ::close(n); }).detach();
    inherited_.clear();
  }
  for (const std::string& name : names) drop(name);
}

sys::Fd Keeper::take(const std::string& name) {
  std::lock_guard lock(mutex_);
  const auto it = inherited_.find(name);
  if (it == inherited_.end()) return {};
  sys::Fd fd = std::move(it->second);
  inherited_.erase(it);
  return fd;
}

int Keeper::put(const std::string& name, int fd) {
  if (!active_) return 0;
  {
    std::lock_guard lock(mutex_);
    if (count_ >= kStoreMax || names_bytes_ + name.size() + 1 > kNamesMax) return ENOSPC;
    ++count_;
    names_bytes_ += name.size() + 1;
  }
  const int code = store(name, fd);
  if (code != 0) uncount(name);
  return code;
}

void Keeper::drop(const std::string& name) {
  if (active_ && forget(name) == 0) uncount(name);
}

void Keeper::uncount(const std::string& name) {
  std::lock_guard lock(mutex_);
  if (count_ > 0) --count_;
  names_bytes_ -= std::min(names_bytes_, name.size() + 1);
}

bool Keeper::vacate(int number) {
  std::lock_guard lock(mutex_);
  for (auto& [name, fd] : inherited_) {
    if (fd.get() != number) continue;
    const int moved = ::fcntl(fd.get(), F_DUPFD_CLOEXEC, number + 1);
    if (moved < 0) return false;
    fd.reset(moved);
  }
  return true;
}

std::vector<std::string> Keeper::unclaimed() const {
  std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [name, fd] : inherited_) names.push_back(name);
  return names;
}

std::size_t Keeper::drop_unclaimed() {
  const auto names = unclaimed();
  for (const std::string& name : names) {
    drop(name);
    take(name);
  }
  return names.size();
}

Memory::Memory(Keeper& keeper, const std::string& name, std::size_t bytes) : size_(bytes) {
  sys::Fd fd = keeper.take(name);
  struct stat st {};
  inherited_ = fd && ::fstat(fd.get(), &st) == 0 && static_cast<std::size_t>(st.st_size) == bytes;
  if (!inherited_) {
    if (fd) keeper.drop(name);
    fd.reset(::memfd_create(("mrlease-" + name).c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0 ||
        ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
      throw std::system_error(errno, std::generic_category(), "cannot make the memory that outlives the daemon");
  }
  data_ = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd.get(), 0);
  if (data_ == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "cannot map the memory that outlives the daemon");
  if (inherited_) return;
  if (const int code = keeper.put(name, fd.get()); code != 0)
    throw std::system_error(code, std::generic_category(), "the service manager does not keep descriptors (NOTIFY_SOCKET)");
}

Memory::~Memory() {
  if (data_ != nullptr && data_ != MAP_FAILED) ::munmap(data_, size_);
}

}  // namespace mrlease::keep
