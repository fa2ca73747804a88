// SPDX-License-Identifier: Apache-2.0
#include "daemon/guard/seal.h"

#include <fcntl.h>

namespace mrlease::guard {

std::optional<std::string> sealed_memory(int fd) {
  int seals = ::fcntl(fd, F_GET_SEALS);
  // F_SEAL_SHRINK alone does not stop a hole from being punched; the write seals do.
  bool kept = seals >= 0 && (seals & F_SEAL_SHRINK) && (seals & (F_SEAL_FUTURE_WRITE | F_SEAL_WRITE));
  if (!kept) return {};
  return "seal: the memfd cannot shrink and takes no new writers; stores through earlier mappings are not held";
}

}  // namespace mrlease::guard
