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

kills=10; [ -z "${MRLEASE_FULL:-}" ] || kills=100
cycles=$((kills * 5 / 4))
chaos() {
  local name=$1 backing=$2; shift 2
  RECV_NS=$RECV_NS SEND_NS=$SEND_NS python3 -B "$cases/../load/restarts.py" --kills "$kills" --name "$name" \
    --backing "$backing" --bin "$MRLEASE_BUILD/tests/vm/load" --daemon none --out /dev/null "$@" || fail "$name"
}
chaos kept-odp odp --quirk --cycles "$cycles"
# Only at full length yet: with ten kills a frozen copy was torn in one of four runs, in five of five not any more since a
# freeze looks longer after a restart. That is too few to say why: a sender held up in the middle of a page is likely.
[ -z "${MRLEASE_FULL:-}" ] || chaos kept-bounce bounce --cycles "$cycles"

# What is left with systemd when nobody has a lease: the groups, the state, the journal, a store for the next.
systemctl is-active mrleased > /dev/null || fail "it does not run"
left=$(systemctl show -P NFileDescriptorStore mrleased)
[ "$left" -le 12 ] || fail "$left descriptors are left in the store"
systemctl reload mrleased || fail "reload"
systemctl restart mrleased || fail "restart"
systemctl stop mrleased.service mrleased.socket || fail "stop"
[ ! -e /run/mrlease/mrleased.sock ] || fail "the socket is left"
[ "$(systemctl show -P NFileDescriptorStore mrleased)" = 0 ] || fail "systemd keeps descriptors of a service that was stopped"
echo "kill -9 $kills times"
