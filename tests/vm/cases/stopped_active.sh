# SPDX-License-Identifier: Apache-2.0
# SIGSTOP while Active: fenced in time, told after SIGCONT.
# kernels: 7.3
# limit: 60
. "$(dirname "$0")/case.inc"
scenario stopped_active odp --quirk
