// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/preload/registrations.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstdlib>

#include "client-lib/src/preload/say.h"
#include "client-lib/src/verbs/verbs.h"

namespace mrlease::preload {
namespace {

using client::FileMapping;
using client::Outcome;
using client::page_down;
using client::page_up;

bool verbose() {
  static const bool on = ::secure_getenv("MRLEASE_PRELOAD_VERBOSE") != nullptr;
  return on;
}

// Of memory: there is nothing to write back, no block to be lost by a truncate, and other processes share these very pages, as
// they would not share bounce memory. The kernel pins them.
bool in_memory(int fd) {
  struct statfs about {};
  return ::fstatfs(fd, &about) == 0 && (about.f_type == TMPFS_MAGIC || about.f_type == HUGETLBFS_MAGIC);
}

// enum mrl_backing by its name; AUTO where there is none.
mrl_backing backing_wanted() {
  const char* const name = ::secure_getenv("MRLEASE_PRELOAD_BACKING");
  if (name == nullptr || *name == 0) return MRL_BACKING_AUTO;
  for (int b = MRL_BACKING_AUTO; b <= MRL_BACKING_BOUNCE; b++)
    if (std::string(mrl_backing_name(static_cast<mrl_backing>(b))) == name) return static_cast<mrl_backing>(b);
  say("MRLEASE_PRELOAD_BACKING=%s is no backing: auto, direct, odp, odp-cooperative, bounce", name);
  return MRL_BACKING_AUTO;
}

void name_file(int fd, dev_t* device, ino_t* inode) {
  struct stat about {};
  if (::fstat(fd, &about) != 0) return;
  *device = about.st_dev;
  *inode = about.st_ino;
}

// What the application gets: addr and length as it gave them. ibv_dereg_mr looks at their pages only.
void show_as_asked(ibv_mr* mr, void* address, std::size_t length) {
  mr->addr = address;
  mr->length = length;
}

}  // namespace

Registrations& Registrations::of_process() {
  static auto* const one = new Registrations;  // never destroyed: other destructors may deregister
  return *one;
}

ibv_mr* Registrations::add(ibv_pd* pd, void* address, std::size_t length, std::uint64_t iova, unsigned access) {
  const auto at = reinterpret_cast<std::uint64_t>(address);
  const auto plain = [&] { return next_register(pd, address, length, iova, access); };
  // Implicit on-demand registration of everything, and what the kernel will refuse in its own words.
  if (pd == nullptr || address == nullptr || length == 0 || at + length < at || page_up(at + length) == 0) return plain();
  char* const first = reinterpret_cast<char*>(page_down(at));
  const std::size_t bytes = at + length - page_down(at);
  const unsigned wanted = access & ~static_cast<unsigned>(IBV_ACCESS_ON_DEMAND);  // a lease decides that itself
  FileMapping file;
  const Outcome found = client::find_file_mapping(first, bytes, client::verbs::writes(static_cast<int>(access)), &file);
  if (!found.ok() || in_memory(file.file.get())) {
    if (!found.ok() && found.code != ENOTSUP && verbose()) say("no lease: %s", found.text.c_str());
    return plain();
  }
  if (iova != at || (access & IBV_ACCESS_ZERO_BASED) != 0) {
    say("no lease for %p: it is registered under other addresses (iova)", address);
    return plain();
  }
  std::string why;
  mrl_ctx* const ctx = context(&why);
  if (ctx == nullptr) return without_daemon(pd, static_cast<char*>(address), length, access, std::move(file), why);
  return lease(ctx, pd, static_cast<char*>(address), length, static_cast<int>(wanted), file);
}

mrl_ctx* Registrations::context(std::string* why) {
  std::lock_guard lock(opening_);
  if (context_ == nullptr && mrl_open(nullptr, &context_) != 0) {
    *why = mrl_last_error();
    context_ = nullptr;
  }
  return context_;
}

// Nobody here can stop the application's peer: of odp only what costs it a pause at most will do.
bool Registrations::hides_breaks(mrl_ctx* ctx, ibv_context* device) {
  mrl_caps caps{};
  caps.struct_size = sizeof caps;
  return mrl_probe(ctx, device, -1, &caps) == 0 && caps.odp == 1 && caps.odp_waits == 1 && caps.userfaultfd == 1;
}

ibv_mr* Registrations::lease(mrl_ctx* ctx, ibv_pd* pd, char* address, std::size_t length, int access, const FileMapping& file) {
  mrl_reg_options options{};
  options.struct_size = sizeof options;
  options.backing = backing_wanted();
  if (options.backing == MRL_BACKING_AUTO && !hides_breaks(ctx, pd->context)) options.backing = MRL_BACKING_BOUNCE;
  mrl_region* region = nullptr;
  const int code = mrl_reg_mr(ctx, pd, address, length, access, &options, &region);
  if (code != 0) {
    say("no lease, and no registration: %s", mrl_last_error());
    errno = code;
    return nullptr;
  }
  if (verbose()) {
    mrl_info info{};
    info.struct_size = sizeof info;
    (void)mrl_get_info(region, &info);
    say("leased %zu bytes at %p: backing %s, guard %s", length, static_cast<void*>(address), mrl_backing_name(info.backing), info.guard);
  }
  ibv_mr* const mr = mrl_mr(region);
  if (mr == nullptr) {  // fenced already
    (void)mrl_dereg(region);
    errno = EKEYREVOKED;
    return nullptr;
  }
  show_as_asked(mr, address, length);
  Entry entry{region, nullptr, 0, 0};
  name_file(file.file.get(), &entry.device, &entry.inode);
  return keep(mr, std::move(entry));
}

ibv_mr* Registrations::without_daemon(ibv_pd* pd, char* address, std::size_t length, unsigned access, FileMapping file, const std::string& why) {
  const auto at = reinterpret_cast<std::uint64_t>(address);
  ibv_mr* mr = next_register(pd, address, length, at, access);
  if (mr != nullptr) {
    say("no daemon (%s): the file's pages are pinned, as without this library", why.c_str());
    return mr;
  }
  const int refused = errno;
  char* const first = reinterpret_cast<char*>(page_down(at));
  Entry entry;
  name_file(file.file.get(), &entry.device, &entry.inode);
  const Outcome o = FileCopy::create(first, page_up(at + length) - page_down(at), std::move(file), &entry.copy);
  if (o.ok()) mr = next_register(pd, address, length, at, access & ~static_cast<unsigned>(IBV_ACCESS_ON_DEMAND));
  if (mr == nullptr) {
    if (!o.ok()) say("no daemon (%s), the kernel refuses the file's pages, and: %s", why.c_str(), o.text.c_str());
    errno = refused;
    return nullptr;
  }
  say("no daemon (%s), and this kernel refuses the file's pages: they are copied. What is written gets into the file by "
      "ibv_dereg_mr() or at exit, over what others wrote", why.c_str());
  return keep(mr, std::move(entry));
}

ibv_mr* Registrations::keep(ibv_mr* mr, Entry entry) {
  std::lock_guard lock(mutex_);
  entries_[mr] = std::move(entry);
  any_ = true;
  return mr;
}

bool Registrations::owns(const ibv_mr* mr) {
  std::lock_guard lock(mutex_);
  return entries_.count(mr) != 0;
}

int Registrations::remove(ibv_mr* mr) {
  Entry entry;
  {
    std::lock_guard lock(mutex_);
    const auto found = entries_.find(mr);
    if (found != entries_.end()) {
      entry = std::move(found->second);
      entries_.erase(found);
    }
  }
  if (entry.region != nullptr) {
    const int code = mrl_dereg(entry.region);
    if (code != 0) say("%s", mrl_last_error());
    if (code == EBUSY) keep(mr, std::move(entry));  // it is still there
    return code;
  }
  const int code = next_deregister(mr);
  if (!entry.copy) return code;
  if (code != 0) {  // it is still there
    keep(mr, std::move(entry));
    return code;
  }
  const Outcome written = entry.copy->write_back();
  if (!written.ok()) say("%s", written.text.c_str());
  return written.code;
}

// Under the lock: a region that another thread deregisters stays until it is done.
template <typename Which>
int Registrations::sync_each(Which&& which) {
  std::lock_guard lock(mutex_);
  int first = 0;
  for (auto& [mr, entry] : entries_) {
    if (!which(mr, entry)) continue;
    int code = 0;
    if (entry.region != nullptr) {
      code = mrl_sync(entry.region, 0, 0);
      if (code != 0) say("%s", mrl_last_error());
    } else {
      const Outcome written = entry.copy->write_back();
      code = written.code;
      if (code != 0) say("%s", written.text.c_str());
    }
    if (first == 0) first = code;
  }
  return first;
}

int Registrations::sync_file(int fd) {
  if (!any_) return 0;
  dev_t device = 0;
  ino_t inode = 0;
  name_file(fd, &device, &inode);
  return inode == 0 ? 0 : sync_each([&](const ibv_mr*, const Entry& e) { return e.inode == inode && e.device == device; });
}

int Registrations::sync_range(const void* address, std::size_t length) {
  if (!any_) return 0;
  const auto begin = reinterpret_cast<std::uint64_t>(address);
  return sync_each([&](const ibv_mr* mr, const Entry&) {
    const auto at = reinterpret_cast<std::uint64_t>(mr->addr);
    return at < begin + length && begin < at + mr->length;
  });
}

void Registrations::write_back_copies() {
  (void)sync_each([](const ibv_mr*, const Entry& e) { return e.copy != nullptr; });
}

// The connection's threads are the parent's, and so is every lease; the ranges are not mapped here (MADV_DONTFORK). What a
// lock protected is in whatever state the parent had it in, so nothing is touched: it is left behind.
void Registrations::forget_in_child() {
  new (&opening_) std::mutex;
  new (&mutex_) std::mutex;
  new (&entries_) decltype(entries_);
  any_ = false;
  context_ = nullptr;
}

}  // namespace mrlease::preload
