# SPDX-License-Identifier: Apache-2.0
# Odd offsets and odd lengths through bounce pages.
# kernels: 6.1 6.12 7.3
# limit: 600
. "$(dirname "$0")/case.inc"
guard=lease; ! kernel_at_least 7.3 || guard=precontent
# The older kernels share their guard: two long rows of it are for --full.
cycles=100; kernel_at_least 7.3 || [ -n "${MRLEASE_FULL:-}" ] || cycles=20
row bounce bounce "$cycles" --unaligned --expect "backing=bounce guard=$guard keys_same=True reads>0 atomics>0"
