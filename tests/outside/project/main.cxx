// SPDX-License-Identifier: Apache-2.0
// The same by the C++ wrapper.
#include <cerrno>
#include <iostream>
#include <mrlease/peers.hpp>

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  try {
    mrlease::Context context({}, argv[1]);
  } catch (const std::system_error& error) {
    std::cout << mrl_backing_name(MRL_BACKING_BOUNCE) << " " << (error.code().value() == ENOENT) << " " << error.what() << "\n";
  }
}
