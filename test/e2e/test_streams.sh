#!/bin/bash
# exec, attach, port-forward, cp and proxies through the API server into real
# containers, with the kubectl of today (WebSocket) and Debian's old one (SPDY).
# KUBECTL_OLD: where that one is; else it is fetched as a package, not installed.
. "$(dirname "$0")/lib.sh"
need_root "the streams test"
setup streams
D=$WORK/c
old_kubectl() {
    (cd "$WORK" && mkdir -p old && apt-get download -q kubernetes-client >/dev/null 2>&1 && dpkg -x kubernetes-client_*.deb old) || return 1
    KUBECTL_OLD=$WORK/old/usr/bin/kubectl
    [ -x "$KUBECTL_OLD" ]
}
KUBECTLS=(kubectl)
if [ -n "${KUBECTL_OLD:-}" ] || old_kubectl; then KUBECTLS+=("$KUBECTL_OLD"); else echo "  left out: no kubernetes-client package to be had: SPDY is not tried"; fi

ok "up" up "$D" --control-planes 1 --workers 1
KUBECONFIG_FILE=$D/kubeconfig
export KUBECONFIG=$KUBECONFIG_FILE
TOKEN=$("$TRIREME" token --dir "$D")
SUBNET=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["subnet"])' "$D/cluster.json")
SERVER=https://$SUBNET.11:6443
NODE_NS=/run/netns/trireme-$PORT-worker-1
cat >"$WORK/box.yaml" <<'YAML'
apiVersion: v1
kind: Pod
metadata: {name: box, labels: {app: box}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    stdin: true
    ports: [{containerPort: 8080}]
    command:
    - sh
    - -c
    - |
      mkdir -p /www/sub /www/cgi-bin
      echo '<html><a href="/sub/">to sub</a></html>' >/www/index.html
      echo sub >/www/sub/index.html
      printf '#!/bin/sh\necho Content-Type: text/plain; echo; echo $REQUEST_METHOD $HTTP_X_FORWARDED_URI; sha256sum' >/www/cgi-bin/sum
      chmod +x /www/cgi-bin/sum
      httpd -f -p 8080 -h /www &
      while read line; do echo "heard $line"; done
      while :; do sleep 1; done
  - name: quiet
    image: docker.io/library/busybox:latest
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'while :; do sleep 1; done']
---
apiVersion: v1
kind: Service
metadata: {name: box}
spec:
  selector: {app: box}
  ports: [{name: web, port: 80, targetPort: 8080}, {name: closed, port: 81, targetPort: 9}]
---
apiVersion: v1
kind: Service
metadata: {name: plain}
spec: {selector: {app: box}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: none}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
YAML
eventually 20 "default service account" k get serviceaccount default
ok "apply" k apply -f "$WORK/box.yaml"
ok "the pod is ready" k wait --for=condition=Ready pod/box --timeout=60s
head -c 20000000 /dev/urandom >"$WORK/big"
SUM=$(sha256sum <"$WORK/big" | cut -d' ' -f1)

# rc NAME CODE COMMAND...: ends with this code, within 30 seconds.
rc() { local name=$1 want=$2 out got; shift 2; out=$(timeout 30 "$@" 2>&1); got=$?; if [ "$got" = "$want" ]; then pass "$name"; else fail "$name" "code $got: $out"; fi; }
piped() { local in=$1; shift; printf '%s' "$in" | timeout 30 "$@"; }
terminal() { timeout 45 "$HERE/on_terminal.py" "$@"; }
local_port=$((PORT + 30))
forwards() { # KUBECTL PORT ...: kubectl port-forward until the test below it is done
    "$1" port-forward "${@:3}" >"$WORK/forward.log" 2>&1 &
    FORWARD=$!
    eventually 10 "$V: port-forward listens" grep -q "Forwarding from 127.0.0.1:$2" "$WORK/forward.log"
}
fetch() { curl -sf --max-time 10 "http://127.0.0.1:$1"; }
many() { local i pids=(); for i in $(seq 20); do fetch "$1/sub/" >"$WORK/many.$i" & pids+=($!); done; wait "${pids[@]}"; [ "$(cat "$WORK"/many.* | sort | uniq -c | tr -s ' ')" = " 20 sub" ]; }

