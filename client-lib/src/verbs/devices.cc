// SPDX-License-Identifier: Apache-2.0
#include "client-lib/src/verbs/devices.h"

#include <infiniband/verbs.h>

#include <cerrno>
#include <memory>

namespace mrlease::client::verbs {
namespace {

struct List {
  int count = 0;
  ibv_device** devices = ibv_get_device_list(&count);
  ~List() {
    if (devices != nullptr) ibv_free_device_list(devices);
  }
};

}  // namespace

std::vector<std::string> device_names() {
  const List list;
  std::vector<std::string> names;
  for (int i = 0; list.devices != nullptr && i < list.count; i++) names.emplace_back(ibv_get_device_name(list.devices[i]));
  return names;
}

OpenDevice::~OpenDevice() {
  if (context_ != nullptr) ibv_close_device(context_);
}

Outcome OpenDevice::open(const std::string& name) {
  const List list;
  for (int i = 0; list.devices != nullptr && i < list.count; i++) {
    if (name != ibv_get_device_name(list.devices[i])) continue;
    context_ = ibv_open_device(list.devices[i]);
    return context_ != nullptr ? Outcome{} : from_errno("open of the device " + name);
  }
  return {ENODEV, "no device is called " + name};
}

}  // namespace mrlease::client::verbs
