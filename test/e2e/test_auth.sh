#!/bin/bash
# Who asks and what they may do, as told by programs elsewhere: webhooks that
# authenticate and authorize, issuers of tokens, files that are read anew; and
# what the server says to flags and files that are wrong.
. "$(dirname "$0")/lib.sh"
setup auth
D=$WORK
HOOK_PID=''
trap 'stop_server; [ -z "$HOOK_PID" ] || kill "$HOOK_PID"; teardown' EXIT

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$D/hook.key" -out "$D/hook.crt" -days 2 \
    -subj /CN=hook -addext subjectAltName=IP:127.0.0.1 2>/dev/null
openssl genrsa -out "$D/rsa.pem" 2048 2>/dev/null
openssl ecparam -name prime256v1 -genkey -noout -out "$D/ec.pem" 2>/dev/null
openssl ecparam -name prime256v1 -genkey -noout -out "$D/sa.key" 2>/dev/null
"$HERE/make_token.py" keys one="$D/rsa.pem" >"$D/keys.json"
"$HERE/auth_server.py" "$D/hook.crt" "$D/hook.key" "$D" >"$D/hook.port" &
HOOK_PID=$!
for _ in $(seq 100); do [ -s "$D/hook.port" ] && break; sleep 0.1; done
HOOK=https://127.0.0.1:$(cat "$D/hook.port")
ISSUER=$HOOK/issuer
cat >"$D/tokens.csv" <<'CSV'
admin-token,admin,1,system:masters
ann-token,ann,2,
bob-token,bob,3,
eve-token,eve,4,system:readers
CSV
kubeconfig() { # PATH
    cat <<YAML
apiVersion: v1
kind: Config
clusters: [{name: hook, cluster: {server: '$HOOK$1', certificate-authority: $D/hook.crt}}]
users: [{name: me, user: {token: hook-secret}}]
contexts: [{name: hook, context: {cluster: hook, user: me}}]
current-context: hook
YAML
}
for path in authz authn audit broken slow; do kubeconfig "/$path" >"$D/$path.kubeconfig"; done
SERVER_FLAGS=(--unsafe-no-fsync --service-account-signing-key-file="$D/sa.key")
start_asked() { stop_server; : >"$D/asked.log"; start_server "$@"; }
with() { local token=$1; shift; kubectl --kubeconfig=/dev/null --server="$SERVER" --insecure-skip-tls-verify --token="$token" "$@" 2>&1; }
as() { local user=$1; shift; with "$user-token" "$@"; }
# asked PATH EXPRESSION: of the questions w asked there
asked() {
    python3 - "$D/asked.log" "$1" "$2" <<'PY'
import json, sys
w = [e["what"] for e in map(json.loads, open(sys.argv[1])) if e["path"] == sys.argv[2]]
print(eval(sys.argv[3]))
PY
}

# --- a webhook that authorizes, by flags
start_asked --authorization-mode=RBAC,Webhook --authorization-webhook-config-file="$D/authz.kubeconfig" --authorization-webhook-version=v1 \
    --authentication-token-webhook-config-file="$D/authn.kubeconfig" --authentication-token-webhook-version=v1
same "the webhook allows" "No resources found in default namespace." as ann get pods
has "no opinion is a refusal with its reason" 'User "bob" cannot list resource "pods" in API group "" in the namespace "default": asked about bob' as bob get pods
has "denied" "asked about eve" as eve get pods
has "what RBAC allows is not asked" yes as bob auth can-i create selfsubjectaccessreviews.authorization.k8s.io
same "nothing was asked about that" 0 asked /authz "len([x for x in w if x['spec'].get('resourceAttributes', {}).get('resource') == 'selfsubjectaccessreviews'])"
same "who we are to it" "Bearer hook-secret" asked /authz "w[0]['_authorization']"
same "the version that was asked for" "authorization.k8s.io/v1" asked /authz "w[0]['apiVersion']"
as ann get pods -l 'app in (a,b),!old' --field-selector spec.nodeName=n1 >/dev/null
same "selectors are told" "[['spec.nodeName', 'In', ['n1']]] [['app', 'In', ['a', 'b']], ['old', 'DoesNotExist', None]]" asked /authz \
    "' '.join(str([[r['key'], r['operator'], r.get('values')] for r in w[-1]['spec']['resourceAttributes'][s]['requirements']]) for s in ('fieldSelector', 'labelSelector'))"
