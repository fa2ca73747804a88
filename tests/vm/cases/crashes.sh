# SPDX-License-Identifier: Apache-2.0
# Under systemd: clients killed at random moments, and the daemon while a client lives (with more to meet: systemd_restart.sh), while
# remote peers stream and others truncate, punch, freeze and sync. No page leaves the page cache under a memory region of a direct lease (tmpfs here: this kernel pins no
# others; a memory region of odp lives on when pages go, the device follows), nothing acknowledged is lost, nothing is left over.
# kernels: 7.3
# init: systemd
# limit: 480
. "$(dirname "$0")/service.inc"
# The ring of the last events would fill for longer than this takes, and pass for growth.
install_service --recall-deadline-ms 2000 --fence-deadline-ms 500 --admin-events-max 16
each=4 kills=20; [ -z "${MRLEASE_FULL:-}" ] || each=70 kills=200
seed=${MRLEASE_SEED:-1}
crash() {
  local name=$1 what=$2 count=$3; shift 3
  RECV_NS=$RECV_NS SEND_NS=$SEND_NS python3 -B "$cases/../load/crashes.py" "$what" "$count" --name "$name" --size 1048576 --seed "$seed" \
    --bin "$MRLEASE_BUILD/tests/vm/load" --daemon none --out /dev/null "$@" || fail "$name"
}
crash dying-bounce clients $each --backing bounce
crash dying-odp clients $each --backing odp --quirk
crash dying-direct clients $each --backing direct --dir /mnt
crash killed-direct daemon $kills --backing direct --dir /mnt --phases truncate --cycles 1
left=$(systemctl show -P NFileDescriptorStore mrleased)
[ "$left" -le 12 ] || fail "$left descriptors are left with systemd"
systemctl stop mrleased.service mrleased.socket || fail "stop"
echo "clients killed $((3 * each)) times while others wait, and 48 times alone, the daemon $kills times; $left descriptors left with systemd"
