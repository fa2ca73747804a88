# SPDX-License-Identifier: Apache-2.0
# A small file under odp: nearly every truncate cuts a page in two.
# kernels: 7.3
# limit: 300
. "$(dirname "$0")/case.inc"
row odp-small odp 30 --quirk --size 262144 --odd-cuts 0.9 --seed 11 \
  --expect "backing=odp transparent=True guard=precontent keys_same=True"
