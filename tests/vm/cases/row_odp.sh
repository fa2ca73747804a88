# SPDX-License-Identifier: Apache-2.0
# Streaming writes, reads and atomics under 100 truncates and 100 freezes: no error, keys unchanged.
# kernels: 7.3
# limit: 400
. "$(dirname "$0")/case.inc"
row odp odp 100 --quirk --expect "backing=odp transparent=True guard=precontent keys_same=True reads>0 atomics>0"
