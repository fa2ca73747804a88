// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/region/store.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace mrlease::client {
namespace {

constexpr std::size_t kRunsMost = 1000;

struct Run {
  std::uint64_t begin, end;  // bytes of the span
};

std::vector<Run> runs_in(const Store& store, std::uint64_t first, std::uint64_t length) {
  std::vector<Run> runs;
  const auto begin = static_cast<off_t>(first), end = static_cast<off_t>(first + length);
  for (off_t data = begin; (data = ::lseek(store.memfd.get(), data, SEEK_DATA)) >= 0 && data < end;) {
    const off_t stop = std::min(end, ::lseek(store.memfd.get(), data, SEEK_HOLE));
    if (stop <= data) break;  // what came is no memfd
    runs.push_back({static_cast<std::uint64_t>(data - begin), static_cast<std::uint64_t>(stop - begin)});
    data = stop;
  }
  return runs;
}

// What cannot be read stays zeros.
void read_into(char* to, std::uint64_t length, int fd, std::uint64_t offset) {
  for (std::uint64_t done = 0; done < length;) {
    const ssize_t n = ::pread(fd, to + done, length - done, static_cast<off_t>(offset + done));
    if (n == 0) return;
    if (n < 0 && errno == EINTR) continue;
    done += n > 0 ? static_cast<std::uint64_t>(n) : kPage - done % kPage;
  }
}

Outcome copy_kept(const Layout& layout, const Store& store, PageSpan span, std::uint64_t first, const std::vector<Run>& runs) {
  const std::uint64_t length = (span.end - span.begin) * kPage;
  void* const made = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (made == MAP_FAILED) return from_errno("mmap of a copy of the pages that could not be merged");
  char* const copy = static_cast<char*>(made);
  read_into(copy, length, layout.file, layout.file_offset + span.begin * kPage);
  for (const Run& run : runs) read_into(copy + run.begin, run.end - run.begin, store.memfd.get(), first + run.begin);
  if (::mprotect(copy, length, layout.protection) == 0 && ::madvise(copy, length, MADV_DONTFORK) == 0 &&
      ::mremap(copy, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, layout.base + span.begin * kPage) != MAP_FAILED) {
    return {};
  }
  Outcome failed = from_errno("the copy of the pages that could not be merged");
  ::munmap(copy, length);
  return failed;
}

}  // namespace

PageSet pages_held(const Store& store, std::uint64_t first_byte, std::uint64_t pages) {
  PageSet held(pages);
  for (const Run& run : runs_in(store, first_byte - store.begin, pages * kPage)) {
    for (std::uint64_t page = run.begin / kPage; page < run.end / kPage; page++) held.add(page);
  }
  return held;
}

std::uint64_t bytes_held(const Store& store) {
  struct stat memory {};
  return ::fstat(store.memfd.get(), &memory) == 0 ? static_cast<std::uint64_t>(memory.st_blocks) * 512 : 0;  // stat(2): units of 512
}

Outcome discard_pages(const Store& store, std::uint64_t first_byte, std::uint64_t pages) {
  if (pages == 0) return {};
  const auto inside = static_cast<off_t>(first_byte - store.begin);
  if (::fallocate(store.memfd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, inside, static_cast<off_t>(pages * kPage)) == 0) return {};
  return from_errno("fallocate of orphaned pages");
}

PageSpan Layout::pages_of(std::uint64_t offset, std::uint64_t bytes) const {
  const std::uint64_t last = file_offset + length;
  if (offset >= last) return {0, 0};
  const std::uint64_t from = std::max(offset, file_offset), to = bytes == 0 || bytes > last - offset ? last : offset + bytes;
  if (from >= to) return {0, 0};
  return {(from - file_offset) / kPage, page_up(to - file_offset) / kPage};
}

Outcome map_file(const Layout& layout, std::uint64_t begin, std::uint64_t end, int protection, bool over, char** out) {
  void* at = over ? layout.base + begin * kPage : nullptr;
  void* got = ::mmap(at, (end - begin) * kPage, protection, MAP_SHARED | (over ? MAP_FIXED : 0), layout.file,
                     static_cast<off_t>(layout.file_offset + begin * kPage));
  if (got == MAP_FAILED) return from_errno("mmap of the file");
  // A forked child that inherited it could not be fenced together with its parent.
  if (::madvise(got, (end - begin) * kPage, MADV_DONTFORK) != 0) return from_errno("madvise(MADV_DONTFORK)");
  if (out != nullptr) *out = static_cast<char*>(got);
  return {};
}

Outcome map_alias(const Layout& layout, char** out) {
  void* const got = ::mremap(layout.base, 0, layout.length, MREMAP_MAYMOVE);
  if (got == MAP_FAILED) return map_file(layout, 0, layout.pages(), PROT_READ, false, out);  // hugetlbfs, mm/mremap.c
  if (::mprotect(got, layout.length, PROT_READ) != 0) {
    const Outcome failed = from_errno("mprotect of the file's second mapping");
    ::munmap(got, layout.length);
    return failed;
  }
  *out = static_cast<char*>(got);
  return {};
}

