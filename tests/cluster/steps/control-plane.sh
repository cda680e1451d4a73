# shellcheck shell=bash disable=SC2154 # sourced by `cluster`, which sets the names
# etcd, the API server, controllers and scheduler, and the certificates by which they know one another.

find_address() {
  node_ip=$(ip -4 route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \([0-9.]*\).*/\1/p')
  [ -n "$node_ip" ] || node_ip=$(hostname -I | tr ' ' '\n' | grep -m 1 -F . || true)
  [ -n "$node_ip" ] || die "this machine has no IPv4 address"
  echo "$node_ip" >"$state/address"
}

certificate() { # NAME SUBJECT SANS
  openssl req -newkey rsa:2048 -nodes -keyout "$pki/$1.key" -out "$pki/$1.csr" -subj "$2" 2>/dev/null
  openssl x509 -req -in "$pki/$1.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 3650 -out "$pki/$1.crt" \
    -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$3") 2>/dev/null
}

kubeconfig() { # NAME
  cat >"$state/$1.kubeconfig" <<Y
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:$api", certificate-authority-data: $(base64 -w0 "$pki/ca.crt")}}]
users: [{name: u, user: {client-certificate-data: $(base64 -w0 "$pki/$1.crt"), client-key-data: $(base64 -w0 "$pki/$1.key")}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
Y
}

credentials() {
  local name local_san="DNS:localhost,IP:127.0.0.1,IP:$node_ip"
  mkdir -p "$pki"
  openssl req -x509 -newkey rsa:2048 -nodes -keyout "$pki/ca.key" -out "$pki/ca.crt" -days 3650 -subj /CN=kubernetes 2>/dev/null
  openssl genrsa -out "$pki/sa.key" 2048 2>/dev/null
  openssl rsa -in "$pki/sa.key" -pubout -out "$pki/sa.pub" 2>/dev/null
  certificate apiserver /CN=kube-apiserver "$local_san,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:$api_ip"
  certificate admin /O=system:masters/CN=admin "$local_san"
  certificate controller-manager /CN=system:kube-controller-manager "$local_san"
  certificate scheduler /CN=system:kube-scheduler "$local_san"
  certificate kubelet /O=system:nodes/CN=system:node:node "$local_san,DNS:node"
  certificate proxy /CN=system:kube-proxy "$local_san"
  for name in admin controller-manager scheduler kubelet proxy; do kubeconfig $name; done
}

# Who asked what, but for Kubernetes' own parts: tests count an operator's requests and see which permissions it uses.
audit_policy() {
  cat >"$state/audit.yaml" <<Y
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: [system:apiserver, system:kube-controller-manager, system:kube-scheduler, system:kube-proxy, system:node:node, system:anonymous]}
- {level: None, userGroups: ["system:serviceaccounts:kube-system"]}
- {level: Metadata}
Y
}

api_server() {
  start apiserver kube-apiserver --secure-port="$api" --etcd-servers="http://127.0.0.1:$etcd" \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
    --service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" \
    --service-account-issuer=https://kubernetes.default.svc --service-cluster-ip-range="$services" \
    --authorization-mode=Node,RBAC --allow-privileged=true --advertise-address="$(cat "$state/address")" \
    --kubelet-preferred-address-types=InternalIP --kubelet-certificate-authority="$pki/ca.crt" \
    --kubelet-client-certificate="$pki/admin.crt" --kubelet-client-key="$pki/admin.key" \
    --audit-policy-file="$state/audit.yaml" --audit-log-path="$state/audit.log"
  wait_for "$START_SECONDS" "kube-apiserver did not get ready" kubectl get --raw /readyz
}

controllers() {
  # The defaults of 20 and 50 requests a second would make hundreds of Deployments wait for the controllers.
  start controller-manager kube-controller-manager --kubeconfig="$state/controller-manager.kubeconfig" --secure-port="$controllers" \
    --service-account-private-key-file="$pki/sa.key" --root-ca-file="$pki/ca.crt" --use-service-account-credentials \
    --cluster-cidr="$pods" --allocate-node-cidrs=true --leader-elect=false --kube-api-qps=200 --kube-api-burst=400 \
    --flex-volume-plugin-dir="$state/volume-plugins"
  start scheduler kube-scheduler --kubeconfig="$state/scheduler.kubeconfig" --secure-port="$scheduler" --leader-elect=false \
    --kube-api-qps=200 --kube-api-burst=400
}

control_plane() {
  rm -f "$log"/*.log
  start etcd etcd --data-dir "$state/etcd" --listen-client-urls "http://127.0.0.1:$etcd" \
    --advertise-client-urls "http://127.0.0.1:$etcd" --listen-peer-urls "http://127.0.0.1:$etcd_peer" --unsafe-no-fsync
  audit_policy
  api_server
  controllers
  wait_for "$START_SECONDS" "the default service account did not appear" kubectl get serviceaccount default
}

running() { [ -n "$(daemons kube-apiserver)" ]; }

api_down() {
  running || die "the API server is not up"
  kill_off kube-apiserver
}

api_pause() {
  running || die "the API server is not up"
  signal STOP kube-apiserver
}

api_up() {
  [ -e "$state/address" ] || die "the cluster is not up"
  if running; then
    signal CONT kube-apiserver
    wait_for "$START_SECONDS" "kube-apiserver did not get ready" kubectl get --raw /readyz
  else
    api_server
    # Where they are elected, they end without an API server and are started again. Here they would come back to it one resource
    # after another, for a minute, and whoever tests something else meanwhile would wait for them.
    kill_off kube-controller-manager
    kill_off kube-scheduler
    controllers
  fi
}
