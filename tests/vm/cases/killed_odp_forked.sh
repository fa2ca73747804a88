# SPDX-License-Identifier: Apache-2.0
# SIGKILL with odp, a forked child lives on.
# kernels: 7.3
# limit: 60
. "$(dirname "$0")/case.inc"
scenario killed odp --quirk --fork-child
