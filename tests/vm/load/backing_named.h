// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <mrlease/mrlease.h>

#include <cerrno>
#include <string>
#include <system_error>

namespace mrlease::load {

// By the name that mrl_backing_name() gives it. Throws std::system_error.
inline mrl_backing backing_named(const std::string& name) {
  for (int b = MRL_BACKING_AUTO; b <= MRL_BACKING_BOUNCE; b++)
    if (name == mrl_backing_name(static_cast<mrl_backing>(b))) return static_cast<mrl_backing>(b);
  throw std::system_error(EINVAL, std::generic_category(), "no backing is called " + name);
}

}  // namespace mrlease::load
