# SPDX-License-Identifier: Apache-2.0
# Under systemd as the first process, with the installed units: kill -9, restart, reload, and a daemon that stands still until
# the watchdog ends it, while a remote peer streams into leased files and others truncate, freeze and sync; then a stop.
# kernels: 7.3
# init: systemd
# limit: 600
. "$(dirname "$0")/service.inc"

install_service --freeze-conflict wait --recall-deadline-ms 2000 --fence-deadline-ms 500

# Not more in a row: 40 daemons that did not get so far as to serve are a broken one (loop/office.cc).
kills=20 rounds=1; [ -z "${MRLEASE_FULL:-}" ] || rounds=5
few=4; [ -z "${MRLEASE_FULL:-}" ] || few=20
chaos() {
  local name=$1 backing=$2; shift 2
  RECV_NS=$RECV_NS SEND_NS=$SEND_NS python3 -B "$cases/../load/restarts.py" --name "$name" --cycles 1 \
    --backing "$backing" --bin "$MRLEASE_BUILD/tests/vm/load" --daemon none --out /dev/null "$@" || fail "$name"
}
for round in $(seq "$rounds"); do
  # Daemons that serve for a moment, and truncates alone: a freeze, asked for anew of each, may take longer than they live.
  chaos kept-odp-cut odp --quirk --served-kills 8 --phases truncate --seed "$round"
  chaos kept-bounce-cut bounce --served-kills 8 --phases truncate --seed "$round"
  chaos kept-odp odp --quirk --kills "$kills" --seed "$round"
  chaos kept-bounce bounce --kills "$kills" --seed "$round"
  # Where no event holds (tmpfs has no FAN_PRE_ACCESS), as on older kernels: the leases of fcntl(2) outlive the daemon too.
  chaos kept-lease-guard bounce --kills "$kills" --dir /mnt --seed "$round"
done
chaos restarted-odp odp --quirk --restarts "$few"
chaos restarted-bounce bounce --restarts "$few"
# The unit's 10 s for the watchdog, shortened.
mkdir -p /run/systemd/system/mrleased.service.d
printf '[Service]\nWatchdogSec=3s\n' > /run/systemd/system/mrleased.service.d/test.conf
systemctl daemon-reload && systemctl restart mrleased || fail "the watchdog's time"
chaos stalled-odp odp --quirk --stalls 2
chaos stalled-bounce bounce --stalls 2
# Nobody else could have: they were stopped.
[ "$(systemctl show -P NRestarts mrleased)" = 4 ] || fail "the watchdog did not end it 4 times"
rm -r /run/systemd/system/mrleased.service.d; systemctl daemon-reload

# Why the application was asked for help, when it was.
journalctl -u mrleased --no-pager -o cat | grep -E ' quiesce| release|every lease gets' | cut -c1-300 | sed 's/^/ /'

# What is left with systemd when nobody has a lease: the groups, the state, the journal, a store for the next.
systemctl is-active mrleased > /dev/null || fail "it does not run"
left=$(systemctl show -P NFileDescriptorStore mrleased)
[ "$left" -le 12 ] || fail "$left descriptors are left in the store"
systemctl restart mrleased || fail "restart"
systemctl stop mrleased.service mrleased.socket || fail "stop"
[ ! -e /run/mrlease/mrleased.sock ] || fail "the socket is left"
[ "$(systemctl show -P NFileDescriptorStore mrleased)" = 0 ] || fail "systemd keeps descriptors of a service that was stopped"
echo "kill -9 $rounds times $kills times, restart and reload $few times, stopped by SIGSTOP twice each"
