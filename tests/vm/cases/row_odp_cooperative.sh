# SPDX-License-Identifier: Apache-2.0
# The same without userfaultfd: the application is called to quiesce.
# kernels: 7.3
# limit: 200
. "$(dirname "$0")/case.inc"
row odp-cooperative odp-cooperative 20 --quirk --expect "backing=odp transparent=False guard=precontent keys_same=True"
