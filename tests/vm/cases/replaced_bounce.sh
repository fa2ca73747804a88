# SPDX-License-Identifier: Apache-2.0
# The daemon is ended, and another one started that knows nothing: the client reclaims its lease.
# kernels: 6.12 7.3
# full: 6.1
# limit: 120
. "$(dirname "$0")/case.inc"
scenario daemon_replaced bounce --unaligned
