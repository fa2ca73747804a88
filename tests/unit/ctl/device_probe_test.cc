// SPDX-License-Identifier: Apache-2.0
// What mrlease-probe says goes into the daemon's answer; what it does not say is told.
#include "daemon/ctl/device_probe.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace mrlease::ctl {
namespace {

admin::v1::ProbeResponse from_daemon() {
  admin::v1::ProbeResponse answer;
  auto* device = answer.add_devices();
  device->set_name("rxe0");
  device->set_driver("rdma_rxe");
  auto* odp = device->add_capabilities();
  odp->set_name("odp");
  odp->set_reason("not known");
  return answer;
}

TEST(DeviceProbe, WhatWasTriedCounts) {
  auto answer = from_daemon();
  ASSERT_TRUE(merge_device(R"({"name": "rxe0", "capabilities": [{"name": "odp", "supported": true, "reason": "passes \"it\""},
                              {"name": "odp_waits", "supported": false, "reason": "no"}]})", &answer));
  ASSERT_EQ(answer.devices_size(), 1);
  EXPECT_EQ(answer.devices(0).driver(), "rdma_rxe");
  ASSERT_EQ(answer.devices(0).capabilities_size(), 2);
  EXPECT_TRUE(answer.devices(0).capabilities(0).supported());
  EXPECT_EQ(answer.devices(0).capabilities(0).reason(), "passes \"it\"");
  EXPECT_EQ(answer.devices(0).capabilities(1).name(), "odp_waits");
}

TEST(DeviceProbe, ADeviceThatTheDaemonDoesNotSeeIsAdded) {
  auto answer = from_daemon();
  ASSERT_TRUE(merge_device(R"({"name": "mlx5_0", "capabilities": []})", &answer));
  ASSERT_EQ(answer.devices_size(), 2);
  EXPECT_EQ(answer.devices(1).name(), "mlx5_0");
}

TEST(DeviceProbe, OtherWordsAreRefused) {
  auto answer = from_daemon();
  for (const char* line : {"", "{}", "libibverbs: Warning: no userspace device-specific driver", R"({"name": 1)", "[]"})
    EXPECT_FALSE(merge_device(line, &answer)) << line;
  EXPECT_EQ(answer.devices_size(), 1);
}

TEST(DeviceProbe, WithoutItTheReasonSaysSo) {
  auto answer = from_daemon();
  ::setenv("MRLEASE_PROBE", "/nowhere/mrlease-probe", 1);
  probe_devices(&answer);
  EXPECT_EQ(answer.devices(0).capabilities(0).reason(), "not known (not tried: /nowhere/mrlease-probe: No such file or directory)");
  answer = from_daemon();
  ::setenv("MRLEASE_PROBE", "/bin/true", 1);
  probe_devices(&answer);
  EXPECT_EQ(answer.devices(0).capabilities(0).reason(), "not known");
  ::unsetenv("MRLEASE_PROBE");
}

}  // namespace
}  // namespace mrlease::ctl