as ann get pods >/dev/null
same "a permission is kept" 1 asked /authz \
    "len([x for x in w if x['spec']['user'] == 'ann' and x['spec'].get('resourceAttributes', {}).get('resource') == 'pods' and 'labelSelector' not in x['spec']['resourceAttributes']])"
has "reviews ask it too" yes with admin-token auth can-i delete nodes --as=ann
has "reviews tell denial" "no - asked about eve" as admin auth can-i delete nodes --as=eve
has "rules are not all there are" "webhook authorizer does not support user rule resolution" as bob auth can-i --list
same "impersonation asks it" "configmap/by-other" as ann --as=zoe --as-group=system:masters create configmap by-other -o name
has "impersonation without permission" 'User "bob" cannot impersonate' as bob --as=zoe get pods
as admin create role keeper --verb='*' --resource=secrets >/dev/null
same "escalation asks it" "role.rbac.authorization.k8s.io/made" as ann create role made --verb=get --resource=secrets -o name

# --- a webhook that authenticates
has "its user" "hooked" with hook-mia auth whoami
has "its extra" "Extra: scope" with hook-mia auth whoami
has "its uid" "7" with hook-mia auth whoami
same "an answer is kept" 1 asked /authn "len([x for x in w if x['spec']['token'] == 'hook-mia'])"
has "an unknown token" "Unauthorized" with nonsense get pods
review() { printf '{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"%s"%s}}' "$1" "${2:-}" | as admin create -f - -o 'jsonpath={.status}'; }
has "TokenReview asks it" '"username":"mia"' review hook-mia
has "and for other audiences it is not good" '"error"' review hook-mia ',"audiences":["other"]'

# --- a webhook that fails
start_asked --authorization-mode=RBAC,Webhook --authorization-webhook-config-file="$D/broken.kubeconfig" --authorization-webhook-version=v1
has "a broken webhook is a failure, not a refusal" "Internal Server Error: " as bob get pods
has "RBAC goes on beside it" yes as bob auth can-i create selfsubjectaccessreviews.authorization.k8s.io
start_asked --authorization-mode=RBAC,Webhook --authorization-webhook-config-file="$D/authz.kubeconfig"
same "v1beta1 unless said otherwise" "No resources found in default namespace." as ann get pods
same "its groups are called group" "authorization.k8s.io/v1beta1 True" asked /authz "w[0]['apiVersion'] + ' ' + str('group' in w[0]['spec'])"

# --- who decides, from a file
authz_config() { # FAILURE-POLICY PATH CONDITION
    cat >"$D/authz.yaml" <<YAML
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- {type: RBAC, name: rbac}
- type: Webhook
  name: elsewhere
  webhook:
    authorizedTTL: 5m
    unauthorizedTTL: 1s
    timeout: 3s
    subjectAccessReviewVersion: v1
    matchConditionSubjectAccessReviewVersion: v1
    failurePolicy: $1
    connectionInfo: {type: KubeConfigFile, kubeConfigFile: $D/$2.kubeconfig}
    matchConditions:
    - expression: $3
- {type: AlwaysAllow, name: last}
YAML
}
authz_config NoOpinion authz "request.user != 'bob' && has(request.resourceAttributes) && request.resourceAttributes.namespace != 'open'"
start_asked --authorization-config="$D/authz.yaml"
has "the file's webhook denies" "asked about eve" as eve get pods
same "a condition leaves it out" "No resources found in default namespace." as bob get pods
same "and it was not asked" 0 asked /authz "len([x for x in w if x['spec']['user'] == 'bob'])"
same "a condition on the namespace" "No resources found in open namespace." as eve -n open get pods
has "decisions are counted" 'apiserver_authorization_decisions_total{type="Webhook",name="elsewhere",decision="denied"}' as admin get --raw /metrics
authz_config Deny broken "request.user == 'bob'"
eventually 15 "the file is read anew" grep -q -- "--authorization-config: .* is read anew" "$D/log"
has "failurePolicy Deny: what failed is told" "Internal Server Error" as bob get pods
same "others go on" "No resources found in default namespace." as eve get pods
echo nonsense >"$D/authz.yaml"
eventually 15 "a wrong file is told" grep -q "what was read before stays" "$D/log"
has "and changes nothing" "Internal Server Error" as bob get pods

