# shellcheck shell=bash disable=SC2034,SC2154 # sourced by `cluster`, which sets the names
# The cluster's processes. They are known by the program they run, never by a number that was written down: $bin is this
# cluster's alone, and so nothing is missed when a run was killed, and nothing else is hit.

# A start takes seconds; a machine that compiles beside it may need this long.
readonly START_SECONDS=180
readonly DAEMONS=" etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy containerd containerd-shim-runc-v2 "

# start NAME COMMAND...: in the background, logged
start() {
  local name=$1
  shift
  setsid nohup "$@" >>"$log/$name.log" 2>&1 </dev/null &
  disown
}

# program PID: the name of the program of this cluster that it runs, or nothing
program() {
  local exe
  exe=$(readlink "/proc/$1/exe" 2>/dev/null) || return 0
  exe=${exe% (deleted)}
  case $exe in "$bin"/*) echo "${exe##*/}" ;; esac
}

# daemons [NAME]: the numbers of this cluster's processes, or of those that run NAME
daemons() {
  local process name
  for process in /proc/[0-9]*; do
    name=$(program "${process#/proc/}")
    [ -n "$name" ] || continue
    case $DAEMONS in *" $name "*) [ -n "${1:-}" ] && [ "$1" != "$name" ] || echo "${process#/proc/}" ;; esac
  done
}

# signal SIGNAL [NAME]: to the processes that run NAME, or to all
signal() {
  daemons "${2:-}" | xargs -r kill "-$1" 2>/dev/null || true
}

# wait_for SECONDS WHAT COMMAND...
wait_for() {
  local seconds=$1 end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || die "$what within $seconds s; see $log"
    sleep 0.2
  done
}

# kill_off NAME: kills the processes that run NAME, and waits for their end
kill_off() {
  signal KILL "$1"
  wait_for 10 "$1 did not end" gone "$1"
}

gone() { [ -z "$(daemons "$@")" ]; }
