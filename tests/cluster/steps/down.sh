# shellcheck shell=bash disable=SC2154 # sourced by `cluster`, which sets the names
# Back to the machine as it was before `up`, also after a run that was killed at any moment: each step finds by itself
# what there is to undo. Nothing here is worth a graceful end, since the state goes too.

# What kubelet and kube-proxy set.
readonly SYSCTLS=(net.ipv4.ip_forward net.ipv4.conf.all.route_localnet kernel.panic kernel.panic_on_oops vm.overcommit_memory)
# What is written to whatever the configuration says. Where it was there before, it is somebody else's and stays.
readonly STRAYS=(/run/containerd /run/containerd/s /var/lib/kubelet /var/lib/kubelet/device-plugins /var/log/containers
  /var/lib/cni /var/lib/cni/results)

# What the node changes on the machine and `down` must put back.
remember_machine() {
  local name
  for name in "${SYSCTLS[@]}"; do sysctl -e "$name" >>"$state/sysctls"; done
  for name in "${STRAYS[@]}"; do [ -e "$name" ] || echo "$name" >>"$state/strays"; done
  touch "$state/node"
}

down() {
  if [ -d "$state" ] || [ -n "$(daemons)" ]; then
    stop_starting
    signal KILL kubelet
    signal KILL
    if own_node; then kill_pods; fi
    wait_for 20 "the cluster's processes did not end" gone
    unmount
    if own_node; then restore_machine; fi
    rm -rf --one-file-system "$state"
  fi
  if [ "$(readlink "$claim" 2>/dev/null)" = "$state" ]; then rm -f "$claim"; fi
}

# An `up` that outlived whoever called it would start what is being taken down here.
stop_starting() {
  local pid
  pid=$(cat "$state/starting" 2>/dev/null) || return 0
  [ "$pid" != $$ ] || return 0
  case $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) in *cluster\ up*) kill -KILL "$pid" 2>/dev/null || true ;; esac
}

# The control groups that hold pods, whichever version and mount.
pod_groups() { find /sys/fs/cgroup -maxdepth 2 -type d -name kubepods 2>/dev/null; }

pod_processes() {
  pod_groups | while read -r group; do
    find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null || true
  done | sort -un
}

no_pod_processes() { [ -z "$(pod_processes)" ]; }

kill_pods() {
  pod_processes | xargs -r kill -KILL 2>/dev/null || true
  wait_for 20 "the pods' processes did not end" no_pod_processes
}

unmount() {
  local _
  for _ in 1 2 3; do # a mount upon a mount shows only when the upper one is gone
    awk -v d="$state/" 'index($2, d) == 1 {print $2}' /proc/mounts | sort -r | xargs -r -n1 umount -l 2>/dev/null || true
  done
}

restore_machine() {
  local group
  for group in $(pod_groups); do find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || true; done
  ip link delete "$bridge" 2>/dev/null || true
  clean_tables iptables
  clean_tables ip6tables
  rm -f /var/lib/cni/results/"$network"-*
  find /var/log/containers -maxdepth 1 -type l -lname "$state/*" -delete 2>/dev/null || true
  if [ -e "$state/sysctls" ]; then sysctl -q -p "$state/sysctls" || true; fi
  [ -e "$state/strays" ] || return 0
  sort -r "$state/strays" | while read -r stray; do
    find "$stray" -maxdepth 1 ! -type d -delete 2>/dev/null || true
    rmdir "$stray" 2>/dev/null || true
  done
}

# clean_tables iptables|ip6tables: takes out kube-proxy's and kubelet's chains, and those of this cluster's network; other
# rules of the machine, such as podman's, stay.
clean_tables() {
  local before
  before=$("$1-save" 2>/dev/null) || return 0
  grep -qE "KUBE-|$network" <<<"$before" || return 0
  awk -v ours="$network" '
    FNR == NR { if ($1 == "-A" && $2 ~ /^CNI-/ && index($0, ours)) doomed[$2]; next }
    /KUBE-/ || index($0, ours) { next }
    { for (chain in doomed) if (index($0, chain)) next; print }' <(echo "$before") <(echo "$before") | "$1-restore" || true
}
