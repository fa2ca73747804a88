// SPDX-License-Identifier: Apache-2.0
// On-demand pages without userfaultfd. A freeze swaps a MAP_PRIVATE mapping of the file over the region: what is
// written becomes copies, the file stands still, nobody pauses. Getting the copies back, and moving a tail off the
// file, needs the application to be quiet for a moment.
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "client-lib/src/backing/backing.h"

namespace mrlease::client {
namespace {

class Cooperative final : public Backing {
 public:
  explicit Cooperative(Services& services) : services_(services), segments_(services.layout().pages()) {}

  Outcome comply(RecallOrder order) override {
    switch (order.recall.action()) {
      case wire::v1::ACTION_FREEZE:
        return freeze(order);
      case wire::v1::ACTION_THAW:
        return thaw(order);
      case wire::v1::ACTION_TRIM:
        return trim(order);
      case wire::v1::ACTION_SETTLE:
        return settle(order.recall.store(), order.recall.size());
      default:
        return not_for_this_backing(order.recall, "cooperative odp");
    }
  }

  Outcome extend(std::uint64_t file_size, TakeBack how) override { return extend_over(services_, orphans_, file_size, how); }
  void discard_orphans(Deadline cut_before) override { orphans_.discard(cut_before); }
  std::uint64_t first_orphan() const override { return orphans_.first(); }

  void surrender() override {
    for (auto& [id, held] : held_) (void)collect(held);
  }

  Outcome merge_locally() override {
    for (auto& [id, held] : held_) {
      Outcome merged = collect(held);
      if (merged.ok()) merged = write_back_store(services_.layout().file, held.store, held.owed);
      if (!merged.ok()) return merged;
      held.owed.clear();
    }
    return {};
  }

  Outcome come_back(const RecallOrder& order) override {
    if (held_.empty()) return {};
    Outcome o = services_.quiesce(order);
    if (o.ok()) o = merge_locally();
    for (const Segment& s : segments_.in(0, segments_.pages())) {
      if (o.ok() && s.kind == Segment::Kind::Store) o = to_file(s);
    }
    if (!o.ok()) return o;
    forget_unused();
    for (auto& [id, held] : held_) orphans_.adopt(std::move(held.store));  // whose operation nobody will settle any more
    held_.clear();
    services_.restored(MRL_BACKING_ODP_COOPERATIVE);
    return {};
  }

  // The copies go into the store first: the daemon may still merge it when the freeze ends.
  void restore() override {
    surrender();
    for (const Segment& s : segments_.in(0, segments_.pages())) {
      if (s.kind != Segment::Kind::Store) continue;
      if (map_file_again(layout(), held_.at(s.store).store, {s.begin, s.end}).ok()) segments_.set(s.begin, s.end, Segment::Kind::File);
    }
  }

  ExchangeStats stats() const override {
    ExchangeStats all = stats_;
    all.orphans = orphans_.stats();
    return all;
  }

 private:
  struct Held {
    Store store;
    bool copies = false;                    // a freeze: the pages are private copies; else the store itself is mapped
    std::vector<protocol::FileRange> owed;  // in the store already, not yet in the file
  };
  const Layout& layout() const { return services_.layout(); }
  char* at(std::uint64_t page) const { return layout().base + page * kPage; }

  Outcome freeze(RecallOrder& order) {
    const wire::v1::Recall& r = order.recall;
    const PageSpan span = services_.layout().pages_of(r.offset(), r.length());
    Store store;
    Outcome came = store_of_recall(r, std::move(order.store), &store);
    if (!came.ok()) return came;
    Held& held = held_[r.store()];
    store.refused = held.store.refused;  // asked for again by a successor
    held.store = std::move(store);
    held.copies = true;
    for (const Segment& s : segments_.in(span.begin, span.end)) {
      if (s.kind != Segment::Kind::File) continue;
      // probes: the device follows a MAP_FIXED replacement, the keys stay.
      const auto offset = static_cast<off_t>(layout().file_offset + s.begin * kPage);
      if (::mmap(at(s.begin), s.pages() * kPage, layout().protection, MAP_PRIVATE | MAP_FIXED, layout().file, offset) ==
          MAP_FAILED) {
        return from_errno("mmap of private pages over the region");
      }
      if (::madvise(at(s.begin), s.pages() * kPage, MADV_DONTFORK) != 0) return from_errno("madvise(MADV_DONTFORK)");
      segments_.set(s.begin, s.end, Segment::Kind::Store, r.store());
    }
    stats_.freezes++;
    return {};
  }

  Outcome thaw(const RecallOrder& order) {
    auto found = held_.find(order.recall.store());
    if (found == held_.end()) return {};
    Outcome o = services_.quiesce(order);
    if (o.ok()) o = merge(found->second);
    for (const Segment& s : segments_.of_store(order.recall.store())) {
      if (o.ok()) o = to_file(s);
    }
    if (!o.ok()) return o;
    forget_unused();
    services_.restored(MRL_BACKING_ODP_COOPERATIVE);
    return {};
  }

