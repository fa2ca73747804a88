// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/uffd/exchange.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

namespace mrlease::client {
namespace {

// Pages of the region that the file still has.
std::uint64_t pages_on_file(const Layout& l, std::uint64_t file_size) {
  return file_size <= l.file_offset ? 0 : std::min(l.pages(), page_up(file_size - l.file_offset) / kPage);
}

}  // namespace

Exchange::Exchange(Resolver& resolver, const Pagemap& pagemap, Layout layout, MergeFn merge,
                   std::uint32_t peer_budget_ms)
    : resolver_(resolver),
      pagemap_(pagemap),
      layout_(layout),
      merge_(std::move(merge)),
      budget_us_(peer_budget_ms * 1000ull),
      segments_(layout.pages()) {}

Exchange::~Exchange() {
  if (!watch_) return;
  resolver_.remove(watch_->begin);
  ::munmap(const_cast<char*>(watch_->source), layout_.length);
}

Outcome Exchange::start() {
  char* source = nullptr;
  Outcome mapped = map_alias(layout_, &source);
  if (!mapped.ok()) return mapped;
  watch_ = std::make_shared<Watch>();
  watch_->begin = address(layout_.base);
  watch_->length = layout_.length;
  watch_->source = source;
  watch_->file = layout_.file;
  watch_->file_offset = layout_.file_offset;
  resolver_.add(watch_);
  return {};
}

Outcome Exchange::freeze(Store store, std::uint64_t offset, std::uint64_t length) {
  struct stat memfd {};
  if (::fstat(store.memfd.get(), &memfd) != 0) return from_errno("fstat of the store");
  const std::uint64_t size = page_up(static_cast<std::uint64_t>(memfd.st_size));
  const PageSpan span = layout_.pages_of(offset, length);
  if (span.begin == span.end) return {};
  const std::uint64_t first = layout_.file_offset + span.begin * kPage;
  if (store.begin > first || first + (span.end - span.begin) * kPage > store.begin + size) {
    return {EINVAL, "the store of " + std::to_string(size) + " bytes for offset " + std::to_string(store.begin) +
                        " does not cover the range that is recalled"};
  }
  const std::uint64_t id = store.id;
  std::unique_ptr<Store>& there = stores_[id];
  if (there) store.refused = there->refused;  // asked for again by a successor
  there = std::make_unique<Store>(std::move(store));
  for (const Segment& s : segments_.in(span.begin, span.end)) {
    Outcome done;
    if (s.kind == Segment::Kind::File) done = swap_in(*stores_[id], s);
    if (s.kind == Segment::Kind::Store && s.store != id) done = move_over(*stores_[id], s);
    if (!done.ok()) return done;
  }
  drop_unused_stores();
  stats_.freezes++;
  return {};
}

// mlockall(MCL_FUTURE) fills every new mapping that is accessible, here with zeros that a merge would write over the
// file. So it is made without access, unlocked, watched, and only then opened; and proven empty.
Outcome Exchange::make_store_mapping(Store& store, const Segment& s, char** out) {
  const std::uint64_t length = s.pages() * kPage, inside = layout_.file_offset + s.begin * kPage - store.begin;
  void* got = ::mmap(nullptr, length, PROT_NONE, MAP_SHARED, store.memfd.get(), static_cast<off_t>(inside));
  if (got == MAP_FAILED) return from_errno("mmap of the store");
  Outcome failed;
  Pagemap::Pages there;
  // The system call filter of a container may refuse it, and mlockall(2) too then; whether it was needed tells the scan.
  (void)::munlock(got, length);
  if (::madvise(got, length, MADV_DONTFORK) != 0) failed = from_errno("madvise(MADV_DONTFORK)");
  if (failed.ok()) {
    const int code = resolver_.userfaultfd().watch(got, length);
    if (code != 0) failed = from_errno("UFFDIO_REGISTER", code);
  }
  if (failed.ok() && ::mprotect(got, length, layout_.protection) != 0) failed = from_errno("mprotect of the store");
  if (failed.ok()) failed = pagemap_.scan(got, length, false, &there);
  if (failed.ok() && there.count_present != 0) {
    failed = {EIO, "a new mapping of a store has " + std::to_string(there.count_present) +
                       " pages already; something populates mappings behind the library"};
  }
  if (!failed.ok()) {
    ::munmap(got, length);
    return failed;
  }
  *out = static_cast<char*>(got);
  return {};
}

Outcome Exchange::swap_in(Store& store, const Segment& s) {
  char* made = nullptr;
  Outcome outcome = make_store_mapping(store, s, &made);
  if (!outcome.ok()) return outcome;
  forget_pages(s);
  const std::uint64_t length = s.pages() * kPage;
  if (::mremap(made, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, at(s.begin)) != at(s.begin)) {
    outcome = from_errno("mremap of the store over the region");
    ::munmap(made, length);
    return outcome;
  }
  segments_.set(s.begin, s.end, Segment::Kind::Store, store.id);
  return {};
}

// A trim over what a freeze holds: its pages are copied into the trim's store behind a gate. Every one of them counts
// as written afterwards, since only the old store's page table knew better.
Outcome Exchange::move_over(Store& to, const Segment& s) {
  Store& from = store_of(s);
  char* made = nullptr;
  Outcome outcome = make_store_mapping(to, s, &made);
  if (!outcome.ok()) return outcome;
  const std::uint64_t length = s.pages() * kPage, first = layout_.file_offset + s.begin * kPage;
  void* aside = ::mmap(nullptr, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (aside == MAP_FAILED) outcome = from_errno("mmap");
  set_gate(&s);
  Delta copied;
  copied.pages = PageSet(s.pages());
  // MREMAP_DONTUNMAP leaves an empty watched mapping: device and CPU wait there.
  if (outcome.ok() &&
      ::mremap(at(s.begin), length, length, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, aside) != aside) {
    outcome = from_errno("mremap of the region aside");
  }
  char page[kPage];
  for (std::uint64_t i = 0; outcome.ok() && i < s.pages(); i++) {
    const off_t where = static_cast<off_t>(first - from.begin + i * kPage);
    const off_t data = ::lseek(from.memfd.get(), where, SEEK_DATA);
    if (data < 0 || data >= where + static_cast<off_t>(kPage)) continue;
    if (::pread(from.memfd.get(), page, kPage, where) != static_cast<ssize_t>(kPage) ||
        ::pwrite(to.memfd.get(), page, kPage, static_cast<off_t>(first - to.begin + i * kPage)) !=
            static_cast<ssize_t>(kPage)) {
      outcome = from_errno("copy from one store to the other");
    }
    copied.pages.add(i);
  }
  if (outcome.ok() && ::mremap(made, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, at(s.begin)) != at(s.begin)) {
    outcome = from_errno("mremap of the store over the region");
  }
  if (outcome.ok()) {
    forget_pages(s);
    segments_.set(s.begin, s.end, Segment::Kind::Store, to.id);
  } else {
    ::munmap(made, length);
  }
  give_touched(s, copied);
  set_gate(nullptr);
  resolver_.userfaultfd().wake(address(at(s.begin)), length);
  if (aside != MAP_FAILED) ::munmap(aside, length);
  return outcome;
}

Outcome Exchange::prefill(std::uint64_t store, Deadline until, std::uint64_t end) {
  constexpr std::uint64_t kChunk = 256;  // pages that are filled under the resolver's lock at a time
  for (const Segment& s : segments_.of_store(store)) {
    const std::uint64_t last = std::min(s.end, end);
    for (std::uint64_t p = s.begin; p < last;) {
      if (std::chrono::steady_clock::now() > until) {
        return {ETIMEDOUT, "the tail is too large to be copied within the recall's deadline; it is not preserved"};
      }
      const std::uint64_t want = std::min(kChunk, last - p);
      auto lock = resolver_.lock();
      std::size_t filled = 0;
      const int code = resolver_.userfaultfd().fill(address(at(p)), watch_->source + p * kPage, want * kPage, &filled);
      for (std::uint64_t i = 0; i < filled / kPage; i++) watch_->installed.add(p + i);
      p += filled / kPage;
      if (code == EEXIST && filled == 0) p++;
      if (code == EFAULT && filled == 0) break;  // the file ends here
      if (code != 0 && code != EEXIST && code != EFAULT && code != EAGAIN) return from_errno("UFFDIO_COPY", code);
    }
  }
  return {};
}

Outcome Exchange::settle(std::uint64_t store, std::uint64_t file_size, Deadline until) {
  const std::uint64_t cut = pages_on_file(layout_, file_size);
  for (Segment s : segments_.of_store(store)) {
    if (s.end > cut) {
      const Segment orphan{std::max(s.begin, cut), s.end, Segment::Kind::Orphan, s.store};
      // The kernel fills missing pages with zeros from here on.
      const int code = resolver_.userfaultfd().unwatch(at(orphan.begin), orphan.pages() * kPage);
      if (code != 0) return from_errno("UFFDIO_UNREGISTER", code);
      resolver_.userfaultfd().wake(address(at(orphan.begin)), orphan.pages() * kPage);
      segments_.set(orphan.begin, orphan.end, Segment::Kind::Orphan, s.store);
    }
    s.end = std::min(s.end, cut);
    if (s.begin >= s.end) continue;
    if (s.end * kPage != layout_.length && s.end == cut) {
      segments_.set(s.begin, s.end, Segment::Kind::Store, s.store);  // cut in two: each has a mapping of its own
    }
    Outcome thawed = thaw_segment(s, until);
    if (!thawed.ok()) return thawed;
  }
  if (const auto cut_off = stores_.find(store); cut_off != stores_.end()) {
    orphans_.adopt(std::move(*cut_off->second));
    stores_.erase(cut_off);
  }
  return {};
}

// A new mapping also clears what the daemon has poisoned.
Outcome Exchange::restore() {
  Outcome first;
  for (const Segment& s : segments_.in(0, segments_.pages())) {
    Outcome done;
    if (s.kind == Segment::Kind::Store) {
      done = map_file_again(layout_, store_of(s), {s.begin, s.end});
      if (done.ok()) segments_.set(s.begin, s.end, Segment::Kind::File);
    } else if (s.kind == Segment::Kind::Orphan && stores_.count(s.store) != 0) {
      done = map_store(layout_, store_of(s), {s.begin, s.end});
    }
    if (first.ok()) first = done;
  }
  if (Outcome orphans = orphans_.map_again(); first.ok()) first = orphans;
  set_gate(nullptr);
  resolver_.userfaultfd().wake(address(layout_.base), layout_.length);
  drop_unused_stores();
  return first;
}

void Exchange::set_gate(const Segment* s) {
  auto lock = resolver_.lock();
  watch_->gate_begin = s != nullptr ? address(at(s->begin)) : 0;
  watch_->gate_end = s != nullptr ? address(at(s->end)) : 0;
}

void Exchange::forget_pages(const Segment& s) {
  auto lock = resolver_.lock();
  watch_->installed.remove(s.begin, s.end);
  watch_->touched.remove(s.begin, s.end);
}

// What is cut off by an operation that nobody will settle any more: its daemon is gone, and another gives the same numbers.
void Exchange::adopt_orphans() {
  for (auto& [id, store] : stores_) orphans_.adopt(std::move(*store));
  stores_.clear();
}

void Exchange::drop_unused_stores() {
  std::erase_if(stores_, [this](const auto& entry) { return !segments_.uses(entry.first); });
}

}  // namespace mrlease::client
