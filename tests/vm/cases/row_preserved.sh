# SPDX-License-Identifier: Apache-2.0
# MRL_REG_PRESERVE_ORPHANS: what a truncate cuts off stays readable in the region, with what the peer writes there since; and
# mrl_reattach(): all of that is in the file again.
# kernels: 7.3
# limit: 200
. "$(dirname "$0")/case.inc"
row odp-preserved odp 15 --quirk --preserve --reattach --phases truncate \
  --expect "backing=odp transparent=True keys_same=True orphans>0 reattached>0" &&
  row odp-cooperative-preserved odp-cooperative 10 --quirk --preserve --reattach --phases truncate \
    --expect "backing=odp transparent=False keys_same=True orphans>0 reattached>0"
