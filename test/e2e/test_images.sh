#!/bin/bash
# Images from a registry on loopback that wants passwords: pull secrets of both forms, of pods and of service
# accounts, wrong ones, credential providers, pull policies, back-off, turns, and the removal of what nobody uses.
. "$(dirname "$0")/lib.sh"
need_root "the images test"
setup images
if ! command -v docker-registry >/dev/null; then echo "left out: docker-registry is not installed"; echo "0 passed, 0 failed"; exit 0; fi
D=$WORK/c
mkdir "$WORK/bin"
# A provider that knows one user, writes down what it was asked, and can be told to fail.
cat >"$WORK/bin/keeper" <<SH
#!/bin/sh
cat >>$WORK/asked
[ ! -e $WORK/broken ] || { echo "the keeper is out" >&2; exit 3; }
echo '{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Registry","cacheDuration":"1h","auth":{"127.0.0.1:5000/provided":{"username":"ann","password":"'\$SECRET'"}}}'
SH
printf '#!/bin/sh\ncat >>%s/asked\nwhile [ -e %s/hung ]; do sleep 0.2; done\n' "$WORK" "$WORK" >"$WORK/bin/sleeper"
chmod +x "$WORK/bin/keeper" "$WORK/bin/sleeper"
cat >"$WORK/providers.yaml" <<'YAML'
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: keeper
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  matchImages: ["127.0.0.1:5000/provided"]
  defaultCacheDuration: 10m
  env: [{name: SECRET, value: pass1}]
- name: sleeper
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  matchImages: ["127.0.0.1:5000/slow"]
  defaultCacheDuration: 0s
YAML
sed 's/10m/soon/' "$WORK/providers.yaml" >"$WORK/bad.yaml"
has "a configuration of providers that is wrong is refused" "keeper: defaultCacheDuration must be a duration" \
    "$BIN/trireme-kubelet" --root-dir="$WORK/none" --pod-logs-dir="$WORK/none" --cert-dir="$WORK/none" --cgroups-per-qos=false --hostname-override=x --port=0 --healthz-port=0 \
    --image-credential-provider-config="$WORK/bad.yaml" --image-credential-provider-bin-dir="$WORK/bin"
