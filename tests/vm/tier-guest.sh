# SPDX-License-Identifier: Apache-2.0
# In the guest: every case that this kernel has. A case is a script: its line "# kernels: 6.1 7.3" says where it
# runs, "# full: 6.12" where else with --full (what one kernel shows, another need not show each time, least of all 6.1 and 6.12, which have one guard), and
# "# limit: SECONDS" how long it may take. It exits 0 (passed), 77 (skipped) or else; its lines "NOT OK", or its
# last one, say why.
here=$(dirname "${BASH_SOURCE[0]}")
. "$here/rig/guest.sh"
setup_rdma && setup_disk || exit 1
export RECV_NS SEND_NS
short=$(kernel_at_least 7.3 && echo 7.3 || { kernel_at_least 6.12 && echo 6.12 || echo 6.1; })
mkdir -p "$VM_RESULTS/cases"
# What the head of a case says; with the shell's own means, because each process takes a twentieth of a second here.
read_head() {
  local line
  kernels="" full="" init="" limit=""
  while IFS= read -r line && [[ $line = "#"* ]]; do
    case $line in
      "# kernels: "*) kernels=${line#*: };;
      "# full: "*) full=${line#*: };;
      "# init: "*) init=${line#*: };;
      "# limit: "*) limit=${line#*: };;
    esac
  done < "$1"
}
for case in "$here"/cases/*.sh; do
  name=${case##*/} name=${name%.sh}
  [ -z "${MRLEASE_CASES:-}" ] || case " $MRLEASE_CASES " in *" $name "*) ;; *) continue;; esac
  read_head "$case"
  # Who asks for a case by name gets it.
  [ -z "${MRLEASE_FULL:-}${MRLEASE_CASES:-}" ] || kernels="$kernels $full"
  case " $kernels " in *" $short "*) ;; *) continue;; esac
  # "# init: systemd": only where that is the first process, and nothing else there.
  [ "$init" = "${VM_SYSTEMD:+systemd}" ] || continue
  [ -z "${MRLEASE_FULL:-}" ] || limit=$((limit * 10))
  began=$SECONDS
  timeout -k 10 "$limit" bash "$case" > "$VM_RESULTS/cases/$name.log" 2>&1 < /dev/null; code=$?
  why=$(grep '^NOT OK' "$VM_RESULTS/cases/$name.log" | paste -sd ' ')
  [ -n "$why" ] || why=$(grep -v '^ ' "$VM_RESULTS/cases/$name.log" | tail -n 1)
  case $code in
    0) state=PASS why="$((SECONDS - began)) s";;
    77) state=SKIP;;
    124 | 137) state=FAIL why="overran $limit s: $why";;
    *) state=FAIL;;
  esac
  echo "$state $name $why" | tee -a "$VM_RESULTS/cases.txt"
  # What a case leaves out is a skip of its own: "SKIP NAME: WHY".
  sed -n "s|^SKIP \([a-z_]*\): \(.*\)|SKIP $name/\1 \2|p" "$VM_RESULTS/cases/$name.log" | tee -a "$VM_RESULTS/cases.txt"
  # Who reads this may have nothing but what is printed.
  [ "$state" != FAIL ] || tail -n 60 "$VM_RESULTS/cases/$name.log" | sed 's/^/    /'
done
exit 0
