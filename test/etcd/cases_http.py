"""What is served over plain HTTP: health, version, metrics and the JSON gateway."""
import json
import re

from transcript import case


@case("http-health")
def health(t):
    t.http("/health")
    t.http("/health", method="POST", data=b"")
    t.http("/health/more", show=False)
    t.http("/nonsense")
    code, body = t.http("/version", show=False)
    t.say("%d %s" % (code, sorted(json.loads(body)) if code == 200 else body))
    t.http("/version", method="POST", data=b"")


# Names that etcd's own dashboards and alert rules ask for, and those that operators look at by hand.
DASHBOARD = """etcd_server_has_leader etcd_server_is_leader etcd_server_leader_changes_seen_total etcd_server_id
etcd_server_version etcd_cluster_version etcd_server_is_learner etcd_server_quota_backend_bytes
etcd_server_proposals_committed_total etcd_server_proposals_applied_total etcd_server_proposals_pending
etcd_server_proposals_failed_total etcd_server_slow_read_indexes_total etcd_server_read_indexes_failed_total
etcd_server_slow_apply_total etcd_server_heartbeat_send_failures_total etcd_server_health_success
etcd_server_health_failures etcd_disk_wal_fsync_duration_seconds_bucket etcd_disk_wal_fsync_duration_seconds_sum
etcd_disk_wal_fsync_duration_seconds_count etcd_disk_backend_commit_duration_seconds_bucket
etcd_mvcc_db_total_size_in_bytes etcd_mvcc_db_total_size_in_use_in_bytes etcd_mvcc_put_total etcd_mvcc_delete_total
etcd_mvcc_range_total etcd_mvcc_txn_total etcd_debugging_mvcc_keys_total etcd_debugging_mvcc_db_total_size_in_bytes
etcd_debugging_mvcc_watcher_total etcd_debugging_mvcc_watch_stream_total etcd_debugging_mvcc_slow_watcher_total
etcd_debugging_lease_granted_total etcd_debugging_lease_revoked_total
etcd_network_client_grpc_received_bytes_total etcd_network_client_grpc_sent_bytes_total
grpc_server_started_total grpc_server_handled_total grpc_server_msg_received_total grpc_server_msg_sent_total
process_resident_memory_bytes process_virtual_memory_bytes process_cpu_seconds_total process_open_fds process_max_fds
process_start_time_seconds""".split()
PEERS = ("etcd_network_peer_sent_bytes_total", "etcd_network_peer_received_bytes_total", "etcd_network_active_peers")


def names(body):
    return {m.group(1) for m in re.finditer(r"^([a-zA-Z_:][\w:]*)[{ ]", body, re.M)}


@case("http-metrics")
def metrics(t):
    t.ctl("put k v")
    t.ctl("get k")
    t.ctl("del k")
    code, body = t.http("/metrics", show=False)
    t.say(code)
    served = names(body)
    for name in DASHBOARD:
        t.say("%s %s" % (name, "served" if name in served else "missing"))
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)", body, re.M))
    for name in DASHBOARD:
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        t.say("%s is a %s" % (base, types.get(base) or types.get(name)))


@case("http-metrics-values")
def metrics_values(t):
    w = t.stream("Watch.Watch")
    w.send(create_request={"key": "k"})
    w.next()
    for i in range(5):
        t.ctl("put k%d v" % i)
    t.ctl("del k1")
    t.ctl("lease grant 100")
    _, body = t.http("/metrics", show=False)
    values = dict(re.findall(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", body, re.M))
    # A put of a key of one byte: the messages of which are the same on both.
    t.say({"put messages": [values.get('grpc_server_msg_%s_total{grpc_method="Put",grpc_service="etcdserverpb.KV",'
                                       'grpc_type="unary"}' % way) for way in ("received", "sent")]})
    t.say(all(float(values.get("etcd_network_client_grpc_%s_bytes_total" % way, 0)) > 100 for way in ("received", "sent")))
    for name in ("etcd_server_has_leader", "etcd_server_is_leader", "etcd_server_proposals_pending",
                 "etcd_server_is_learner", "etcd_debugging_mvcc_keys_total", "etcd_debugging_mvcc_watcher_total",
                 "etcd_debugging_mvcc_watch_stream_total", "etcd_debugging_lease_granted_total",
                 "etcd_server_proposals_failed_total", "etcd_mvcc_put_total", "etcd_mvcc_delete_total",
                 'grpc_server_handled_total{grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",'
                 'grpc_type="unary"}',
                 'grpc_server_started_total{grpc_method="Watch",grpc_service="etcdserverpb.Watch",'
                 'grpc_type="bidi_stream"}'):
        t.say("%s %s" % (name, values.get(name)))
    w.cancel()


@case("http-metrics-peers", size=3)
def metrics_peers(t):
    t.ctl("put k v")
    for i in range(3):
        _, body = t.http("/metrics", show=False, member=i)
        served = names(body)
        for name in PEERS:
            t.say("%s %s" % (name, "served" if name in served else "missing"))


def post(t, path, **values):
    t.http(path, data=json.dumps(values).encode())


@case("http-gateway")
def gateway(t):
    """JSON over HTTP: fields of 64 bits are strings, bytes are base64, defaults are left out."""
    post(t, "/v3/kv/put", key="Zm9v", value="YmFy")
    post(t, "/v3/kv/put", key="Zm9v", value="YmF6", prev_kv=True)
    post(t, "/v3/kv/range", key="Zm9v")
    post(t, "/v3/kv/range", key="Zg==", range_end="Zw==", limit="1", sort_order="DESCEND", sort_target="KEY")
    post(t, "/v3/kv/range", key="bm9uZQ==")
    post(t, "/v3/kv/range")
    post(t, "/v3/kv/txn", compare=[{"target": "CREATE", "key": "Zm9v", "createRevision": "2"}],
         success=[{"requestPut": {"key": "Zm9v", "value": "eA=="}}, {"requestRange": {"key": "Zm9v"}}])
    post(t, "/v3/kv/deleterange", key="Zm9v", prev_kv=True)
    post(t, "/v3/kv/compaction", revision="3")
    post(t, "/v3/kv/compaction", revision="3")
    post(t, "/v3/lease/grant", TTL=100, ID="77")
    post(t, "/v3/lease/timetolive", ID="78", keys=True)
    post(t, "/v3/lease/leases")
    post(t, "/v3/kv/lease/revoke", ID="77")
    post(t, "/v3/lease/revoke", ID="77")
    post(t, "/v3/auth/user/list")
    post(t, "/v3/auth/authenticate", name="x", password="y")
    post(t, "/v3/cluster/member/remove", ID="5")
    post(t, "/v3/kv/nonsense")
    t.say(t.http("/v3/kv/range", data=b"{nonsense", show=False)[0])
    t.http("/v3/kv/range")
    t.http("/v3beta/kv/range", data=b'{"key":"Zm9v"}')