# configure TEXT: the agent's file, for its next start.
configure() { printf 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n%s\n' "$1" >"$WORK/kubelet.yaml"; }
configure 'serializeImagePulls: true'
ok "up" up "$D" --control-planes 1 --workers 1 --kubelet-args "--image-credential-provider-config=$WORK/providers.yaml --image-credential-provider-bin-dir=$WORK/bin --minimum-image-ttl-duration=0s --config=$WORK/kubelet.yaml"
[ "$failed" = 0 ] || finish
KUBECONFIG_FILE=$D/kubeconfig
NODE_NS=/run/netns/trireme-$PORT-worker-1
REGISTRY_PID=''
trap '[ -z "$REGISTRY_PID" ] || kill $REGISTRY_PID 2>/dev/null; teardown' EXIT
crypted() { perl -e 'print crypt($ARGV[0], "\$2y\$04\$abcdefghijklmnopqrstuu")' "$1"; }
printf 'ann:%s\nbob:%s\n' "$(crypted pass1)" "$(crypted pass2)" >"$WORK/htpasswd"
cat >"$WORK/registry.yml" <<YAML
version: 0.1
storage: {filesystem: {rootdirectory: $WORK/registry}}
http: {addr: 127.0.0.1:5000}
auth: {htpasswd: {realm: test, path: $WORK/htpasswd}}
YAML
nsenter --net="$NODE_NS" docker-registry serve "$WORK/registry.yml" >"$WORK/registry.log" 2>&1 &
REGISTRY_PID=$!
eventually 10 "a registry answers" nsenter --net="$NODE_NS" curl -s -o /dev/null http://127.0.0.1:5000/v2/
"$ROOT/deploy/images/build.sh" "$WORK/built"
push() { nsenter --net="$NODE_NS" "$HERE/push_image.py" 127.0.0.1:5000 ann:pass1 "$WORK/built/busybox.tar" "$@"; }
for image in shop/web:1 shop/plain:latest provided/x:1 provided/y:1 other/z:1 shop/always:1; do ok "push $image" push $image; done
ok "push one of its own" push other/preloaded:1 another
eventually 20 "default service account" k get serviceaccount default
ok "the node is ready" k wait --for=condition=Ready node --all --timeout=60s

secret() { k create secret docker-registry "$1" --docker-server="$2" --docker-username="$3" --docker-password="$4" >/dev/null; }
# pod NAME IMAGE SPEC [POLICY]
pod() {
    k apply -f - >/dev/null <<YAML
apiVersion: v1
kind: Pod
metadata: {name: $1}
spec:
  terminationGracePeriodSeconds: 1
  ${3:-}
  containers: [{name: c, image: "127.0.0.1:5000/$2", imagePullPolicy: ${4:-IfNotPresent}, command: [sh, -c, 'while :; do sleep 1; done']}]
YAML
}
waits() { is "pod/$1" '.status.containerStatuses[0].state.waiting.reason' "$2"; }
runs() { k wait --for=condition=Ready "pod/$1" --timeout=60s; }
ctr_images() { nsenter --net="$NODE_NS" ctr -a "/run/trireme-$PORT/worker-1/containerd.sock" -n k8s.io "$@"; }

# --- without, and with the wrong secret
pod none shop/web:1
eventually 20 "no secret: refused" waits none ErrImagePull
ok "with an event" told Failed none 'Failed to pull image "127.0.0.1:5000/shop/web:1": '
ok "that says why" told Failed none '401 Unauthorized'
eventually 20 "and backed off" waits none ImagePullBackOff
has "as upstream says it" 'Back-off pulling image "127.0.0.1:5000/shop/web:1": ErrImagePull: ' jp pod/none '.status.containerStatuses[0].state.waiting.message'
ok "with an event" told BackOff none 'Back-off pulling image "127.0.0.1:5000/shop/web:1"'
secret wrong 127.0.0.1:5000 ann nonsense
pod wrong shop/web:1 'imagePullSecrets: [{name: wrong}]'
eventually 20 "a wrong secret: refused" waits wrong ErrImagePull
secret elsewhere registry.example ann pass1
pod elsewhere shop/web:1 'imagePullSecrets: [{name: elsewhere}]'
eventually 20 "one of another registry: refused" waits elsewhere ErrImagePull
ctr_images images ls -q >"$WORK/list" || fail "the list of images"
no "nothing was pulled" grep -q shop/web "$WORK/list"

# --- the right ones
secret right 127.0.0.1:5000 bob pass2
pod right shop/web:1 'imagePullSecrets: [{name: wrong}, {name: missing}, {name: right}]'
ok "a right one after a wrong and a missing one" runs right
ok "events: Pulling" told Pulling right 'Pulling image "127.0.0.1:5000/shop/web:1"'
ok "events: Pulled" told Pulled right 'Successfully pulled image "127.0.0.1:5000/shop/web:1" in '
has "imageID is its digest" 127.0.0.1:5000/shop/web@sha256: jp pod/right '.status.containerStatuses[0].imageID'
k create secret generic old --type=kubernetes.io/dockercfg --from-literal=.dockercfg="{\"http://127.0.0.1:5000/shop\":{\"auth\":\"$(printf ann:pass1 | base64)\"}}" >/dev/null
pod old shop/plain 'imagePullSecrets: [{name: old}]'
ok ".dockercfg, with a path" runs old
k create serviceaccount puller >/dev/null
k patch serviceaccount puller -p '{"imagePullSecrets":[{"name":"right"}]}' >/dev/null
pod account other/z:1 'serviceAccountName: puller'
ok "a service account's secrets" runs account
same "stand in the pod" right jp pod/account '.spec.imagePullSecrets[0].name'

# --- policies
pod present shop/web:1 'imagePullSecrets: [{name: right}]'
ok "IfNotPresent: what is here" runs present
ok "is not pulled again" told Pulled present 'Container image "127.0.0.1:5000/shop/web:1" already present on machine'

# --- who may use what is here
pod stranger shop/web:1
eventually 20 "an image that a secret was needed for is pulled anew for a pod without one" waits stranger ErrImagePull
ok "which the registry refuses" told Failed stranger '401 Unauthorized'
pod liar shop/web:1 'imagePullSecrets: [{name: wrong}]'
eventually 20 "or with another one" waits liar ErrImagePull
pod nosy shop/web:1 '' Never
eventually 20 "Never: it is as if it were not here" waits nosy ErrImageNeverPull
secret same 127.0.0.1:5000 bob pass2
pod equal shop/web:1 'imagePullSecrets: [{name: same}]'
ok "the same words in another secret do" runs equal
ok "without a pull" told Pulled equal 'already present on machine and can be accessed by the pod'
ok "an image that others bring" ctr_images images pull --plain-http --user ann:pass1 127.0.0.1:5000/other/preloaded:1
pod preloaded other/preloaded:1
ok "is everybody's" runs preloaded
records() { find "$D/hosts/worker-1" -path '*image_manager/pulled/sha256-*' -exec cat {} +; }
has "what was pulled how is on disk" '"name":"same"' records
k delete pod stranger liar nosy --now >/dev/null
pod always shop/always:1 'imagePullSecrets: [{name: right}]' Always
ok "Always: pulls" runs always
ok "delete it" k delete pod always --now
pod again shop/always:1 'imagePullSecrets: [{name: right}]' Always
ok "Always: and again" runs again
ok "with an event" told Pulled again 'Successfully pulled image "127.0.0.1:5000/shop/always:1"'
pod never other/never:1 '' Never
eventually 10 "Never" waits never ErrImageNeverPull

# --- credential providers
touch "$WORK/broken"
pod provided provided/x:1
eventually 20 "a provider that fails" waits provided ErrImagePull
ok "is logged" grep -q "credential provider keeper.*exit status 3: the keeper is out" "$D/hosts/worker-1/log/kubelet.log"
rm "$WORK/broken"
ok "then works" runs provided
has "it was asked for the image, without its tag" '"apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"127.0.0.1:5000/provided/x"' cat "$WORK/asked"
before=$(wc -l <"$WORK/asked")
pod cached provided/y:1
ok "another image of the registry" runs cached
same "is pulled with what it had answered" "$before" sh -c "wc -l <'$WORK/asked'"
no "other images are none of its business" grep -q shop "$WORK/asked"


# --- one that hangs
touch "$WORK/hung"
pod hung slow/x:1
eventually 20 "a provider that hangs is asked" grep -q slow/x "$WORK/asked"
ok "it runs" pgrep -f "$WORK/bin/sleeper"
ok "the pod goes at once" k delete pod hung --grace-period=1 --timeout=30s
no "and the provider with it" pgrep -f "$WORK/bin/sleeper"
rm "$WORK/hung"

# --- one after the other
spans() { grep "PullImage \|returns image reference" "$D/hosts/worker-1/log/containerd.log" | grep -c "PullImage"; }
ok "pulls were made one after the other" awk '
    /msg="PullImage .*returns|PullImage .*failed/ { running--; next }
    /msg="PullImage/ { if (++running > 1) bad = 1 }
    END { exit bad }' "$D/hosts/worker-1/log/containerd.log"

# --- the registry goes away and comes back
ok "delete the waiting pods" k delete pod none wrong elsewhere never --now
kill $REGISTRY_PID; wait $REGISTRY_PID 2>/dev/null; REGISTRY_PID=''
pod away shop/plain:latest 'imagePullSecrets: [{name: right}]' Always
eventually 20 "a registry that is away" waits away ErrImagePull
ok "says so" told Failed away 'connection refused'
nsenter --net="$NODE_NS" docker-registry serve "$WORK/registry.yml" >>"$WORK/registry.log" 2>&1 &
REGISTRY_PID=$!
ok "comes back" runs away

# --- two at once, and images that nobody uses, after the agent is started anew
k delete pod preloaded hung --now --ignore-not-found >/dev/null
restart_agent() {
    local pid; pid=$(cut -d' ' -f1 "$D/hosts/worker-1/run/kubelet.pid")
    kill -9 "$pid"
    for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    "$TRIREME" host start worker-1 --dir "$D"
}
image_is_here() { ctr_images images ls -q >"$WORK/list" && grep -q "$1" "$WORK/list"; }
image_is_gone() { ctr_images images ls -q >"$WORK/list" && ! grep -q "$1" "$WORK/list"; }
ok "an image that nobody uses is here" image_is_here other/preloaded
configure 'serializeImagePulls: false
maxParallelImagePulls: 2
imageGCHighThresholdPercent: 1
imageGCLowThresholdPercent: 0'
ok "an agent with other settings" restart_agent
eventually 60 "above the high threshold it is removed" image_is_gone other/preloaded
ok "those in use stay" image_is_here shop/web
pod stranger shop/web:1
eventually 30 "what was pulled how is known to the new agent" waits stranger ErrImagePull
ok "delete it" k delete pod stranger --now
pulls() { grep -c 'msg="PullImage \\"[^ ]*\\""' "$D/hosts/worker-1/log/containerd.log"; }
before=$(pulls)
kill -STOP $REGISTRY_PID
for i in 1 2 3; do pod "at-once-$i" shop/web:1 'imagePullSecrets: [{name: right}]' Always; done
for i in 1 2 3; do eventually 30 "pod $i waits for its image" told Pulling "at-once-$i" 'Pulling image'; done
eventually 30 "two pulls have begun" sh -c "$(declare -f pulls); D='$D'; [ \$(pulls) -ge $((before + 2)) ]"
same "the third waits for its turn" $((before + 2)) pulls
kill -CONT $REGISTRY_PID
for i in 1 2 3; do ok "pod $i runs" runs "at-once-$i"; done
finish
