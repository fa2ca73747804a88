# SPDX-License-Identifier: Apache-2.0
# SIGSTOP while Frozen.
# kernels: 7.3
# limit: 60
. "$(dirname "$0")/case.inc"
scenario stopped_frozen odp --quirk --freeze-conflict thaw
