# shellcheck shell=bash disable=SC2154 # sourced by `cluster`, which sets the names
# A node that runs pods: containerd, kubelet, kube-proxy, DNS, volumes. What it changes on the machine, down.sh takes back.

can_node() {
  local tool missing=()
  [ "$(id -u)" = 0 ] || die "no node here: it needs root"
  for tool in runc iptables iptables-save conntrack ip; do command -v $tool >/dev/null || missing+=("$tool"); done
  [ -x /usr/lib/cni/bridge ] || missing+=(containernetworking-plugins)
  [ ${#missing[@]} = 0 ] || die "no node here: ${missing[*]} missing (scripts/setup cluster installs them)"
  iptables-save >/dev/null 2>&1 || die "no node here: iptables does not work"
  can_mount || die "no node here: overlay file systems cannot be mounted in $dir"
  if ! own_node && iptables-save | grep -q '^:KUBE-'; then
    die "no node here: another Kubernetes has its iptables rules on this machine; not touching it"
  fi
  if ! own_node && [ -n "$(pod_processes)" ]; then
    die "no node here: another kubelet runs pods on this machine; not touching it"
  fi
}

own_node() { [ -e "$state/node" ]; }

can_mount() {
  mkdir -p "$dir"
  local work
  work=$(mktemp -d "$dir/mount.XXXX")
  mkdir "$work"/{lower,upper,work,all}
  local result=0
  unshare -m mount -t overlay overlay -o "lowerdir=$work/lower,upperdir=$work/upper,workdir=$work/work" "$work/all" 2>/dev/null || result=1
  rm -rf --one-file-system "$work"
  return $result
}

node() {
  remember_machine
  mkdir -p "$state/containerd/run" "$state/cni" "$state/kubelet"
  sysctl -qw net.ipv4.ip_forward=1
  container_runtime
  kubelet
  start proxy kube-proxy --kubeconfig="$state/proxy.kubeconfig" --cluster-cidr="$pods" --proxy-mode=iptables \
    --conntrack-max-per-core=0 --conntrack-tcp-timeout-established=0 --conntrack-tcp-timeout-close-wait=0 \
    --hostname-override=node --healthz-bind-address="127.0.0.1:$proxy_health" \
    --metrics-bind-address="127.0.0.1:$proxy_metrics"
  sed "s/DNS_IP/$dns_ip/; s|COREDNS_IMAGE|$coredns_image|" "$here/node/coredns.yaml" | kubectl apply -f - >/dev/null
  wait_for "$START_SECONDS" "the node did not get ready" kubectl wait --for=condition=Ready node/node --timeout=1s
  volumes | kubectl apply -f - >/dev/null
  kubectl -n kube-system rollout status deployment/coredns --timeout="${START_SECONDS}s" >/dev/null || die "CoreDNS did not get ready; see $log"
}

container_runtime() {
  cat >"$state/cni/10-pods.conflist" <<Y
{"cniVersion": "1.0.0", "name": "$network", "plugins": [
  {"type": "bridge", "bridge": "$bridge", "isGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$state/cni-ipam", "ranges": [[{"subnet": "$node_pods"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
Y
  # restrict_oom_score_adj: root may lack CAP_SYS_RESOURCE, and then cannot lower an OOM score.
  cat >"$state/containerd.toml" <<Y
version = 3
root = '$state/containerd/root'
state = '$state/containerd/run'
[grpc]
  address = '$socket'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '$pause_image'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['/usr/lib/cni']
    conf_dir = '$state/cni'
    use_internal_loopback = true
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = 'io.containerd.runc.v2'
    options = {Root = '$state/containerd/runc'}
[plugins.'io.containerd.internal.v1.opt']
  path = '$state/containerd/opt'
[plugins.'io.containerd.nri.v1.nri']
  disable = true
Y
  start containerd containerd --config "$state/containerd.toml"
  wait_for "$START_SECONDS" "containerd did not get ready" ctr --address "$socket" version
  load "$bin/pause.tar" "$bin/coredns.tar"
}

# Nothing can be pulled again, so images are never collected to make room: not by age, not for the disk's sake.
kubelet() {
  echo "nameserver $dns_ip" >"$state/resolv.conf"
  cat >"$state/kubelet.yaml" <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
port: $kubelet
podLogsDir: $state/pod-logs
volumePluginDir: $state/volume-plugins
healthzPort: 0
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $pki/kubelet.crt
tlsPrivateKeyFile: $pki/kubelet.key
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://$socket
clusterDNS: [$dns_ip]
clusterDomain: cluster.local
resolvConf: $state/resolv.conf
imageGCHighThresholdPercent: 100
evictionHard: {nodefs.available: "1%", imagefs.available: "1%", memory.available: 100Mi}
Y
  start kubelet kubelet --config="$state/kubelet.yaml" --kubeconfig="$state/kubelet.kubeconfig" --hostname-override=node \
    --root-dir="$state/kubelet" --cert-dir="$state/kubelet/pki" --node-ip="$node_ip"
}

# A default StorageClass and a few volumes that honour fsGroup.
volumes() {
  cat <<Y
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
Y
  local n
  for n in 1 2 3 4 5 6 7 8; do
    mkdir -p "$state/volumes/$n"
    cat <<Y
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: local-$n}
spec:
  capacity: {storage: 10Gi}
  accessModes: [ReadWriteOnce]
  persistentVolumeReclaimPolicy: Delete
  storageClassName: local
  local: {path: "$state/volumes/$n"}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [node]}]}]}}
Y
  done
}

load() {
  [ $# -gt 0 ] || die "load takes image archives"
  [ -S "$socket" ] || die "no node is up: '$0 up --node' starts one"
  local file
  for file in "$@"; do
    ctr --address "$socket" -n k8s.io images import "$file" >"$log/load.log" 2>&1 || die "$file could not be loaded; see $log/load.log"
  done
}
