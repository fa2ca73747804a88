# SPDX-License-Identifier: Apache-2.0
# Memory windows over a leased memory region, which cannot be deregistered meanwhile.
# kernels: 6.1 6.12 7.3
# limit: 120
. "$(dirname "$0")/case.inc"
work=/run/load/windows
rm -rf "$work"; mkdir -p "$work"; chmod 1777 "$work"
serve --root /mnt/e --recall-deadline-ms 1000 --fence-deadline-ms 400
backings=bounce
kernel_at_least 6.12 || backings="bounce direct"
! kernel_at_least 7.3 || backings="bounce odp odp-cooperative"
status=0
for backing in $backings; do
  python3 -B "$cases/../load/windows.py" /mnt/e/windows "$work/sock" "$backing" "$work/daemon.log" \
    $RECV_NS setpriv --reuid=65534 --regid=65534 --clear-groups "$MRLEASE_BUILD/tests/vm/windows/vm_windows" || status=1
done
kill "$daemon"; wait "$daemon"
[ $status = 0 ] || cat "$work/daemon.log"
exit $status
