// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace mrlease::client {

// Whether two descriptors of this process are of one open file description. false also where kcmp(2) is forbidden.
bool same_open_file(int a, int b);

}  // namespace mrlease::client