  // What a freeze holds in the range goes into the trim's store with its copies, which are then owed to the file.
  Outcome trim(RecallOrder& order) {
    const wire::v1::Recall& r = order.recall;
    const PageSpan span = services_.layout().pages_of(r.offset(), r.length());
    Store store;
    Outcome o = services_.quiesce(order);
    if (o.ok()) o = store_of_recall(r, std::move(order.store), &store);
    if (!o.ok() || span.begin == span.end) return o;
    Held& held = held_[r.store()];
    store.refused = held.store.refused;  // asked for again by a successor
    held.store = std::move(store);
    for (const Segment& s : segments_.in(span.begin, span.end)) {
      if (s.kind == Segment::Kind::Orphan) continue;
      if (s.kind == Segment::Kind::Store) o = copy_private(s, &held);
      if (o.ok() && services_.orphan_limits().preserve) o = copy_all(s, held.store, kept_to(services_, r.size()));
      if (o.ok()) o = map_store(layout(), held.store, {s.begin, s.end});
      if (!o.ok()) return o;
      segments_.set(s.begin, s.end, Segment::Kind::Store, r.store());
    }
    return {};
  }

  Outcome settle(std::uint64_t store, std::uint64_t file_size) {
    auto found = held_.find(store);
    const std::uint64_t cut = page_up(bytes_on_file(services_, file_size)) / kPage;
    Outcome o = found == held_.end() ? Outcome{} : merge(found->second);
    for (const Segment& s : segments_.of_store(store)) {
      if (o.ok() && s.begin < cut) o = to_file({s.begin, std::min(s.end, cut)});
      if (s.end > cut) segments_.set(std::max(s.begin, cut), s.end, Segment::Kind::Orphan, store);
    }
    if (!o.ok()) return o;
    if (found != held_.end()) {
      orphans_.adopt(std::move(found->second.store));
      held_.erase(found);
    }
    set_file_size(services_, file_size, orphans_);
    services_.restored(MRL_BACKING_ODP_COOPERATIVE);
    return {};
  }

  Outcome to_file(const Segment& s) {
    Outcome mapped = map_file(layout(), s.begin, s.end, layout().protection, true, nullptr);
    if (mapped.ok()) segments_.set(s.begin, s.end, Segment::Kind::File);
    return mapped;
  }

  // The private copies into the memfd, where the daemon can reach them.
  Outcome collect(Held& held) {
    if (!held.copies) return {};
    for (const Segment& s : segments_.of_store(held.store.id)) {
      Outcome copied = copy_private(s, &held);
      if (!copied.ok()) return copied;
    }
    return {};
  }

  Outcome copy_private(const Segment& s, Held* to) {
    PageSet pages;
    Outcome o = services_.pagemap().private_pages(at(s.begin), s.pages() * kPage, &pages);
    if (!o.ok()) return o;
    for (const auto& range : ranges_of(pages, layout().file_offset + s.begin * kPage, to->store)) {
      o = copy_range(range, to->store);
      if (!o.ok()) return o;
      to->owed.push_back(range);
      stats_.pages_merged += range.length / kPage;
    }
    return {};
  }

  // What the file has of it: a copy of the tail that a truncate is about to cut off.
  Outcome copy_all(const Segment& s, const Store& to, std::uint64_t last) {
    struct stat now {};
    if (::fstat(layout().file, &now) != 0) return from_errno("fstat");
    const std::uint64_t begin = s.begin * kPage;
    const std::uint64_t end =
        std::min(std::min(s.end, last) * kPage, page_up(bytes_on_file(services_, static_cast<std::uint64_t>(now.st_size))));
    return begin >= end ? Outcome{} : copy_range({layout().file_offset + begin, end - begin}, to);
  }

  // pwrite(2) from the mapping: where the file has just been cut it fails with EFAULT, without SIGBUS.
  Outcome copy_range(protocol::FileRange range, const Store& to) {
    const char* from = layout().base + (range.offset - layout().file_offset);
    for (std::uint64_t done = 0; done < range.length;) {
      const ssize_t n = ::pwrite(to.memfd.get(), from + done, range.length - done,
                                 static_cast<off_t>(range.offset + done - to.begin));
      if (n < 0 && errno == EFAULT) return {};
      if (n <= 0) return from_errno("write into the store", n < 0 ? errno : EIO);
      done += static_cast<std::uint64_t>(n);
    }
    return {};
  }

  Outcome merge(Held& held) {
    Outcome o = collect(held);
    if (o.ok() && !held.owed.empty()) {
      std::sort(held.owed.begin(), held.owed.end(), [](auto& a, auto& b) { return a.offset < b.offset; });
      o = services_.merge(held.store, held.owed);
    }
    merged(held.store, o);
    if (o.ok()) held.owed.clear();
    return o;
  }

  void forget_unused() {
    std::erase_if(held_, [this](const auto& entry) { return !segments_.uses(entry.first); });
  }

  Services& services_;
  Segments segments_;
  std::map<std::uint64_t, Held> held_;
  Orphans orphans_{services_.layout(), segments_};
  ExchangeStats stats_;
};

}  // namespace

std::unique_ptr<Backing> make_cooperative(Services& services) {
  return std::make_unique<Cooperative>(services);
}

}  // namespace mrlease::client