# --- tokens of other issuers
cat >"$D/authn.yaml" <<YAML
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: $ISSUER
    audiences: [app, other]
    audienceMatchPolicy: MatchAny
    certificateAuthority: |
$(sed 's/^/      /' "$D/hook.crt")
  claimMappings:
    username: {expression: '"people:" + claims.sub'}
    groups: {claim: roles, prefix: 'r:'}
    uid: {claim: uid}
    extra: [{key: example.com/tenant, valueExpression: claims.tenant}]
  claimValidationRules:
  - {claim: hd, requiredValue: example.com}
  - {expression: 'claims.exp - claims.iat <= 86400', message: lives too long}
  userValidationRules:
  - {expression: "!user.username.startsWith('people:system:')", message: reserved name}
anonymous:
  enabled: true
  conditions: [{path: /livez}, {path: /healthz}]
YAML
NOW=$(date +%s)
claims() { # SUB [MORE]
    printf '{"iss":"%s","aud":"app","sub":"%s","uid":"u1","roles":["dev","ops"],"hd":"example.com","tenant":"t1","jti":"j1","iat":%d,"exp":%d%s}' \
        "$ISSUER" "$1" "$NOW" $((NOW + 3600)) "${2:-}"
}
token() { "$HERE/make_token.py" token "$D/$1.pem" "$2" "$3" "$4"; } # KEY KID ALG CLAIMS
whoami() { with "$1" auth whoami -o 'jsonpath={.status.userInfo.username} {.status.userInfo.uid} {.status.userInfo.groups} {.status.userInfo.extra}'; }
start_asked --authentication-config="$D/authn.yaml"
same "a user from claims" 'people:kim u1 ["r:dev","r:ops","system:authenticated"] {"authentication.kubernetes.io/credential-id":["JTI=j1"],"example.com/tenant":["t1"]}' \
    whoami "$(token rsa one RS256 "$(claims kim)")"
same "keys are looked up once" 1 asked /issuer/keys "len(w)"
has "an expired token" Unauthorized whoami "$(token rsa one RS256 "$(claims kim ",\"exp\":$((NOW - 5))")")"
has "another audience" Unauthorized whoami "$(token rsa one RS256 "$(claims kim ',"aud":["x"]')")"
has "a missing claim" Unauthorized whoami "$(token rsa one RS256 "$(claims kim ',"hd":"evil.example"')")"
has "a rule on claims" Unauthorized whoami "$(token rsa one RS256 "$(claims kim ",\"exp\":$((NOW + 100000))")")"
has "a rule on users" Unauthorized whoami "$(token rsa one RS256 "$(claims system:admin)")"
has "a key of somebody else" Unauthorized whoami "$(token ec one ES256 "$(claims kim)")"
same "nobody may look at what is listed" ok curl -sk "$SERVER/livez"
same "and at nothing else" 401 curl -sk -o /dev/null -w '%{http_code}' "$SERVER/version"
"$HERE/make_token.py" keys one="$D/rsa.pem" two="$D/ec.pem" >"$D/keys.json"
sleep 1.1 # Keys are looked up again after a second at the earliest.
has "a new key is found" "people:lee" whoami "$(token ec two ES256 "$(claims lee)")"
sed -i "s/'r:'/'group:'/; /conditions:/d" "$D/authn.yaml"
eventually 15 "the file is read anew" grep -q -- "--authentication-config: .* is read anew" "$D/log"
has "with its prefix" '"group:dev"' whoami "$(token rsa one RS256 "$(claims kim)")"
same "and nobody may ask more" 200 curl -sk -o /dev/null -w '%{http_code}' "$SERVER/version"
start_asked --oidc-issuer-url="$ISSUER" --oidc-client-id=app --oidc-ca-file="$D/hook.crt" --oidc-groups-claim=roles --oidc-groups-prefix=oidc: \
    --oidc-required-claim=hd=example.com
