# SPDX-License-Identifier: Apache-2.0
# SIGSTOP of a bounce client: the daemon needs nothing of it.
# kernels: 6.1 7.3
# full: 6.12
# limit: 60
. "$(dirname "$0")/case.inc"
scenario stopped_bounce bounce --unaligned
