# SPDX-License-Identifier: Apache-2.0
# The client, and whoever truncates its file, in containers of systemd-nspawn: pid, mount, IPC and user namespaces of their own, and
# its system call filter, which refuses userfaultfd(2). The daemon is the host's.
# kernels: 7.3
# init: systemd
# limit: 420
. "$(dirname "$0")/case.inc"
fail() { echo "NOT OK: $*"; exit 1; }

# contained NAME [OPTIONS...]: the beginning of a command.
contained() {
  local name=$1; shift
  echo systemd-nspawn --quiet --machine="$name" --directory=/ --read-only --volatile=yes --register=no --keep-unit --console=pipe \
    --as-pid2 --private-users=identity --bind-ro="$MRLEASE_BUILD" --bind-ro=/etc/libibverbs.d --bind=/dev/infiniband \
    --bind=/run/load --bind=/mnt/e "$@"
}
network=$RECV_NS
receiver() { echo "$network" "$(contained receiver "$@")"; }
FOREIGN_NS=$(contained foreign); export FOREIGN_NS

# The daemon hands out what the filter refuses.
RECV_NS=$(receiver --rlimit=RLIMIT_MEMLOCK=infinity)
row contained-odp odp 2 --quirk --expect transparent=True || fail "odp in a container"
# Neither gives it: the application has to help.
row contained-cooperative odp 2 --quirk --daemon-options "--userfaultfd never" || fail "cooperative in a container"
grep -q '"reason": .*no waiting in userfaultfd: the daemon.s policy' "$VM_RESULTS/rows/contained-cooperative.json" ||
  fail "without userfaultfd: $(grep '"reason"' "$VM_RESULTS/rows/contained-cooperative.json")"
row contained-bounce bounce 2 --unaligned || fail "bounce in a container"

# Nothing may be pinned: the error says what to raise.
RECV_NS=$(receiver --rlimit=RLIMIT_MEMLOCK=65536)
run_row "$VM_RESULTS/rows/contained-memlock.json" contained-memlock bounce --cycles 1
grep '"refused": .*RLIMIT_MEMLOCK is 65536 bytes: raise it' "$VM_RESULTS/rows/contained-memlock.json" ||
  fail "memlock: $(grep '"refused"' "$VM_RESULTS/rows/contained-memlock.json")"
