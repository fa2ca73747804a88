# SPDX-License-Identifier: Apache-2.0
# Odd offsets and odd lengths through bounce pages.
# kernels: 6.1 7.3
# full: 6.12
# limit: 600
. "$(dirname "$0")/case.inc"
guard=lease; ! kernel_at_least 7.3 || guard=precontent
# A hundred cycles and more are for --full; the older kernels share their guard.
cycles=30; kernel_at_least 7.3 || cycles=12; [ -z "${MRLEASE_FULL:-}" ] || cycles=100
row bounce bounce "$cycles" --unaligned --expect "backing=bounce guard=$guard keys_same=True reads>0 atomics>0"
