# SPDX-License-Identifier: Apache-2.0
# guest.sh MINUTES: in the guest, under systemd as the first process, with the installed units.
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
. "$here/../vm/rig/guest.sh"
setup_rdma && setup_disk || exit 1
export RECV_NS SEND_NS
. "$here/../vm/cases/service.inc"
# The last events are kept for who watches: as few as fill up in the first rounds.
install_service --recall-deadline-ms 2000 --fence-deadline-ms 500 --admin-events-max 500
python3 -B "$here/rig.py" "$1" "$VM_RESULTS/soak.json" "$MRLEASE_BUILD/tests/vm/load"; status=$?
journalctl -u mrleased --no-pager -n 400 > "$VM_RESULTS/journal"
mkdir -p "$VM_RESULTS/load"; cp -r /run/load/. "$VM_RESULTS/load" 2> /dev/null
exit $status