for K in "${KUBECTLS[@]}"; do
    V=$("$K" version --client 2>/dev/null | grep -oE 'v1\.[0-9]+' | head -n 1)
    X=("$K" exec box -c c)
    same "$V: exec: stdout" out sh -c "'$K' exec box -c c -- sh -c 'echo out; echo err >&2' 2>/dev/null"
    same "$V: exec: stderr" err sh -c "'$K' exec box -c c -- sh -c 'echo out; echo err >&2' 2>&1 >/dev/null"
    rc "$V: exec: success" 0 "${X[@]}" -- true
    rc "$V: exec: the command's exit code" 7 "${X[@]}" -- sh -c 'exit 7'
    same "$V: exec -i: the end of stdin reaches the command" "in 5" piped 12345 "$K" exec -i box -c c -- sh -c 'echo in $(wc -c)'
    rc "$V: exec: no such command" 1 "${X[@]}" -- no-such-command
    has "$V: exec: and why" "executable file not found" timeout 30 "${X[@]}" -- no-such-command
    has "$V: exec: no such pod" '(NotFound): pods "nope" not found' timeout 30 "$K" exec nope -- true
    has "$V: exec: no such container" "container zz is not valid for pod box" timeout 30 "$K" exec box -c zz -- true
    has "$V: exec -it: a terminal of this size" "43 121" terminal 43 121 '# ' 'stty size; exit 5\n' "$K" exec -it box -c c -- sh
    rc "$V: exec -it: the shell's exit code" 5 "$HERE/on_terminal.py" 43 121 '# ' 'exit 5\n' "$K" exec -it box -c c -- sh
    same "$V: exec: 20 MB through stdin and stdout" "$SUM" sh -c "timeout 60 '$K' exec -i box -c c -- cat <'$WORK/big' | sha256sum | cut -d' ' -f1"
    ok "$V: cp to the pod" timeout 60 "$K" cp "$WORK/big" box:/tmp/big -c c
    has "$V: what arrived" "$SUM" "${X[@]}" -- sha256sum /tmp/big
    ok "$V: cp from the pod" timeout 60 "$K" cp box:/tmp/big "$WORK/back" -c c
    has "$V: what came back" "$SUM" sha256sum "$WORK/back"
    rm -f "$WORK/back"
    has "$V: attach" "heard hello from $V" sh -c "(echo hello from $V; sleep 2) | timeout 10 '$K' attach -i box -c c"
    local_port=$((local_port + 1))
    forwards "$K" $local_port pod/box $local_port:8080
    same "$V: port-forward" sub fetch "$local_port/sub/"
    ok "$V: port-forward: many connections at once" many $local_port
    kill "$FORWARD"; wait "$FORWARD" 2>/dev/null
    local_port=$((local_port + 1))
    forwards "$K" $local_port service/box $local_port:80
    same "$V: port-forward to a Service" sub fetch "$local_port/sub/"
    kill "$FORWARD"; wait "$FORWARD" 2>/dev/null
    has "$V: run -i --rm" "from stdin" piped 'echo from stdin' "$K" run "once-$$" --image=docker.io/library/busybox:latest --image-pull-policy=IfNotPresent -i --rm --restart=Never -- sh
    rc "$V: run -it --rm: the exit code" 4 "$HERE/on_terminal.py" 40 100 '# ' 'exit 4\n' "$K" run "term-$$" --image=docker.io/library/busybox:latest --image-pull-policy=IfNotPresent -it --rm --restart=Never -- sh
done
has "debug: an ephemeral container" "debugging" terminal 40 100 '# ' 'echo debug''ging; exit\n' kubectl debug -it box --image=docker.io/library/busybox:latest --image-pull-policy=IfNotPresent -- sh
has "cluster-info" "control plane" k cluster-info
for protocol in v5.channel.k8s.io v4.channel.k8s.io v4.base64.channel.k8s.io channel.k8s.io base64.channel.k8s.io; do
    out=$(timeout 20 "$HERE/exec_ws.py" "$SUBNET.11:6443" "$TOKEN" $protocol box c sh -c 'echo out; echo err >&2; exit 3' 2>&1 | tr '\n' ' ')
    case $out in "1 out 2 err 3 "*"exit code 3"*"closed 1000 ") pass "WebSocket $protocol" ;; *) fail "WebSocket $protocol" "$out" ;; esac
done
for protocol in v5.channel.k8s.io v4.channel.k8s.io; do
    has "WebSocket $protocol, the token among the protocols" "1 out" env TOKEN_AS_PROTOCOL=1 "$HERE/exec_ws.py" "$SUBNET.11:6443" "$TOKEN" $protocol box c echo out
