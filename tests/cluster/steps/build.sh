# shellcheck shell=bash disable=SC2154 # sourced by `cluster`, which sets the names
# From Go modules to programs in $bin, and the two images that the node cannot do without.

readonly GO_NEEDED="Go 1.26 or later (https://go.dev/dl) is needed to build the test cluster"

# build [PART]: compiles what has changed since the last time
build() {
  local part=${1:-}
  case $part in
    '') build control-plane; build node ;;
    control-plane) build_part control-plane kubernetes ;;
    node) build_part node kubernetes containerd coredns ;;
    *) die "build takes control-plane, node or nothing, not '$part'" ;;
  esac
}

# build_part PART MODULE...: under a lock, since two builds side by side would only be slower
build_part() {
  local part=$1 now stamp=$bin/.$1
  shift
  mkdir -p "$bin"
  now=$(cd "$here" && { cat steps/build.sh; for module in "$@"; do find "go/$module" -type f -print0 | sort -z | xargs -0 sha256sum; done; } | sha256sum)
  (
    flock 9
    [ "$(cat "$stamp" 2>/dev/null)" != "$now" ] || exit 0
    command -v go >/dev/null || die "$GO_NEEDED"
    (cd "$here/go/kubernetes" && go version >/dev/null 2>&1) || die "$GO_NEEDED; this is $(cd / && go version)"
    say "building the $part from Go modules: minutes the first time"
    "build_${part//-/_}"
    printf '%s\n' "$now" >"$stamp"
  ) 9>"$bin/.lock"
}

# compile MODULE PACKAGE...
compile() {
  local module=$1 version=k8s.io/component-base/version
  shift
  (cd "$here/go/$module" && CGO_ENABLED=0 go build -buildvcs=false -o "$bin/" \
    -ldflags="-s -w -X $version.gitVersion=v1.36.3 -X $version.gitMajor=1 -X $version.gitMinor=36" "$@")
}

build_control_plane() {
  compile kubernetes ./cmd/{etcd,kube-apiserver,kube-controller-manager,kube-scheduler,kubectl}
}

build_node() {
  compile kubernetes ./cmd/{kubelet,kube-proxy,pause}
  compile containerd github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr}
  compile coredns .
  archive "$pause_image" pause
  archive "$coredns_image" coredns
}

# archive NAME PROGRAM: an image of one static program, as `docker save` would write it, in $bin/PROGRAM.tar
archive() {
  local work layer
  work=$(mktemp -d)
  mkdir "$work/root"
  cp "$bin/$2" "$work/root/$2"
  tar -C "$work/root" --owner=0 --group=0 --mtime=@0 -cf "$work/layer.tar" "$2"
  layer=$(sha256sum "$work/layer.tar")
  printf '{"architecture":"%s","os":"linux","config":{"Entrypoint":["/%s"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    "$(go env GOARCH)" "$2" "${layer%% *}" >"$work/config.json"
  printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$1" >"$work/manifest.json"
  tar -C "$work" -cf "$bin/$2.tar" manifest.json config.json layer.tar
  rm -r "$work"
}
