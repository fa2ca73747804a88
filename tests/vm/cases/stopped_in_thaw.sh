# SPDX-License-Identifier: Apache-2.0
# SIGSTOP in the middle of a thaw, with device faults waiting.
# kernels: 7.3
# limit: 120
. "$(dirname "$0")/case.inc"
scenario stopped_in_thaw odp --quirk --freeze-conflict thaw
