// SPDX-License-Identifier: Apache-2.0
// mrlease-probe [DEVICE...]: what RDMA devices can do for leases, found by writing through them on a loopback connection, as the
// library does before it chooses a backing. mrleasectl probe runs it; it asks no daemon.
// One line of JSON for each device, the message DeviceProbe of proto/admin.proto. Exit 0: all were tried; 1: one could not be.
#include <cstdio>
#include <string>
#include <vector>

#include "client-lib/src/probe/probe.h"
#include "client-lib/src/verbs/devices.h"

namespace {

using namespace mrlease::client;

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) out += c;
  }
  return out + "\"";
}

std::string capability(const char* name, bool supported, const std::string& reason) {
  return "{\"name\": " + quoted(name) + ", \"supported\": " + (supported ? "true" : "false") + ", \"reason\": " + quoted(reason) + "}";
}

bool probe(const std::string& name) {
  verbs::OpenDevice device;
  const Outcome opened = device.open(name);
  std::string found;
  if (opened.ok()) {
    const DeviceCaps caps = probe_device(device.context(), [](Userfaultfd* out) { return Userfaultfd::open(-1, out); });
    const std::string quirk = caps.odp == 2 ? ": for clients that accept MRL_QUIRK_ODP_PAGE_ALIGNED, others get bounce" : "";
    found = capability("odp", caps.odp != 0, caps.odp_text + quirk) + ", " +
            capability("odp_waits", caps.waits, caps.waits_text + (caps.waits ? ": breaks are transparent" : ""));
  } else {
    found = capability("odp", false, "could not be tried: " + opened.text);
  }
  std::printf("{\"name\": %s, \"capabilities\": [%s]}\n", quoted(name).c_str(), found.c_str());
  return opened.ok();
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> names(argv + 1, argv + argc);
  if (names.empty()) names = verbs::device_names();
  bool all = true;
  for (const std::string& name : names) all = probe(name) && all;
  return all ? 0 : 1;
}
