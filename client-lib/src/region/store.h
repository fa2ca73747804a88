// SPDX-License-Identifier: Apache-2.0
// A store: the memfd that a FREEZE or TRIM brought, standing in for a range of the file; and how it gets back into it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "client-lib/src/protocol/frames.h"
#include "client-lib/src/util/outcome.h"
#include "client-lib/src/util/page_set.h"
#include "proto/fd_passing.h"

namespace mrlease::client {

struct Store {
  std::uint64_t id = 0;
  wire::Fd memfd;
  std::uint64_t begin = 0;    // within the file; byte 0 of the memfd
  std::uint64_t end = ~0ull;  // within the file: nothing beyond is merged (a lease may end inside a page)
  bool refused = false;       // the last merge has failed, by the file's fault: merged()
  bool forgotten = false;     // by the daemon, since what it has was cut off: it goes along with a merge
};

// What a merge of it came to. EKEYREVOKED says nothing of the file.
void merged(Store& store, const Outcome& outcome);

// Have these ranges of the FILE written from the store. Blocks until they are.
using MergeFn = std::function<Outcome(const Store& store, const std::vector<protocol::FileRange>& ranges)>;

using Deadline = std::chrono::steady_clock::time_point;

// Pages [begin, end) of a region.
struct PageSpan {
  std::uint64_t begin, end;
};

// Where a region lies.
struct Layout {
  char* base = nullptr;
  std::uint64_t length = 0;  // whole pages
  int file = -1;             // not owned
  std::uint64_t file_offset = 0;
  int protection = 0;  // of mmap(2)
  std::uint64_t pages() const { return length / kPage; }
  // Those that [offset, offset + bytes) of the file touches; bytes 0: to the end. None: {0, 0}.
  PageSpan pages_of(std::uint64_t offset, std::uint64_t bytes) const;
};

// The file's own pages at [begin, end) pages of the region, MAP_SHARED, not inherited by children. At an address of the
// kernel's choice, or `over` the region itself.
Outcome map_file(const Layout& layout, std::uint64_t begin, std::uint64_t end, int protection, bool over, char** out);
// What is mapped at the whole region, once more at an address of the kernel's choice and for reading only; not inherited either. An old size of
// 0 makes mremap(2) a second mapping of shared pages, which, unlike mmap(2), asks no guard on the file (fsnotify_mmap_perm(), mm/util.c).
Outcome map_alias(const Layout& layout, char** out);
// Write what differs from `from` into the file, never beyond its end: for when there is no daemon to do it.
Outcome write_back(int file, std::uint64_t offset, const char* from, std::uint64_t length);
// The same out of a store.
Outcome write_back_store(int file, const Store& store, const std::vector<protocol::FileRange>& ranges);
// The file's own pages at `span`, over what is there; and over them, where the store was refused, those that it has: what a peer wrote
// is nowhere else. A page that the store lacks was neither written nor read. More than a thousand runs of pages would take as many mappings,
// of which a process has 65530 (vm.max_map_count): they become a copy of the range in memory.
Outcome map_file_again(const Layout& layout, const Store& store, PageSpan span);
// What the recall says of its store.
Outcome store_of_recall(const wire::v1::Recall& recall, wire::Fd memfd, Store* out);
// Which of its pages there are, of `pages` from that byte of the file on. What nobody has written or read is not.
PageSet pages_held(const Store& store, std::uint64_t first_byte, std::uint64_t pages);
// What all that there are take.
std::uint64_t bytes_held(const Store& store);
// They are zeros from now on, and take no memory. Whoever uses them, a device too, is not disturbed.
Outcome discard_pages(const Store& store, std::uint64_t first_byte, std::uint64_t pages);
// The store as it came along, over that part of the region.
Outcome map_store(const Layout& layout, const Store& store, PageSpan span);
// As ranges of the file; cut to what the store may hold.
std::vector<protocol::FileRange> ranges_of(const PageSet& pages, std::uint64_t first_byte, const Store& store);

}  // namespace mrlease::client
