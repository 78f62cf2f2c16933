#!/bin/bash
# Custom resources over three API servers; see custom.py.
. "$(dirname "$0")/lib.sh"
setup custom
D=$WORK/c
ok "up with three members" up "$D" --control-planes 3 --workers 0 --loopback
KUBECONFIG_FILE=$D/kubeconfig
TOKEN=$("$TRIREME" token --dir "$D")
out=$WORK/out
python3 "$HERE/custom.py" "$TRIREME" "$D" "$TOKEN" "https://127.0.0.1:$PORT" "https://127.0.0.1:$((PORT + 5))" \
    "https://127.0.0.1:$((PORT + 10))" 2>&1 | tee "$out"
line=$(grep -E '^custom.py: [0-9]+ passed, [0-9]+ failed' "$out") || { fail "custom.py ended early"; line="custom.py: 0 passed, 0 failed"; }
line=${line#custom.py: }
passed=$((passed + ${line%% passed*})) f=${line#*, } failed=$((failed + ${f%% failed*}))

# --- kubectl's own ways
cat >"$WORK/crd.yaml" <<'YAML'
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gears.shop.example.com}
spec:
  group: shop.example.com
  scope: Namespaced
  names: {plural: gears, singular: gear, kind: Gear, shortNames: [gr], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    additionalPrinterColumns:
    - {name: Teeth, type: integer, jsonPath: .spec.teeth}
    subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
    schema:
      openAPIV3Schema:
        type: object
        description: Gear is a wheel.
        properties:
          spec:
            type: object
            properties:
              teeth: {type: integer, minimum: 3, description: How many there are.}
              replicas: {type: integer}
          status: {type: object, x-kubernetes-preserve-unknown-fields: true}
YAML
cat >"$WORK/cr.yaml" <<'YAML'
apiVersion: shop.example.com/v1
kind: Gear
metadata: {name: small, namespace: default}
spec: {teeth: 12, replicas: 2}
YAML
ok "a definition is applied" k apply -f "$WORK/crd.yaml"
ok "and waited for" k wait --for=condition=Established crd/gears.shop.example.com --timeout=10s
ok "an object of it at once" k apply -f "$WORK/cr.yaml"
has "its columns" "small   12" k get gear small
has "by short name and category" "gear.shop.example.com/small" k get all -o name
has "explain" "How many there are." k explain gear.spec.teeth
has "scale" "NAME    DESIRED   AVAILABLE" k get gear small --subresource=scale
ok "kubectl scale" k scale gear small --replicas=5
same "is written" 5 k get gear small -o 'jsonpath={.spec.replicas}'
ok "server-side apply" k apply --server-side --force-conflicts -f "$WORK/cr.yaml"
ok "deletion" k delete -f "$WORK/crd.yaml" --timeout=20s
no "the kind is gone" k get gear small
finish