done
has "WebSocket: a wrong token among the protocols" "401" env TOKEN_AS_PROTOCOL=1 "$HERE/exec_ws.py" "$SUBNET.11:6443" wrong v4.channel.k8s.io box c echo out
ok "a pod that says something and ends" k run said --image=docker.io/library/busybox:latest --image-pull-policy=IfNotPresent --restart=Never -- echo said this
ok "it has ended" k wait --for=jsonpath='{.status.phase}'=Succeeded pod/said --timeout=30s
log_ws() { timeout 20 "$HERE/log_ws.py" "$SUBNET.11:6443" "$TOKEN" "$1" said said 2>&1 | tr '\n' ' '; }
same "log over a WebSocket" "subprotocol None binary  binary said this close 1000 " log_ws ""
same "log over a WebSocket, binary" "subprotocol binary.k8s.io binary  binary said this close 1000 " log_ws binary.k8s.io
same "log over a WebSocket, base64" "subprotocol base64.binary.k8s.io text  text c2FpZCB0aGlzCg== close 1000 " log_ws base64.binary.k8s.io
same "log over a WebSocket, of an unknown form" "400 " log_ws v9.example.com
ok "a pod without its image" k run imageless --image=example.invalid/none:1 --restart=Never
ok "its node says why" k wait --for=jsonpath='{.status.containerStatuses[0].state.waiting.reason}'=ErrImagePull pod/imageless --timeout=30s
has "log of what waits" 'Error from server (BadRequest): container "imageless" in pod "imageless" is waiting to start: ' k logs imageless
has "log of what never ran before" 'previous terminated container "imageless" in pod "imageless" not found' k logs -p imageless
ok "remove both" k delete pod said imageless --now
sessions() { # N commands at once
    local i pids=() bad=0
    for i in $(seq "$1"); do piped "$i" kubectl exec -i box -c c -- sh -c 'sleep 2; cat' >"$WORK/session.$i" 2>&1 & pids+=($!); done
    wait "${pids[@]}"
    for i in $(seq "$1"); do [ "$(cat "$WORK/session.$i")" = "$i" ] || { bad=$((bad + 1)); echo "$i: $(cat "$WORK/session.$i")"; }; done
    [ "$bad" = 0 ]
}
ok "30 commands at once" sessions 30

# --- proxies
B=/api/v1/namespaces/default
answer() { code "$@" >/dev/null; cat "$WORK/body"; }
same "pods/proxy: links are rewritten" "<html><a href=\"$B/pods/box/proxy/sub/\">to sub</a></html>" answer GET $B/pods/box/proxy/
same "pods/proxy with a port" sub answer GET $B/pods/http:box:8080/proxy/sub/
same "pods/proxy: HTTP/1.1" sub answer GET $B/pods/box/proxy/sub/ --http1.1
same "pods/proxy: redirect to the slash" "301 $SERVER$B/pods/box/proxy/?a=b" curl -sk -o /dev/null -w '%{http_code} %{redirect_url}' -H "Authorization: Bearer $TOKEN" "$SERVER$B/pods/box/proxy?a=b"
same "pods/proxy: Location is rewritten" "302 $SERVER$B/pods/box/proxy/sub/" curl -sk -o /dev/null -w '%{http_code} %{redirect_url}' -H "Authorization: Bearer $TOKEN" "$SERVER$B/pods/box/proxy/sub"
same "pods/proxy: HEAD" 200 code GET $B/pods/box/proxy/ -I
post_big() { answer POST $B/pods/box/proxy/cgi-bin/sum "$@" --data-binary "@$WORK/big"; }
has "pods/proxy: a body of 20 MB" "$SUM" post_big
has "pods/proxy: a body of 20 MB, HTTP/1.1" "$SUM" post_big --http1.1
has "pods/proxy: X-Forwarded-Uri" "POST $B/pods/box/proxy/cgi-bin/sum" post_big
ok "a file of 20 MB for the server" timeout 60 kubectl cp "$WORK/big" box:/www/big -c c
got_big() { [ "$(curl -sk -H "Authorization: Bearer $TOKEN" "$SERVER$B/pods/box/proxy/big" "$@" | sha256sum | cut -d' ' -f1)" = "$SUM" ]; }
ok "pods/proxy: an answer of 20 MB" got_big
has "pods/proxy: HEAD tells the length" "ontent-length: 20000000" curl -skI --http1.1 -H "Authorization: Bearer $TOKEN" "$SERVER$B/pods/box/proxy/big"
has "pods/proxy: HEAD tells the length, HTTP/2" "content-length: 20000000" curl -skI --http2 -H "Authorization: Bearer $TOKEN" "$SERVER$B/pods/box/proxy/big"
ok "pods/proxy: an answer of 20 MB, HTTP/1.1" got_big --http1.1
status "pods/proxy: nothing listens" 503 ServiceUnavailable GET $B/pods/box:99/proxy/
has "and why" "error trying to reach service: dial tcp" cat "$WORK/body"
status "pods/proxy: no such pod" 404 NotFound GET $B/pods/nope/proxy/
status "pods/proxy: malformed" 400 BadRequest GET $B/pods/a:b:c:d/proxy/
same "services/proxy" sub answer GET $B/services/plain/proxy/sub/
same "services/proxy by port name" sub answer GET $B/services/box:web/proxy/sub/
same "services/proxy by port number" sub answer GET $B/services/http:box:80/proxy/sub/
status "services/proxy: no endpoints" 503 ServiceUnavailable GET $B/services/none/proxy/
has "and why" 'no endpoints available for service \"none\"' cat "$WORK/body"
status "services/proxy: no such port" 503 ServiceUnavailable GET $B/services/box:82/proxy/
status "services/proxy: no such service" 404 NotFound GET $B/services/nope/proxy/
same "nodes/proxy" ok answer GET /api/v1/nodes/worker-1/proxy/healthz
has "nodes/proxy: the node's pods" '"name":"box"' answer GET /api/v1/nodes/worker-1/proxy/pods
status "nodes/proxy: no such node" 404 NotFound GET /api/v1/nodes/nope/proxy/healthz
status "an upgrade is required" 400 BadRequest GET "$B/pods/box/exec?command=true&stdout=true&container=c"
has "and said so" "Upgrade request required" cat "$WORK/body"
kubectl proxy --port=$((local_port + 1)) >"$WORK/proxy.log" 2>&1 &
PROXY=$!
eventually 10 "kubectl proxy" fetch $((local_port + 1))$B/pods/box/proxy/sub/
kill $PROXY; wait $PROXY 2>/dev/null

