// SPDX-License-Identifier: Apache-2.0
#include "daemon/admin/probe.h"

#include <fcntl.h>
#include <grpcpp/support/status.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "daemon/admin/version.h"
#include "daemon/session/descriptors.h"
#include "daemon/sys/fanotify.h"
#include "daemon/sys/fd.h"
#include "daemon/sys/mounts.h"
#include "daemon/sys/pid_namespace.h"
#include "daemon/sys/userfaultfd.h"
#include "proto/kernel_uapi.h"

namespace mrlease::admin {

namespace {

namespace fs = std::filesystem;
using Capabilities = google::protobuf::RepeatedPtrField<v1::Capability>;

void add(Capabilities* to, const char* name, bool supported, std::string reason) {
  v1::Capability& c = *to->Add();
  c.set_name(name);
  c.set_supported(supported);
  c.set_reason(std::move(reason));
}

std::string first_line(const fs::path& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// An inode mark in a group of our own: it never gets an event that anybody waits for, and is gone with the group.
int try_pre_access(int directory) {
  sys::FanGroup group;
  if (const int error = group.open(FAN_CLASS_PRE_CONTENT)) return error;
  return group.mark(FAN_MARK_ADD, FAN_PRE_ACCESS, directory);
}

int try_open_perm(int directory) {
  sys::FanGroup group;
  if (const int error = group.open(FAN_CLASS_CONTENT)) return error;
  return group.mark(FAN_MARK_ADD, FAN_OPEN_PERM | FAN_EVENT_ON_CHILD, directory);
}

void probe_userfaultfd(Capabilities* to) {
  std::uint64_t features = 0;
  const int error = sys::probe_userfaultfd(&features);
  if (error != 0) return add(to, "userfaultfd", false, std::string("userfaultfd(2): ") + std::strerror(error));
  const std::uint64_t needed = sys::userfaultfd_features_needed();
  const bool all = (features & needed) == needed;
  add(to, "userfaultfd", all,
      all ? "has what a transparent break needs"
          : "the kernel's userfaultfd lacks what a transparent break needs; Linux 6.7 and later have it: breaks are cooperative");
  const bool device = ::access("/dev/userfaultfd", R_OK | W_OK) == 0;
  add(to, "dev_userfaultfd", device,
      device ? "the daemon can hand it to unprivileged clients (option userfaultfd)"
             : std::string("/dev/userfaultfd: ") + std::strerror(errno) + ": unprivileged clients have cooperative breaks only");
}

// "A: B" of /sys/class/infiniband/DEV/ports/N/state is a number and a word.
std::string port_text(const fs::path& port) {
  const std::string state = first_line(port / "state"), link = first_line(port / "link_layer");
  const std::string netdev = first_line(port / "gid_attrs/ndevs/0");
  const auto colon = state.find(": ");
  return port.filename().string() + ": " + (colon == std::string::npos ? state : state.substr(colon + 2)) + ", " + link +
         (netdev.empty() ? "" : ", netdev " + netdev);
}

void add_odp(const std::string& name, const std::string& driver, Capabilities* to) {
  if (driver == "rdma_rxe" || name.starts_with("rxe"))
    return add(to, "odp", false,
               "rdma_rxe up to Linux 7.3 puts data that does not start on a page at the page's start: odp only for clients "
               "that accept MRL_QUIRK_ODP_PAGE_ALIGNED, else bounce");
  add(to, "odp", false, "not known from sysfs: each client's self-test decides; this driver is not tested by the project");
}

}  // namespace

void probe_host(const std::string& guard_text, v1::ProbeResponse* to) {
  utsname names{};
  ::uname(&names);
  to->set_kernel(names.release);
  to->set_machine(names.machine);
  to->set_daemon_version(kVersion);
  to->set_guard_text(guard_text);
  const bool precontent = guard_text.starts_with("precontent");
  to->set_guard(precontent ? v1::GUARD_PRECONTENT : v1::GUARD_LEASE);
  auto* host = to->mutable_host();
  add(host, "fanotify_pre_access", precontent, precontent ? "the kernel has FAN_PRE_ACCESS" : "FAN_PRE_ACCESS needs Linux 6.14 or later");
  std::ifstream seconds("/proc/sys/fs/lease-break-time");
  std::string value;
  seconds >> value;
  add(host, "file_leases", first_line("/proc/sys/fs/leases-enable") != "0",
      "F_SETLEASE, for files that precontent cannot hold; fs.lease-break-time is " + value + " s");
  const sys::Fd memory(::memfd_create("mrlease-probe", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const bool seals = memory && ::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE) == 0;
  add(host, "memfd_seals", seals, seals ? "F_SEAL_SHRINK and F_SEAL_FUTURE_WRITE work" : std::string("F_ADD_SEALS: ") + std::strerror(errno));
  probe_userfaultfd(host);
  const std::string yama = first_line("/proc/sys/kernel/yama/ptrace_scope");
  add(host, "see_system_calls", yama != "3",
      yama == "3" ? "kernel.yama.ptrace_scope is 3: which operation a task is in cannot be seen, each counts as destructive"
                  : "/proc/TID/syscall can be read");
  const bool all = sys::in_first_pid_namespace();
  add(host, "see_all_tasks", all, all ? "the daemon is in the host's pid namespace" : "the daemon is in a pid namespace of its own: run it in the host's");
}

void probe_filesystem(const std::string& path, bool root, v1::ProbeResponse* to) {
  v1::FilesystemProbe& probe = *to->add_filesystems();
  probe.set_path(path);
  probe.set_root(root);
  const sys::Fd by_path(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (!by_path) return add(probe.mutable_capabilities(), "lease", false, std::string("cannot be opened: ") + std::strerror(errno));
  const auto mounts = sys::read_mounts();
  const sys::Mount* mount = sys::find_mount(mounts, sys::mount_id(by_path.get()));
  if (mount == nullptr) return add(probe.mutable_capabilities(), "lease", false, "its mount is not visible to the daemon");
  probe.set_mount(mount->point);
  probe.set_type(mount->type);
  probe.set_source(mount->source);
  auto* capabilities = probe.mutable_capabilities();
  if (session::may_block(mount->type))
    return add(capabilities, "lease", false, "files on " + mount->type + " cannot be leased: the daemon could be made to wait for them");
  add(capabilities, "lease", true, "files here can be leased");
  // The mount's own directory: a mark on it says what the file system can, and touches no file of anybody.
  const sys::Fd directory(::open(mount->point.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK));
  const int pre_access = directory ? try_pre_access(directory.get()) : errno;
  const int open_perm = directory ? try_open_perm(directory.get()) : errno;
  const bool held = pre_access == 0;
  add(capabilities, "hold_truncate", held || open_perm == 0,
      held ? "held by precontent, on old descriptors too"
           : "held by a file lease while the client is the file's only opener (precontent: " + std::string(std::strerror(pre_access)) + ")");
  add(capabilities, "hold_read_write", held,
      held ? "read, write, fallocate and mmap are held on descriptors that were opened after the file system was armed" +
                 std::string(root ? " (the daemon's start)" : "; add it to the roots to arm it from the start")
           : "not held: FAN_PRE_ACCESS here: " + std::string(std::strerror(pre_access)) + "; ext4, xfs and btrfs have it from Linux 6.14");
  probe.set_guard(held ? v1::GUARD_PRECONTENT : open_perm == 0 ? v1::GUARD_LEASE : v1::GUARD_OBSERVE);
}

void probe_devices(const std::string& sysfs, v1::ProbeResponse* to) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(fs::path(sysfs) / "class/infiniband", ignored)) {
    v1::DeviceProbe& device = *to->add_devices();
    const std::string name = entry.path().filename();
    device.set_name(name);
    const std::string type = first_line(entry.path() / "node_type");
    device.set_node_type(type.substr(type.find(' ') == std::string::npos ? 0 : type.find(' ') + 1));
    device.set_driver(fs::read_symlink(entry.path() / "device/driver", ignored).filename());
    for (const auto& verbs : fs::directory_iterator(fs::path(sysfs) / "class/infiniband_verbs", ignored))
      if (first_line(verbs.path() / "ibdev") == name) device.set_uverbs(verbs.path().filename());
    for (const auto& port : fs::directory_iterator(entry.path() / "ports", ignored)) device.add_ports(port_text(port.path()));
    add(device.mutable_capabilities(), "uverbs", !device.uverbs().empty(),
        device.uverbs().empty() ? "no uverbs device: load ib_uverbs" : "clients can open it and the daemon can fence it");
    add_odp(name, device.driver(), device.mutable_capabilities());
    add(device.mutable_capabilities(), "bounce", true, "works on every device");
  }
}

}  // namespace mrlease::admin
