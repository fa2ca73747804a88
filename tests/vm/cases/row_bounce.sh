# SPDX-License-Identifier: Apache-2.0
# Odd offsets and odd lengths through bounce pages.
# kernels: 6.1 6.12 7.3
# limit: 600
. "$(dirname "$0")/case.inc"
guard=lease; ! kernel_at_least 7.3 || guard=precontent
row bounce bounce 100 --unaligned --expect "backing=bounce guard=$guard keys_same=True reads>0 atomics>0"
