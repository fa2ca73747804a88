# SPDX-License-Identifier: Apache-2.0
# SIGSTOP while Active, direct.
# kernels: 6.1
# limit: 60
. "$(dirname "$0")/case.inc"
scenario stopped_active direct
