# SPDX-License-Identifier: Apache-2.0
# The audit log, with systemd as the first process: what clients, others and the administrator did is in the journal, with its
# fields.
# kernels: 7.3
# init: systemd
# limit: 120
. "$(dirname "$0")/service.inc"

install_service --recall-deadline-ms 2000
systemctl restart mrleased || fail "it does not start"
RECV_NS=$RECV_NS SEND_NS=$SEND_NS python3 -B "$cases/../load/audit.py" --name audited --backing odp --quirk \
  --bin "$MRLEASE_BUILD/tests/vm/load" --daemon none --out /dev/null || fail "the audit log"
systemctl stop mrleased.service mrleased.socket || fail "stop"
