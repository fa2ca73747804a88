# SPDX-License-Identifier: Apache-2.0
# Pinned file pages, recalled and registered again; a sync leaves the data on the disk (O_DIRECT).
# kernels: 6.1
# limit: 300
. "$(dirname "$0")/case.inc"
# A truncate and a freeze each cost the keys.
row direct direct 20 --unaligned --expect "backing=direct guard=lease key_changes>39"
