// SPDX-License-Identifier: Apache-2.0
// probe, stats, config, reload.
#include "daemon/ctl/device_probe.h"
#include "daemon/ctl/program.h"
#include "daemon/ctl/views.h"

namespace mrlease::ctl {

void add_host_commands(Program& p) {
  const auto path = std::make_shared<std::string>();
  CLI::App* probe = p.add("probe", "What this host can do, found by trying: kernel, file systems, devices, each with a reason", [&p, path] {
    v1::ProbeRequest request;
    if (!path->empty()) request.set_path(absolute_path(*path));
    auto r = p.connect().call(&v1::Admin::Stub::Probe, request);
    if (p.target.address.find('/') != std::string::npos) probe_devices(&r);  // the daemon is on this host
    p.print(r, view(r, p.width()));
    return kDone;
  });
  probe->add_option("PATH", *path, "Also this file's or directory's file system");

  p.add("stats", "Counters", [&p] {
    const auto r = p.connect().call(&v1::Admin::Stub::GetStats, v1::GetStatsRequest());
    p.print(r, view(r, p.width()));
    return kDone;
  });
  p.add("config", "The daemon's options: value, default, and where the value comes from", [&p] {
    const auto r = p.connect().call(&v1::Admin::Stub::GetConfig, v1::GetConfigRequest());
    p.print(r, view(r, p.width()));
    return kDone;
  });
  const auto dry_run = std::make_shared<bool>(false);
  CLI::App* reload = p.add("reload", "Read the configuration file again; a mistake in it changes nothing", [&p, dry_run] {
    v1::ReloadRequest request;
    request.set_dry_run(*dry_run);
    const auto r = p.connect().call(&v1::Admin::Stub::Reload, request);
    p.print(r, *dry_run ? view_tried(r, p.width()) : view(r));
    return kDone;
  });
  reload->add_flag("--dry-run", *dry_run, "Change nothing; tell what would change, for which leases");
}

}  // namespace mrlease::ctl