# A server that answers upgrades stands on the node; the proxy reaches it as the node's port.
nsenter --net="$NODE_NS" python3 "$HERE/echo_ws_server.py" 8088 &
ECHO=$!
eventually 10 "nodes/proxy: WebSocket" "$HERE/echo_ws.py" "$SUBNET.11:6443" /api/v1/nodes/worker-1:8088/proxy/ws "over the proxy" "$TOKEN"
kill $ECHO; wait $ECHO 2>/dev/null

# --- a client that does not read makes us hold little
rss() { awk '/VmRSS/ {print $2}' "/proc/$(pgrep -f "$BIN/trireme-apiserver .*$D" | head -n 1)/status"; }
before=$(rss)
stuck=()
for i in 1 2 3 4 5 6 7 8; do
    kubectl exec box -c c -- cat /dev/zero 2>/dev/null | sleep 100 & stuck+=($!)
done
sleep 3
after=$(rss)
ok "clients that do not read ($before kB, then $after kB)" test $((after - before)) -lt 30000
kill "${stuck[@]}" 2>/dev/null; wait "${stuck[@]}" 2>/dev/null
eventually 10 "no connection is left over" sh -c "! curl -sk -H 'Authorization: Bearer $TOKEN' $SERVER/metrics | grep 'apiserver_longrunning_requests.*subresource=\"exec\"' | grep -v ' 0\$'"

# --- the node agent is lost while commands run
pids=() n=0
for K in "${KUBECTLS[@]}"; do
    n=$((n + 1))
    (timeout 30 "$K" exec box -c c -- sh -c 'echo begun; sleep 1000' >"$WORK/lost.$n" 2>&1; echo "code $?" >>"$WORK/lost.$n") & pids+=($!)
done
for i in $(seq $n); do eventually 10 "command $i runs" grep -q begun "$WORK/lost.$i"; done
kill -9 "$(pgrep -f "$BIN/trireme-kubelet .*$D/hosts/worker-1" | head -n 1)"
wait "${pids[@]}"
has "the kubelet is lost: an error" "code 1" cat "$WORK/lost.1"
has "and why" "was lost before the command had ended" cat "$WORK/lost.1"
[ $n = 1 ] || no "the kubelet is lost: the old kubectl ends too" grep -q "code 124" "$WORK/lost.2"
has "no kubelet: an error" "error dialing backend: dial tcp" timeout 30 kubectl exec box -c c -- true
finish
