# SPDX-License-Identifier: Apache-2.0
# One lease with several memory regions, in two protection domains and on two devices.
# kernels: 6.1 6.12 7.3
# limit: 120
. "$(dirname "$0")/case.inc"
work=/run/load/several
rm -rf "$work"; mkdir -p "$work"; chmod 1777 "$work"
in_ns=; [ -z "$RECV_NS" ] || in_ns="-n recv"
ip $in_ns link add several0 type dummy; ip $in_ns link set several0 mtu 9000 up; ip $in_ns addr add 10.98.0.1/24 dev several0
$RECV_NS rdma link add rxe9 type rxe netdev several0 || { echo "NOT OK: no second device"; exit 1; }
serve --root /mnt/e --recall-deadline-ms 1000 --fence-deadline-ms 400
backings=bounce
kernel_at_least 6.12 || backings="bounce direct"
! kernel_at_least 7.3 || backings="bounce odp odp-cooperative"
status=0
for backing in $backings; do
  python3 -B "$cases/../load/several.py" /mnt/e/several "$work/sock" "$backing" "$work/daemon.log" \
    $RECV_NS setpriv --reuid=65534 --regid=65534 --clear-groups "$MRLEASE_BUILD/tests/vm/several/vm_several" || status=1
done
# A device that goes while it is used, and the only one. On 6.1 its removal waits until its users have closed it.
if kernel_at_least 7.3; then
  for backing in bounce odp; do
    for which in remove remove-only; do
      python3 -B "$cases/../load/several.py" --$which /mnt/e/several "$work/sock" "$backing" "$work/daemon.log" \
        $RECV_NS setpriv --reuid=65534 --regid=65534 --clear-groups "$MRLEASE_BUILD/tests/vm/several/vm_several" || status=1
      $RECV_NS rdma link add rxe9 type rxe netdev several0
    done
  done
fi
kill "$daemon"; wait "$daemon"
[ $status = 0 ] || cat "$work/daemon.log"
$RECV_NS rdma link delete rxe9; ip $in_ns link delete several0
exit $status
