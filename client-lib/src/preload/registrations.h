// SPDX-License-Identifier: Apache-2.0
// Which registrations of this process are leases, and how each of them ends.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "client-lib/src/preload/file_copy.h"
#include "client-lib/src/preload/next_verbs.h"
#include "mrlease/mrlease.h"

namespace mrlease::preload {

// Thread-safe. Lives as long as the process.
class Registrations {
 public:
  static Registrations& of_process();

  // As ibv_reg_mr_iova2(3): NULL and errno.
  ibv_mr* add(ibv_pd* pd, void* address, std::size_t length, std::uint64_t iova, unsigned access);
  int remove(ibv_mr* mr);           // 0 or errno; the registration is gone
  bool owns(const ibv_mr* mr);      // is it a lease, or a copy?
  // What peers have written to the file of that descriptor, or to these addresses, is in the file, and durable where there is a
  // daemon: 0 or errno. Before the process' own fsync(2) and msync(2), which know nothing of bounce pages.
  int sync_file(int fd);
  int sync_range(const void* address, std::size_t length);
  void write_back_copies();         // at exit
  void forget_in_child();           // after fork(): none of them is the child's

 private:
  using FileMapping = client::FileMapping;
  struct Entry {
    mrl_region* region = nullptr;
    std::unique_ptr<FileCopy> copy;
    dev_t device = 0;  // the file
    ino_t inode = 0;
  };
  // The daemon's connection: of the first lease, made again while there is none. NULL: no daemon; *why.
  mrl_ctx* context(std::string* why);
  bool hides_breaks(mrl_ctx* ctx, ibv_context* device);
  ibv_mr* lease(mrl_ctx* ctx, ibv_pd* pd, char* address, std::size_t length, int access, const FileMapping& file);
  ibv_mr* without_daemon(ibv_pd* pd, char* address, std::size_t length, unsigned access, FileMapping file, const std::string& why);
  ibv_mr* keep(ibv_mr* mr, Entry entry);
  template <typename Which>
  int sync_each(Which&& which);

  std::atomic<bool> any_{false};  // without it a process' fsync(2) is none of our business
  std::mutex opening_;            // before mutex_
  std::mutex mutex_;
  mrl_ctx* context_ = nullptr;
  std::map<const ibv_mr*, Entry> entries_;
};

}  // namespace mrlease::preload
