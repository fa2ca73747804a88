// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "client-lib/src/backing/backing.h"

namespace mrlease::client {

std::uint64_t bytes_on_file(const Services& services, std::uint64_t file_size) {
  const std::uint64_t start = services.layout().file_offset;
  return file_size <= start ? 0 : std::min(services.length(), file_size - start);
}

std::uint64_t bytes_to_register(const Services& services, std::uint64_t file_size) {
  return std::min(services.length(), page_up(bytes_on_file(services, file_size)));
}

std::uint64_t kept_to(const Services& services, std::uint64_t file_size) {
  const std::uint64_t cut = page_up(bytes_on_file(services, file_size)) / kPage, most = services.orphan_limits().bytes_max / kPage;
  return most == 0 ? ~0ull : cut + most;
}

void set_file_size(Services& services, std::uint64_t file_size, const Orphans& orphans) {
  services.set_file_size(std::min(file_size, orphans.first()));
}

Outcome extend_over(Services& services, Orphans& orphans, std::uint64_t file_size, TakeBack how) {
  const std::uint64_t end = page_up(bytes_on_file(services, file_size)) / kPage;
  const auto merge = [&](const Store& store, const auto& ranges) { return services.merge(store, ranges); };
  Outcome extended = how == TakeBack::Reattach ? orphans.reattach(end, merge) : orphans.extend(end);
  if (extended.ok() || extended.code == EINPROGRESS) set_file_size(services, file_size, orphans);
  return extended;
}

Outcome not_for_this_backing(const wire::v1::Recall& recall, const char* backing) {
  return {EOPNOTSUPP,
          "recall action " + std::to_string(recall.action()) + " is not for a lease with " + backing + " backing"};
}

}  // namespace mrlease::client