void merged(Store& store, const Outcome& outcome) {
  if (outcome.code != EKEYREVOKED) store.refused = !outcome.ok();
}

Outcome map_file_again(const Layout& layout, const Store& store, PageSpan span) {
  Outcome mapped = map_file(layout, span.begin, span.end, layout.protection, true, nullptr);
  if (!mapped.ok() || !store.refused) return mapped;
  const std::uint64_t first = layout.file_offset + span.begin * kPage - store.begin;
  const std::vector<Run> runs = runs_in(store, first, (span.end - span.begin) * kPage);
  if (runs.size() > kRunsMost) return copy_kept(layout, store, span, first, runs);
  for (const Run& run : runs) {
    char* const to = layout.base + span.begin * kPage + run.begin;
    if (::mmap(to, run.end - run.begin, layout.protection, MAP_SHARED | MAP_FIXED, store.memfd.get(), static_cast<off_t>(first + run.begin)) ==
            MAP_FAILED ||
        ::madvise(to, run.end - run.begin, MADV_DONTFORK) != 0) {
      return from_errno("mmap of the pages that could not be merged");
    }
  }
  return {};
}

Outcome map_store(const Layout& layout, const Store& store, PageSpan span) {
  const std::uint64_t first = layout.file_offset + span.begin * kPage, bytes = (span.end - span.begin) * kPage;
  struct stat memfd {};
  if (::fstat(store.memfd.get(), &memfd) != 0) return from_errno("fstat of the store");
  if (first < store.begin || first + bytes > store.begin + page_up(static_cast<std::uint64_t>(memfd.st_size))) {
    return {EINVAL, "the store does not cover the range that is recalled"};
  }
  void* at = layout.base + span.begin * kPage;
  if (::mmap(at, bytes, layout.protection, MAP_SHARED | MAP_FIXED, store.memfd.get(),
             static_cast<off_t>(first - store.begin)) == MAP_FAILED) {
    return from_errno("mmap of the store over the region");
  }
  return ::madvise(at, bytes, MADV_DONTFORK) == 0 ? Outcome{} : from_errno("madvise(MADV_DONTFORK)");
}

Outcome write_back(int file, std::uint64_t offset, const char* from, std::uint64_t length) {
  struct stat now {};
  if (::fstat(file, &now) != 0) return from_errno("fstat");
  const std::uint64_t size = static_cast<std::uint64_t>(now.st_size);
  length = offset >= size ? 0 : std::min(length, size - offset);
  char there[kPage];
  for (std::uint64_t done = 0; done < length;) {
    const std::uint64_t part = std::min(kPage, length - done);
    const ssize_t had = ::pread(file, there, part, static_cast<off_t>(offset + done));
    if (had != static_cast<ssize_t>(part) || std::memcmp(there, from + done, part) != 0) {
      const ssize_t n = ::pwrite(file, from + done, part, static_cast<off_t>(offset + done));
      if (n != static_cast<ssize_t>(part)) return from_errno("write to the leased file", n < 0 ? errno : ENOSPC);
    }
    done += part;
  }
  return {};
}

Outcome write_back_store(int file, const Store& store, const std::vector<protocol::FileRange>& ranges) {
  char page[kPage];
  for (const auto& range : ranges) {
    for (std::uint64_t done = 0; done < range.length;) {
      const std::uint64_t at = range.offset + done, part = std::min(kPage, range.length - done);
      const ssize_t n = ::pread(store.memfd.get(), page, part, static_cast<off_t>(at - store.begin));
      if (n <= 0) return from_errno("read from the store", n < 0 ? errno : EIO);
      Outcome written = write_back(file, at, page, static_cast<std::uint64_t>(n));
      if (!written.ok()) return written;
      done += static_cast<std::uint64_t>(n);
    }
  }
  return {};
}

Outcome store_of_recall(const wire::v1::Recall& recall, wire::Fd memfd, Store* out) {
  if (!memfd) return {EPROTO, "a recall came without its store"};
  if (recall.offset() % kPage != 0) {
    return {EINVAL, "a store at offset " + std::to_string(recall.offset()) + " cannot be mapped: not a whole page"};
  }
  *out = {recall.store(), std::move(memfd), recall.offset(),
          recall.length() == 0 ? ~0ull : recall.offset() + recall.length()};
  return {};
}

std::vector<protocol::FileRange> ranges_of(const PageSet& pages, std::uint64_t first_byte, const Store& store) {
  std::vector<protocol::FileRange> out;
  for (std::uint64_t end = 0, page = pages.next(0); page < pages.size(); page = pages.next(end)) {
    end = pages.next_absent(page);
    out.push_back({first_byte + page * kPage, (end - page) * kPage});
  }
  while (!out.empty() && out.back().offset >= store.end) out.pop_back();
  if (!out.empty()) out.back().length = std::min(out.back().length, store.end - out.back().offset);
  return out;
}

}  // namespace mrlease::client