has "by flags" "$ISSUER#kim  [\"oidc:dev\",\"oidc:ops\",\"system:authenticated\"]" whoami "$(token rsa one RS256 "$(claims kim)")"
has "only with the algorithms that are listed" Unauthorized whoami "$(token ec two ES256 "$(claims kim)")"
start_asked --oidc-issuer-url="$ISSUER" --oidc-client-id=app --oidc-ca-file="$D/hook.crt" --oidc-username-prefix=- --oidc-signing-algs=ES256
same "without a prefix" "kim" with "$(token ec two ES256 "$(claims kim)")" auth whoami -o 'jsonpath={.status.userInfo.username}'

# --- tokens of service accounts: several keys and issuers, bounds, secrets that hold one
openssl ecparam -name prime256v1 -genkey -noout -out "$D/old.key" 2>/dev/null
openssl ec -in "$D/old.key" -pubout -out "$D/old.pub" 2>/dev/null
openssl ec -in "$D/sa.key" -pubout -out "$D/sa.pub" 2>/dev/null
start_asked --service-account-key-file="$D/sa.pub" --service-account-key-file="$D/old.pub" \
    --service-account-issuer=https://new.example --service-account-issuer=https://old.example \
    --service-account-max-token-expiration=1h
as admin create serviceaccount robot >/dev/null
uid=$(as admin get serviceaccount robot -o 'jsonpath={.metadata.uid}')
account() { # KEY ISSUER AUDIENCE
    "$HERE/make_token.py" token "$D/$1" '' ES256 "$(printf '{"iss":"%s","aud":["%s"],"sub":"system:serviceaccount:default:robot","iat":%d,"nbf":%d,"exp":%d,"kubernetes.io":{"namespace":"default","serviceaccount":{"name":"robot","uid":"%s"}}}' \
        "$2" "$3" "$NOW" "$NOW" $((NOW + 3600)) "$uid")"
}
name() { with "$1" auth whoami -o 'jsonpath={.status.userInfo.username}'; }
same "a token of the server" system:serviceaccount:default:robot name "$(as admin create token robot)"
same "of a key from before, and of an issuer from before" system:serviceaccount:default:robot name "$(account old.key https://old.example https://old.example)"
has "of an issuer that is none of ours" Unauthorized name "$(account old.key https://else.example https://new.example)"
has "for an audience that is none of ours" Unauthorized name "$(account sa.key https://new.example https://else.example)"
has "longer lives are cut" "requested expiration of 7200 seconds shortened to 3600 seconds" as admin create token robot --duration=2h
get() { curl -sk -H 'Authorization: Bearer admin-token' "$@"; }
has "the issuer's document" '"issuer":"https://new.example"' get "$SERVER/.well-known/openid-configuration"
same "both keys are there" 2 sh -c "curl -sk -H 'Authorization: Bearer admin-token' $SERVER/openid/v1/jwks | grep -o '\"kid\"' | wc -l"
tag=$(get -D - -o /dev/null "$SERVER/openid/v1/jwks" | tr -d '\r' | sed -n 's/^etag: //Ip')
same "keys that are known are not sent again" 304 get -o /dev/null -w '%{http_code}' -H "If-None-Match: $tag" "$SERVER/openid/v1/jwks"
has "and may be kept" "public, max-age=3600" get -D - -o /dev/null "$SERVER/openid/v1/jwks"
cat >"$D/manager.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: '$SERVER', insecure-skip-tls-verify: true}}]
users: [{name: u, user: {token: admin-token}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
YAML
"$BIN/trireme-controller-manager" --kubeconfig="$D/manager.kubeconfig" --leader-elect=false --bind-address=127.0.0.1 --secure-port=0 \
    --service-account-private-key-file="$D/sa.key" --root-ca-file="$D/hook.crt" >"$D/manager.log" 2>&1 &
MANAGER_PID=$!
as admin apply -f - >/dev/null <<'YAML'
apiVersion: v1
kind: Secret
metadata: {name: robot-token, annotations: {kubernetes.io/service-account.name: robot}}
type: kubernetes.io/service-account-token
YAML
secret_token() { as admin get secret robot-token -o 'jsonpath={.data.token}' | base64 -d; }
has_token() { [ -n "$(secret_token)" ]; }
eventually 15 "a secret is filled with a token" has_token
same "that is good" system:serviceaccount:default:robot name "$(secret_token)"
used_today() { [ "$(as admin get secret robot-token -o 'jsonpath={.metadata.labels.kubernetes\.io/legacy-token-last-used}')" = "$(date -u +%F)" ]; }
eventually 5 "the day of its use is noted" used_today
same "with the CA, the namespace and the account's uid" "default $uid True" sh -c \
    "kubectl --kubeconfig=/dev/null --server=$SERVER --insecure-skip-tls-verify --token=admin-token get secret robot-token -o json | python3 -c 'import base64, json, sys; s = json.load(sys.stdin); d = s[\"data\"]; print(base64.b64decode(d[\"namespace\"]).decode(), s[\"metadata\"][\"annotations\"][\"kubernetes.io/service-account.uid\"], \"BEGIN\" in base64.b64decode(d[\"ca.crt\"]).decode())'"
old=$(secret_token)
as admin delete serviceaccount robot >/dev/null
gone() { ! as admin get secret robot-token >/dev/null; }
eventually 15 "it goes with its account" gone
has "and its token with it" Unauthorized name "$old"
kill "$MANAGER_PID"; wait "$MANAGER_PID" 2>/dev/null

# --- wrong flags and files
refuses "an unknown mode" '--authorization-mode: "Magic" is not one of Node, RBAC, Webhook, AlwaysAllow, AlwaysDeny' --authorization-mode=Magic
refuses "a webhook without a file" "--authorization-mode=Webhook needs --authorization-webhook-config-file" --authorization-mode=Webhook
refuses "a file without the mode" "needs --authorization-mode to list Webhook" --authorization-webhook-config-file="$D/authz.kubeconfig"
refuses "a file that is not there" "--authorization-webhook-config-file: open $D/none" --authorization-mode=Webhook --authorization-webhook-config-file="$D/none"
refuses "a version that is none" '--authorization-webhook-version: "v2" is not one of v1, v1beta1' \
    --authorization-mode=Webhook --authorization-webhook-config-file="$D/authz.kubeconfig" --authorization-webhook-version=v2
sed "s#certificate-authority: .*#certificate-authority: $D/none.crt}}]#" "$D/authz.kubeconfig" >"$D/bad.kubeconfig"
refuses "a CA that is not there" "$D/none.crt" --authorization-mode=Webhook --authorization-webhook-config-file="$D/bad.kubeconfig"
refuses "file and flags" "--authorization-config can not be specified when" --authorization-config="$D/authz.yaml" --authorization-mode=RBAC
refuses "no document" "--authorization-config: $D/authz.yaml: " --authorization-config="$D/authz.yaml"
cat >"$D/authz.yaml" <<YAML
apiVersion: apiserver.config.k8s.io/v1
kind: AuthorizationConfiguration
authorizers:
- {type: RBAC, name: a}
- {type: RBAC, name: a, extra: 1}
- {type: Webhook, name: b, webhook: {timeout: 31s, failurePolicy: Never, connectionInfo: {type: KubeConfigFile}, matchConditions: [{expression: request.usr == 'x'}]}}
YAML
has_all() { # what the log of a refused start must say
    local text; text=$(cat "$D/log")
    for want in "$@"; do case $text in *"$want"*) pass "says: $want" ;; *) fail "says: $want" "$text" ;; esac; done
}
refuses "a wrong file" "--authorization-config: $D/authz.yaml: [" --authorization-config="$D/authz.yaml"
has_all 'authorizers[1].extra: Forbidden: unknown field' 'authorizers[1].name: Duplicate value: "a"' 'authorizers[1].type: Duplicate value: "RBAC"' \
    'authorizers[2].webhook.timeout: Invalid value: "31s": must be > 0s and <= 30s' \
    'authorizers[2].webhook.subjectAccessReviewVersion: Required value' \
    'authorizers[2].webhook.failurePolicy: Unsupported value: "Never": supported values: "Deny", "NoOpinion"' \
    'authorizers[2].webhook.connectionInfo.kubeConfigFile: Required value' "undefined field 'usr'"
