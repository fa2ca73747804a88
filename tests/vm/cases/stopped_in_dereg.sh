# SPDX-License-Identifier: Apache-2.0
# A client that stops between the acknowledgement of its memory region's removal and the removal: the truncate is held until the
# device cannot reach the pages any more, which takes a SIGKILL.
# kernels: 6.1
# limit: 60
. "$(dirname "$0")/case.inc"
scenario stopped_in_dereg direct --stop-in-dereg
