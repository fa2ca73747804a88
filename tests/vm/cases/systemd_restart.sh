# SPDX-License-Identifier: Apache-2.0
# Under systemd as the first process, with the installed units: kill -9, restart, reload and stop while a remote peer streams
# into leased files.
# kernels: 7.3
# init: systemd
# limit: 600
. "$(dirname "$0")/case.inc"
fail() { echo "NOT OK: $*"; journalctl -u mrleased --no-pager -n 40 2>/dev/null; exit 1; }

cmake --install "$MRLEASE_BUILD" > /run/install.log 2>&1 || fail "the install rules: $(tail -n 3 /run/install.log)"
# The first file system is armed from the start, by an environment file where the unit looks for it.
options=$(sed -n 's/^EnvironmentFile=-//p' /lib/systemd/system/mrleased.service)
mkdir -p "$(dirname "$options")"
echo 'MRLEASED_OPTIONS=--root /mnt/e --log-level info --freeze-conflict wait' > "$options"
systemd-tmpfiles --create mrlease.conf; systemctl daemon-reload

kills=20; [ -z "${MRLEASE_FULL:-}" ] || kills=100
chaos() {
  local name=$1 backing=$2; shift 2
  RECV_NS=$RECV_NS SEND_NS=$SEND_NS python3 -B "$cases/../load/restarts.py" --kills "$kills" --name "$name" \
    --backing "$backing" --bin "$MRLEASE_BUILD/tests/vm/load" --daemon none --out /dev/null "$@" || fail "$name"
}
chaos kept-odp odp --quirk --cycles 1
chaos kept-bounce bounce --cycles 1
# Where no event holds (tmpfs has no FAN_PRE_ACCESS), as on older kernels: the leases of fcntl(2) outlive the daemon too.
chaos kept-lease-guard bounce --cycles 1 --dir /mnt

# Why the application was asked for help, when it was.
journalctl -u mrleased --no-pager -o cat | grep -E ' quiesce| release|every lease gets' | cut -c1-300 | sed 's/^/ /'

# What is left with systemd when nobody has a lease: the groups, the state, the journal, a store for the next.
systemctl is-active mrleased > /dev/null || fail "it does not run"
left=$(systemctl show -P NFileDescriptorStore mrleased)
[ "$left" -le 12 ] || fail "$left descriptors are left in the store"
systemctl reload mrleased || fail "reload"
systemctl restart mrleased || fail "restart"
systemctl stop mrleased.service mrleased.socket || fail "stop"
[ ! -e /run/mrlease/mrleased.sock ] || fail "the socket is left"
[ "$(systemctl show -P NFileDescriptorStore mrleased)" = 0 ] || fail "systemd keeps descriptors of a service that was stopped"
echo "kill -9 $kills times each"
