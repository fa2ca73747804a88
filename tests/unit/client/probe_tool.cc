// SPDX-License-Identifier: Apache-2.0
// What the probe finds on a real device: client_probe DEVICE FILE [ODP WAITS DIRECT]. With expectations it fails when
// they are not met. For the rig, and for who owns hardware.
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "client-lib/src/probe/probe.h"
#include "client-lib/src/verbs/devices.h"
#include "client-lib/src/verbs/loopback.h"
#include "client-lib/src/verbs/verbs.h"
#include "proto/fd_passing.h"

using namespace mrlease::client;

namespace {

// The handle of a registration, before and after it is gone.
bool handles_are_told_apart(ibv_context* device, std::uint32_t driver_id) {
  std::unique_ptr<verbs::Loopback> loopback;
  static char memory[4096];
  verbs::Mr mr;
  if (!verbs::Loopback::create(device, &loopback).ok()) return false;
  if (!verbs::register_target(loopback->pd(), memory, sizeof memory, false, &mr).ok()) return false;
  const ibv_mr copy = *mr.mr;
  const bool before = verbs::still_ours(&copy, driver_id);
  (void)verbs::deregister_mr(mr.mr);
  return before && !verbs::still_ours(&copy, driver_id);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3 && argc != 6) return std::fprintf(stderr, "usage: client_probe DEVICE FILE [ODP WAITS DIRECT]\n"), 2;
  verbs::OpenDevice opened;
  const Outcome o = opened.open(argv[1]);
  ibv_context* const device = opened.context();
  mrlease::wire::Fd file(::open(argv[2], O_RDWR | O_CLOEXEC));
  if (!o.ok() || !file) return std::fprintf(stderr, "open: %s\n", o.text.c_str()), 2;
  const DeviceCaps caps = probe_device(device, [](Userfaultfd* out) { return Userfaultfd::open(-1, out); });
  const Outcome direct = probe_direct(device, file.get());
  std::printf("odp=%d: %s\nwaits=%d: %s\ndirect=%d: %s\n", caps.odp, caps.odp_text.c_str(), caps.waits ? 1 : 0,
              caps.waits_text.c_str(), direct.ok() ? 1 : 0, direct.text.c_str());
  const std::uint32_t driver_id = verbs::find_driver_id(device->cmd_fd);
  const bool handles = handles_are_told_apart(device, driver_id);
  std::printf("driver_id=%u handles=%d\n", driver_id, handles ? 1 : 0);
  if (argc == 3) return 0;
  const bool met = caps.odp == std::atoi(argv[3]) && (caps.waits ? 1 : 0) == std::atoi(argv[4]) &&
                   (direct.ok() ? 1 : 0) == std::atoi(argv[5]) && driver_id != verbs::kDriverUnknown && handles;
  std::printf("%s\n", met ? "as expected" : "NOT as expected");
  return met ? 0 : 1;
}
