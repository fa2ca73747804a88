// SPDX-License-Identifier: Apache-2.0
// The file's own pages, pinned: every break that removes pages or wants them still needs the application to be quiet
// and the memory region to go.
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "client-lib/src/backing/backing.h"

namespace mrlease::client {
namespace {

class Direct final : public Backing {
 public:
  explicit Direct(Services& services) : services_(services), registered_(services.length()) {}

  Outcome comply(RecallOrder order) override {
    switch (order.recall.action()) {
      case wire::v1::ACTION_QUIESCE:
        return quiet_and_gone(order);
      case wire::v1::ACTION_REREGISTER:
        return reregister(order);
      case wire::v1::ACTION_DIRTY:
        return dirty(order.recall);
      case wire::v1::ACTION_FREEZE:
        return freeze(order);
      case wire::v1::ACTION_THAW:
        return thaw(order);
      default:
        return not_for_this_backing(order.recall, "direct");
    }
  }

  Outcome extend(std::uint64_t file_size, TakeBack) override {
    Outcome dropped = services_.drop_mr();
    return dropped.ok() ? register_again(file_size) : dropped;
  }

  Outcome merge_locally() override {
    while (!frozen_.empty()) {
      auto& [id, frozen] = *frozen_.begin();
      Outcome merged = back_to_file(frozen);
      if (!merged.ok()) return merged;
      frozen_.erase(frozen_.begin());
    }
    return {};
  }

  Outcome come_back(const RecallOrder& order) override {
    if (frozen_.empty()) return {};
    Outcome o = quiet_and_gone(order);
    return o.ok() ? merge_locally() : o;
  }

  void restore() override {
    for (const auto& [id, frozen] : frozen_) {
      (void)map_file_again(services_.layout(), frozen.store, frozen.span);
    }
    frozen_.clear();
  }

 private:
  struct Frozen {
    Store store;
    PageSpan span;
  };

  Outcome quiet_and_gone(const RecallOrder& order) {
    Outcome quiet = services_.quiesce(order);
    return quiet.ok() ? services_.drop_mr() : quiet;
  }

  // Registered, and a daemon does not know: the one before it was killed between its order to quiesce and our answer, or
  // between its order to register again and ours. Whoever writes there already is not cut off.
  Outcome reregister(const RecallOrder& order) {
    Outcome o;
    if (services_.in_use()) {
      if (bytes_to_register(services_, order.recall.size()) == registered_) {
        services_.set_file_size(order.recall.size());  // the file may end elsewhere in the same page
        return {};
      }
      o = services_.quiesce(order);
    }
    if (o.ok()) o = services_.drop_mr();
    return o.ok() ? register_again(order.recall.size()) : o;
  }

  // The mapping is the same as before; what lies beyond the file's end cannot be pinned. Somebody whom no guard holds may have cut
  // the file since the daemon looked.
  Outcome register_again(std::uint64_t file_size) {
    for (;;) {
      registered_ = bytes_to_register(services_, file_size);
      services_.set_file_size(file_size);
      Outcome made = register_again();
      struct stat now {};
      if (made.ok() || ::fstat(services_.layout().file, &now) != 0) return made;
      if (static_cast<std::uint64_t>(now.st_size) >= file_size) return made;
      file_size = static_cast<std::uint64_t>(now.st_size);
    }
  }

  Outcome register_again() {
    if (registered_ == 0) return {};
    Outcome made = services_.make_mr(registered_);
    if (made.ok()) services_.restored(frozen_.empty() ? MRL_BACKING_DIRECT : MRL_BACKING_BOUNCE);
    return made;
  }

  // DMA does not dirty a page. A CPU write fault does; MADV_POPULATE_WRITE (asm-generic/mman-common.h, 5.14) makes the
  // fault without touching data, and says EFAULT where a store would raise SIGBUS.
  Outcome dirty(const wire::v1::Recall& recall) {
    const Layout& l = services_.layout();
    if ((l.protection & PROT_WRITE) == 0) return {};
    struct stat now {};
    if (::fstat(l.file, &now) != 0) return from_errno("fstat");
    PageSpan span = services_.layout().pages_of(recall.offset(), recall.length());
    const std::uint64_t on_file = bytes_on_file(services_, static_cast<std::uint64_t>(now.st_size));
    span.end = std::min(span.end, page_up(on_file) / kPage);
    if (span.begin >= span.end) return {};
    if (::madvise(l.base + span.begin * kPage, (span.end - span.begin) * kPage, MADV_POPULATE_WRITE) != 0 &&
        errno != EFAULT) {
      return from_errno("madvise(MADV_POPULATE_WRITE)");
    }
    return {};
  }

  Outcome freeze(RecallOrder& order) {
    const wire::v1::Recall& r = order.recall;
    Frozen frozen{{}, services_.layout().pages_of(r.offset(), r.length())};
    if (frozen.span.begin == frozen.span.end) return {};
    Outcome o = store_of_recall(r, std::move(order.store), &frozen.store);
    if (o.ok()) o = quiet_and_gone(order);
    if (o.ok()) o = copy_to(frozen);
    if (o.ok()) o = map_store(services_.layout(), frozen.store, frozen.span);
    if (!o.ok()) return o;
    frozen_[r.store()] = std::move(frozen);
    return register_again();
  }

  // The peer wrote until a moment ago: the store takes the pages as they are now that it is quiet. pwrite(2) says EFAULT
  // where a load would raise SIGBUS: behind the file's end, where the store is zeros already.
  Outcome copy_to(const Frozen& frozen) {
    const Layout& l = services_.layout();
    for (std::uint64_t page = frozen.span.begin; page < frozen.span.end; page++) {
      const auto inside = static_cast<off_t>(l.file_offset + page * kPage - frozen.store.begin);
      const ssize_t n = ::pwrite(frozen.store.memfd.get(), l.base + page * kPage, kPage, inside);
      if (n < 0 && errno != EFAULT) return from_errno("copying to the frozen store");
    }
    return {};
  }

  Outcome thaw(const RecallOrder& order) {
    auto found = frozen_.find(order.recall.store());
    if (found == frozen_.end()) return {};
    Outcome o = quiet_and_gone(order);
    if (o.ok()) o = back_to_file(found->second);
    if (!o.ok()) return o;
    frozen_.erase(found);
    return register_again();
  }

  // The whole range: nothing tells what a device wrote into pinned pages. The daemon writes what differs.
  Outcome back_to_file(Frozen& frozen) {
    const Layout& l = services_.layout();
    const std::uint64_t begin = frozen.span.begin * kPage;
    const std::uint64_t end =
        std::min(l.file_offset + std::min(services_.length(), frozen.span.end * kPage), frozen.store.end);
    const std::uint64_t bytes = end - (l.file_offset + begin);
    if ((l.protection & PROT_WRITE) != 0) {
      Outcome o = services_.merge(frozen.store, {{l.file_offset + begin, bytes}});
      merged(frozen.store, o);
      if (!o.ok()) return o;
    }
    return map_file(l, frozen.span.begin, frozen.span.end, l.protection, true, nullptr);
  }

  Services& services_;
  std::uint64_t registered_;
  std::map<std::uint64_t, Frozen> frozen_;  // by store
};

}  // namespace

std::unique_ptr<Backing> make_direct(Services& services) { return std::make_unique<Direct>(services); }

}  // namespace mrlease::client
