# SPDX-License-Identifier: Apache-2.0
# mlockall(MCL_FUTURE), a forked child and storing threads during freeze and thaw: nothing is lost.
# kernels: 7.3
# limit: 200
. "$(dirname "$0")/case.inc"
row mlockall odp 15 --quirk --mlockall --fork-init --fork-child --stores 64
