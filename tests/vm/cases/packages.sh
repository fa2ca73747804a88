# SPDX-License-Identifier: Apache-2.0
# The Debian packages, with systemd as the first process: installed, upgraded while a remote peer streams into a leased file,
# looked at in the journal, and purged.
# kernels: 7.3
# init: systemd
# limit: 700
. "$(dirname "$0")/service.inc"
export DEBIAN_FRONTEND=noninteractive

packages=()
for p in "$MRLEASE_PACKAGES"/*.deb; do [[ $p == *-dbgsym_* ]] || packages+=("$p"); done
rm -f /usr/sbin/policy-rc.d  # of the image that this machine was made from: it forbids to start services
rm -f /var/lib/man-db/auto-update  # man-db would index all manual pages of that machine, for minutes here, at each dpkg
mkdir -p /etc/default; echo 'MRLEASED_OPTIONS=--root /mnt/e --log-level info --freeze-conflict wait' > /etc/default/mrleased
dpkg -i "${packages[@]}" > /run/install.log 2>&1 || fail "dpkg -i: $(tail -n 5 /run/install.log)"
systemctl is-active mrleased.service mrleased.socket > /dev/null || fail "it was not started"
systemctl is-enabled mrleased.service mrleased.socket > /dev/null || fail "it is not enabled"
mrleasectl leases | grep -qx 'no leases' || fail "mrleasectl leases"
# The namespace that has the device: what it can do was tried.
$RECV_NS mrleasectl --json probe > /run/probe || fail "mrleasectl probe: $(cat /run/probe)"
grep -q 'passes the self-test for page-aligned transfers only' /run/probe && grep -q 'breaks are transparent' /run/probe ||
  fail "mrleasectl probe has not tried the device: $(cat /run/probe)"

# The same daemon under another version's number.
mkdir /run/next
dpkg-deb -R "$(ls "$MRLEASE_PACKAGES"/mrleased_*.deb)" /run/next/tree && sed -i 's/^Version: .*/&+next/' /run/next/tree/DEBIAN/control &&
  dpkg-deb -b /run/next/tree /run/next/mrleased.deb > /dev/null || fail "no other version"
upgrades=2; [ -z "${MRLEASE_FULL:-}" ] || upgrades=40
RECV_NS=$RECV_NS SEND_NS=$SEND_NS python3 -B "$cases/../load/restarts.py" --upgrades "$upgrades" \
  --packages "$(ls "$MRLEASE_PACKAGES"/mrleased_*.deb) /run/next/mrleased.deb" --name upgraded-odp --backing odp --quirk \
  --cycles 1 --bin "$MRLEASE_BUILD/tests/vm/load" --daemon none --out /dev/null || fail "upgrades"

# What was truncated meanwhile is in the journal, with its fields.
journalctl --flush 2> /dev/null
journalctl -u mrleased MESSAGE_ID=1f1fd649fdba480482f3fc0297bc688e MRLEASE_KIND=truncate -o json --no-pager > /run/audit
python3 - <<'END' || fail "the journal"
import json, sys
records = [json.loads(line) for line in open("/run/audit")]
told = [r for r in records if r.get("MRLEASE_FILE") == "/mnt/e/upgraded-odp" and r.get("MRLEASE_BY_COMM") == "mrl_foreign"
        and r.get("MRLEASE_BY_UID") == "65533" and "pid=" in str(r.get("MRLEASE_RECALLED")) and int(r["MRLEASE_WAITED_USEC"]) > 0]
print(f"{len(records)} truncates in the journal, {len(told)} with everything")
sys.exit(0 if told else f"for example {records[:1]}")
END

dpkg -P mrleased mrleasectl libmrlease-dev libmrlease0 > /run/purge.log 2>&1 || fail "dpkg -P: $(tail -n 5 /run/purge.log)"
rm /etc/default/mrleased
! pgrep -x mrleased > /dev/null || fail "the daemon still runs"
! getent group mrlease > /dev/null || fail "the group is left"
# Everything else is looked through without systemd, where it costs nothing: tests/support/deb_check.
rm -rf /run/next
# systemd forgets a unit that is gone, and its notes on it in /run/systemd, when it gets to it.
until=$((SECONDS + 30))
while :; do
  left=$(find /etc /var/lib/systemd /var/lib/dpkg/info /run -xdev -path /run/load -prune -o -iname '*mrlease*' -print 2> /dev/null)  # /run/load: other cases'
  state=$(systemctl show -P LoadState mrleased.service)
  [ -n "$left" ] || [ "$state" != not-found ] || break
  ((SECONDS < until)) || fail "left: ${left:-no file}; the unit's LoadState is $state"
  sleep 0.2
done
echo "upgraded $upgrades times"
