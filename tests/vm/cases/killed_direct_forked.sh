# SPDX-License-Identifier: Apache-2.0
# SIGKILL with direct, a forked child lives on.
# kernels: 6.1
# limit: 60
. "$(dirname "$0")/case.inc"
scenario killed direct --fork-child
