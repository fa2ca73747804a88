# SPDX-License-Identifier: Apache-2.0
# The audit log, with systemd as the first process: what clients, others and the administrator did is in the journal, with its
# fields.
# kernels: 7.3
# init: systemd
# limit: 120
. "$(dirname "$0")/case.inc"
fail() { echo "NOT OK: $*"; journalctl -u mrleased --no-pager -n 40 2> /dev/null; exit 1; }

cmake --install "$MRLEASE_BUILD" > /run/install.log 2>&1 || fail "the install rules: $(tail -n 3 /run/install.log)"
options=$(sed -n 's/^EnvironmentFile=-//p' /lib/systemd/system/mrleased.service)
mkdir -p "$(dirname "$options")"
echo 'MRLEASED_OPTIONS=--root /mnt/e --log-level info --recall-deadline-ms 2000' > "$options"
systemd-tmpfiles --create mrlease.conf; systemctl daemon-reload; systemctl restart mrleased || fail "it does not start"
RECV_NS=$RECV_NS SEND_NS=$SEND_NS python3 -B "$cases/../load/audit.py" --name audited --backing odp --quirk \
  --bin "$MRLEASE_BUILD/tests/vm/load" --daemon none --out /dev/null || fail "the audit log"
systemctl stop mrleased.service mrleased.socket || fail "stop"