refuses "no authentication file" "--authentication-config: " --authentication-config="$D/none"
cat >"$D/authn.yaml" <<YAML
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: 'http://issuer.example', certificateAuthority: nonsense}
  claimMappings: {username: {claim: sub}, extra: [{key: Kubernetes.io/x, valueExpression: 'claims.('}]}
  claimValidationRules: [{claim: a, expression: b}]
  userValidationRules: [{expression: user.username}]
- issuer: {url: 'https://kubernetes.default.svc.cluster.local', audiences: [a, b]}
  claimMappings: {username: {expression: claims.email}}
anonymous: {enabled: false, conditions: [{path: /x}]}
YAML
refuses "a wrong authentication file" "--authentication-config: $D/authn.yaml: [" --authentication-config="$D/authn.yaml"
has_all 'jwt[0].issuer.url: Invalid value: "http://issuer.example": URL scheme must be https' 'jwt[0].issuer.certificateAuthority: Invalid value' \
    'jwt[0].issuer.audiences: Required value' 'jwt[0].claimMappings.username.prefix: Required value' \
    "jwt[0].claimValidationRules[0]: Invalid value: \"\": claim and expression can't both be set" 'must evaluate to bool'
refuses "an issuer without https" "URL scheme must be https" --oidc-issuer-url=http://x --oidc-client-id=a
refuses "an issuer without a client" "--oidc-issuer-url and --oidc-client-id must be specified together" --oidc-issuer-url="$ISSUER"
refuses "a client without an issuer" "--oidc-issuer-url and --oidc-client-id must be specified together" --oidc-client-id=a
refuses "an algorithm that is none" '--oidc-signing-algs: "HS256" is not one of' --oidc-issuer-url="$ISSUER" --oidc-client-id=a --oidc-signing-algs=HS256
refuses "a claim without a value" "must be formatted as key=value" --oidc-issuer-url="$ISSUER" --oidc-client-id=a --oidc-required-claim=hd
refuses "a CA file that is not there" "--oidc-ca-file" --oidc-issuer-url="$ISSUER" --oidc-client-id=a --oidc-ca-file="$D/none"
refuses "a token webhook's version" '--authentication-token-webhook-version: "v3" is not one of v1, v1beta1' \
    --authentication-token-webhook-config-file="$D/authn.kubeconfig" --authentication-token-webhook-version=v3
refuses "a time that is none" "--authentication-token-webhook-cache-ttl" --authentication-token-webhook-cache-ttl=soon
refuses "too short a bound" "--service-account-max-token-expiration: must be between 1 hour and 2^32 seconds" --service-account-max-token-expiration=10m
refuses "keys elsewhere without https" "--service-account-jwks-uri" --service-account-jwks-uri=http://x/keys
refuses "a key file that holds none" "--service-account-key-file: $D/tokens.csv" --service-account-key-file="$D/tokens.csv"
finish
