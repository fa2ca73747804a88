# SPDX-License-Identifier: Apache-2.0
# In the guest: the demo's rows. Arguments: CYCLES [DRIVER OPTIONS...]. MRLEASE_ROWS: only these names.
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/rig/guest.sh"; . "$here/rows.sh"
cycles=$1; shift
setup_rdma && setup_disk || exit 1
rows_of_kernel | while read -r name backing options; do
  case " ${MRLEASE_ROWS:-$name} " in *" $name "*) ;; *) continue;; esac
  case "$backing $*" in "plain "*--break-something*) continue;; esac
  n=$cycles; [ "$backing" != plain ] || n=$((cycles < 10 ? cycles : 10))
  # shellcheck disable=SC2086  # the options are words
  run_row "$VM_RESULTS/rows/$name.json" "$name" "$backing" --cycles "$n" $options "$@" || exit 1
done
