// SPDX-License-Identifier: Apache-2.0
// What a device can do, found by doing it on a loopback connection; and what a region of it is therefore backed by.
#pragma once

#include <functional>
#include <string>

#include "client-lib/src/uffd/userfaultfd.h"
#include "client-lib/src/verbs/verbs.h"
#include "mrlease/mrlease.h"

namespace mrlease::client {

struct DeviceCaps {
  int odp = 0;  // 1: any transfer is right; 2: page-aligned ones only; 0: no
  bool waits = false;
  bool tried = true;  // false: no connection could be made on the device, a port is down, say
  std::string odp_text, waits_text;  // what was tried and what came back
};

// userfaultfd: a fresh one for the test, or an error why there is none.
DeviceCaps probe_device(ibv_context* device, const std::function<Outcome(Userfaultfd*)>& userfaultfd);
// Can a mapping of that file be pinned for writing? code: errno of the attempt.
Outcome probe_direct(ibv_context* device, int fd);

struct Choice {
  mrl_backing backing = MRL_BACKING_BOUNCE;  // never AUTO
  bool transparent = false;
  std::string reason;
};
// Pure. EOPNOTSUPP with the reason when what is asked for does not work on this device.
Outcome choose_backing(mrl_backing wanted, std::uint32_t accepted_quirks, const DeviceCaps& caps, bool userfaultfd,
                       Choice* out);

}  // namespace mrlease::client
