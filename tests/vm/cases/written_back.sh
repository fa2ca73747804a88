# SPDX-License-Identifier: Apache-2.0
# writeback-interval-ms: what a peer writes is on the disk though nobody asks for it, and though a client that would have to dirty its
# pages (direct) is not asked. Without the option the disk is behind, or this would show nothing.
# kernels: 6.1 7.3
# limit: 120
. "$(dirname "$0")/case.inc"
backing=direct quirk=
! kernel_at_least 7.3 || backing=odp quirk=--quirk
scenario written_back "$backing" $quirk && scenario written_back "$backing" $quirk --daemon-options "--writeback-interval-ms 500"
