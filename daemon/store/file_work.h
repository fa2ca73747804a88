// SPDX-License-Identifier: Apache-2.0
// File work of the daemon: bounce pages and frozen stores to and from the file. Blocking, but for Bounce::nothing_to_flush(); runs in workers.
#pragma once

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/fence/fence.h"

namespace mrlease::store {

inline constexpr std::uint64_t kPage = 4096;
// A file goes through windows, which bound what is mapped at a time. Bytes.
inline constexpr std::uint64_t kWindow = 64 << 20;

// Can somebody truncate the file while we write to it? Held: a guard holds every truncate until the work is over, so the
// size that was looked at before a write still holds. Possible: no such guard; writes then go another way, which never
// makes the file longer whatever happens, but is several times slower where the file system uses large folios.
enum class Truncates { Possible, Held };

// The pages of a bounce lease: a sealed memfd of the lease's length (rounded up to pages) that both sides map. Thread-safe:
// one operation at a time (an internal mutex), nothing_to_flush() excepted, which does not wait for it.
class Bounce {
 public:
  // Creates the memfd and fills it from file [offset, offset + length). Throws std::system_error.
  Bounce(fence::SharedFd file, std::uint64_t offset, std::uint64_t length, Truncates truncates = Truncates::Possible);
  // The same as a predecessor left it: its memfd() and notes(), which become this one's.
  Bounce(fence::SharedFd file, std::uint64_t offset, std::uint64_t length, Truncates truncates, int memfd, int notes);
  // The memfd that a client has from a daemon that is gone, now this one's; its first on_file bytes at most are on the
  // file. Pages of them that differ from the file's count as written here. Throws EINVAL where it is not sealed against
  // shrinking and growing, or is too short.
  struct Reclaimed { int memfd = -1; std::uint64_t on_file = 0; bool write = true; };
  Bounce(fence::SharedFd file, std::uint64_t offset, std::uint64_t length, Truncates truncates, Reclaimed reclaimed);
  ~Bounce();
  Bounce(const Bounce&) = delete;
  Bounce& operator=(const Bounce&) = delete;
  int memfd() const;
  // What of it a successor needs beside the pages: memory too. Hashes are keyed: hash_seed() goes with it.
  int notes() const;

  struct Result { int code = 0; std::uint64_t pages_written = 0, unsettled = 0, conflicts = 0; std::string text; };
  // Write the pages that changed since they were last written, never beyond the file's end (fstat before each) nor
  // beyond the lease. A page is copied aside, the copy is hashed and written, the hash kept only after success.
  // [begin, end): bytes of the lease; whole pages of it are written.
  Result flush(std::uint64_t begin = 0, std::uint64_t end = ~std::uint64_t{0});
  // The same flush would write nothing. Told of a few pages only, that are in memory, and without waiting for anybody (so that it is no
  // work for a worker); false also where it cannot be told so.
  bool nothing_to_flush(std::uint64_t begin, std::uint64_t end);
  // flush, then fsync(2) of the file. Where that fails, what was written since the last one that did not is written again: the
  // kernel has called those pages clean and may drop them. fsync: in tests another one.
  Result sync(int (*fsync)(int) = ::fsync);
  // The fsync(2) of somebody else has failed, and may have been told in our place.
  void sync_failed();
  // flush, then look again at what was written until it has settled (settle.h; its patience and longest pause): a page
  // that the device was just writing is not left torn in the file. What any flush wrote within the last four pauses, and
  // all that a predecessor left, is looked at too. unsettled: pages that never stood still.
  Result flush_settled(std::chrono::milliseconds patience, std::chrono::milliseconds pause);
  // After a truncate: the file now ends at file_size; pages beyond are off the file and are not written until extend().
  void trim(std::uint64_t file_size);
  // The file has grown: pages up to file_size are on the file again: their bounce content is discarded, file content taken.
  // A write by the device that is under way in such a page is discarded as a whole; waiting for its end takes 20 to 80 ms.
  Result extend(std::uint64_t file_size);
  // After a foreign write: pages that changed in the file and not here are taken over; both changed: ours stays, counted.
  Result merge_from_file();

 private:
  struct Notes;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The key of page hashes; chosen at random, unless a predecessor's is set before the first Bounce is made.
std::uint64_t hash_seed();
void set_hash_seed(std::uint64_t seed);

// Write [begin, begin + length) of the file from the store memfd (store offset 0 is file offset store_begin), never
// beyond the file's end. 0 or errno.
int merge_pages(int store, std::uint64_t store_begin, int file, std::uint64_t begin, std::uint64_t length,
                Truncates truncates = Truncates::Possible);
// The same for many ranges, which need not touch: a peer may be waiting at the gate, and what a range costs by itself
// (a mapping or a pipe, the time stamps) is paid once; many bytes are written by two threads. stop: asked before each range, by either of
// them; true ends it with EKEYREVOKED.
struct MergeRange { std::uint64_t begin, length; };
int merge_ranges(int store, std::uint64_t store_begin, int file, const std::vector<MergeRange>& ranges,
                 const std::function<bool()>& stop);
// For a client that is fenced or dead: write every page of the store that holds data and differs from the file.
// pages: how many were written. 0 or errno (the first). It goes on behind what cannot be written, for refusals_max times: on a
// full disk each takes its time, and pages that have a block can be written.
int merge_all(int store, std::uint64_t store_begin, std::uint64_t store_length, int file, std::uint64_t* pages,
              Truncates truncates = Truncates::Possible, std::uint64_t refusals_max = ~0ull);
// A sealed (no shrink, no grow) memfd of length bytes. Throws std::system_error.
int create_store(const char* name, std::uint64_t length);
// The same in two steps, the first of which can be done ahead of time.
int open_store(const char* name);
void size_store(int store, std::uint64_t length);

}  // namespace mrlease::store
