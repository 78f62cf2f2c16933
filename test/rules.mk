# Test, gate and demo targets. Folders and ports are arguments, so that several runs can go on at once.

FACTS ?= ../shared/facts
DEMO_DIR ?= $(abspath $(O))/demo
DEMO_PORT ?= 16443
SIM_SEEDS ?= 600
FUZZ_RUNS ?= 20000
export TRIREME_FACTS ?= $(abspath $(FACTS))

.PHONY: check-unit check-asan check-tsan check-sim check-fuzz check-replay check-openapi check-kubectl check-etcd check-e2e check-schema

check-unit: unit-build
	@echo "== unit"
	@tools/run-tests $(UNIT_BIN)

# The same unit tests under sanitizers, which make a busy machine slower than the tests' time limits expect.
SANITIZED_TIMEOUTS := CK_TIMEOUT_MULTIPLIER=4
check-asan:
	@echo "== unit, ASan and UBSan"
	@$(SANITIZED_TIMEOUTS) $(MAKE) --no-print-directory VARIANT=asan unit-run
check-tsan:
	@echo "== unit, TSan"
	@$(SANITIZED_TIMEOUTS) $(MAKE) --no-print-directory VARIANT=tsan unit-run
unit-run: unit-build
	@tools/run-tests $(UNIT_BIN)

# Whole programs under sanitizers: simulation, recorded exchanges, transcripts, OpenAPI, etcd's behaviour, end to end. Not a
# part of `make check`, since it takes more than an hour. One sanitizer: make check-sanitized-asan; parts of it:
# make check-sanitized-tsan PARTS="replay auth". See test/sanitized.sh.
PARTS ?=
check-sanitized:
	@tools/check-all $(MAKE) sanitized-asan sanitized-tsan
check-sanitized-%:
	@echo "== programs, $*"
	@$(MAKE) --no-print-directory VARIANT=$* sanitized-run
sanitized-run: all hollow kvload csi-hostpath dra-driver device-plugin kms-plugin fake-logind $(SIM_BIN)
	@CC=$(CC) SIM_SEEDS=$(SIM_SEEDS) test/sanitized.sh $(VARIANT) $(abspath $(BIN)) $(abspath $(B)) $(TRIREME_FACTS) $(PARTS)
.PHONY: check-sanitized sanitized-run

check-sim: $(SIM_BIN)
	@echo "== simulation"
	@SIM_SEEDS=$(SIM_SEEDS) tools/run-tests $(SIM_BIN)

# The simulator against libraft's core with its asserts on, which is built from Debian's source package.
LIBRAFT_ASSERTS := $(B)/libraft-asserts/libraft.a
SIM_ASSERTS := $(addprefix $(B)/test/sim/asserts/,sim_replica sim_scenarios sim_drills)
$(LIBRAFT_ASSERTS): test/sim/build-libraft.sh
	@echo "  BUILD $@"
	@CC=$(CC) test/sim/build-libraft.sh $(@D) $(if $(filter asan,$(VARIANT)),-fsanitize=address)
$(SIM_ASSERTS): $(B)/test/sim/asserts/%: $(B)/test/sim/%.o $(SIM_LIB) $(call libs_of,raftstore) $(LIBRAFT_ASSERTS)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $(SIM_LDFLAGS) $< $(SIM_LIB) $(call libs_of,raftstore) $(LIBRAFT_ASSERTS) -o $@ $(PKG_LIBS) \
	    $(filter-out -lraft,$(STORE_LIBS))
.PHONY: sim-asserts
sim-asserts: $(SIM_ASSERTS)
	@echo "== simulation, libraft's asserts on"
	@SIM_SEEDS=$(SIM_SEEDS) tools/run-tests $(SIM_ASSERTS)

check-fuzz:
	@echo "== fuzz smoke, ASan and UBSan"
	@$(MAKE) --no-print-directory VARIANT=asan fuzz-run
fuzz-run: $(FUZZ_BIN)
	@FUZZ_RUNS=$(FUZZ_RUNS) tools/run-tests $(FUZZ_BIN)

# Hours of fuzzing: make fuzz FUZZ_SECONDS=600; what was found stays in FUZZ_CORPUS for the next time.
FUZZ_SECONDS ?= 60
FUZZ_CORPUS ?= $(abspath $(O))/corpus
.PHONY: fuzz fuzz-build fuzz-search
fuzz:
	@$(MAKE) --no-print-directory VARIANT=fuzz CC=clang fuzz-search
fuzz-build: $(FUZZ_BIN)
fuzz-search: fuzz-build
	@tools/fuzz $(FUZZ_CORPUS) $(FUZZ_SECONDS) $(FUZZ_BIN)

check-schema: all
	@echo "== schema parity"
	@test/replay/schema.sh $(O)

check-replay: all
	@echo "== replay of recorded exchanges"
	@test/replay/run.py --bin $(BIN) --facts $(TRIREME_FACTS)

check-kubectl: all
	@echo "== kubectl transcripts"
	@test/replay/kubectl.py --bin $(abspath $(BIN)) --facts $(TRIREME_FACTS)

check-openapi: all
	@echo "== OpenAPI documents"
	@test/replay/openapi.py --bin $(BIN) --facts $(TRIREME_FACTS)

# Debian's etcd and ours side by side, judged by etcdctl and a gRPC client.
check-etcd: all
	@echo "== etcd's behaviour, compared with etcd"
	@test/etcd/run.py --bin $(abspath $(BIN))

check-e2e: all hollow kvload csi-hostpath dra-driver device-plugin kms-plugin fake-logind
	@echo "== end to end"
	@HOLLOW_NODES=$(abspath $(B))/test/bench/hollow_nodes KVLOAD=$(abspath $(B))/test/e2e/kvload/kvload CSI_HOSTPATH=$(abspath $(B))/test/e2e/csi/csi-hostpath DRA_DRIVER=$(abspath $(B))/test/e2e/dra/dra-driver DEVICE_PLUGIN=$(abspath $(B))/test/e2e/device/device-plugin KMS_PLUGIN=$(abspath $(B))/test/e2e/kms/kms-plugin \
	    LOGIND_FAKE=$(abspath $(B))/test/e2e/logind/fake-logind test/e2e/run.sh $(abspath $(BIN))

# Everything, with one closing line. CHECKS picks parts: make check CHECKS="unit sim".
CHECKS ?= unit asan tsan sim fuzz schema replay openapi kubectl etcd e2e
check: all
	@tools/check-all $(MAKE) $(CHECKS)

tidy:
	@O=$(O) CC=$(CC) tools/tidy
# What tools/tidy asks of this file: who may include whom, the compiler's flags for what is generated, and which
# archives a program links.
print-modules:
	@$(foreach m,$(MODULES),echo "$(DIR_$(m)) $(foreach d,$(DEPS_$(m)),$(DIR_$(d)))";)
# What is generated, apart from print-flags: what making it says on its way would stand among the flags.
generated: $(GEN_HEADERS_STAMP)
print-flags:
	@echo '$(CPPFLAGS) -I$(GEN)/tool -std=c17'
print-archives:
	@$(foreach p,$(BUILT),echo "$(p) $(call libs_of,$(MAIN_$(p)))";)
# clang-tidy over what is not a test; an object that was built again is looked at again. The sources that came from
# elsewhere than the modules, the generator's, are built into a folder of their own.
TIDY_SRC := $(filter-out test/%,$(shell git ls-files '*.c' 2>/dev/null))
TIDY_SECONDS ?= 300
tidied: $(patsubst %.c,$(B)/%.tidied,$(filter-out proto/%,$(TIDY_SRC))) \
        $(patsubst %.c,$(GEN)/tool/%.tidied,$(filter proto/%,$(TIDY_SRC)))
run_tidy = timeout $(TIDY_SECONDS) clang-tidy --quiet $(1) -- $(CPPFLAGS) -I$(GEN)/tool -std=c17 2>&1 && touch $@ || \
           { [ $$? != 124 ] || echo "TIMEOUT $(1)"; false; }
$(B)/%.tidied: $(B)/%.o .clang-tidy
	@$(call run_tidy,$*.c)
$(GEN)/tool/%.tidied: $(GEN)/tool/%.o .clang-tidy
	@$(call run_tidy,$*.c)
.PHONY: print-modules generated print-flags print-archives tidied

# The store alone, without the programs: make bench-store-micro
STORE_BENCH := $(B)/test/bench/bench_store $(B)/test/bench/bench_mvcc
$(STORE_BENCH): $(B)/test/bench/%: $(B)/test/bench/%.o $(call libs_of,raftstore)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $< $(call libs_of,raftstore) -o $@ $(PKG_LIBS) $(STORE_LIBS)
.PHONY: bench-store-micro
bench-store-micro: $(STORE_BENCH)
	@$(B)/test/bench/bench_mvcc
	@$(B)/test/bench/bench_store

# The store against Debian's etcd-server, by one load generator: make bench-store
LOAD_OBJ := $(patsubst %.c,$(B)/%.o,$(sort $(wildcard test/bench/load_*.c)))
$(B)/test/bench/load_store: $(LOAD_OBJ) $(call libs_of,base)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $(LOAD_OBJ) $(call libs_of,base) -o $@ $(PKG_LIBS)
.PHONY: bench-store
bench-store: all $(B)/test/bench/load_store
	@test/bench/store.sh $(B)/test/bench/load_store $(BIN)/trireme-raftstore

# lib/net's gRPC server alone, as a server for load_store: see the file's top.
$(B)/test/bench/bench_grpc: $(B)/test/bench/bench_grpc.o $(call libs_of,net)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $< $(call libs_of,net) -o $@ $(PKG_LIBS)

# The API servers under client-go's kinds of load: make bench-api
API_LOAD := $(B)/test/bench/api/api_load
$(API_LOAD): $(B)/test/bench/api/api_load.o $(B)/test/bench/load_stats.o $(call libs_of,client)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o,$^) $(call libs_of,client) -o $@ $(PKG_LIBS)
.PHONY: bench-api
bench-api: all $(API_LOAD)
	@test/bench/api.sh $(API_LOAD) $(BIN)
# The same with 10^3 to 10^5 objects and 10 to 10^4 watchers: make bench-api-growth
.PHONY: bench-api-growth
bench-api-growth: all $(API_LOAD)
	@test/bench/api_growth.sh $(API_LOAD) $(BIN)

# Network policies and isolation: computing, loading, packets: make bench-policy
POLICY_BENCH := $(B)/test/bench/bench_policy
$(POLICY_BENCH): $(B)/test/bench/bench_policy.o $(call libs_of,kubelet)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $< $(call libs_of,kubelet) -o $@ $(PKG_LIBS) $(call extra_of,kubelet)
.PHONY: bench-policy
bench-policy: $(POLICY_BENCH)
	test/bench/policy.sh $(POLICY_BENCH)

# The node's DNS server over UDP, one core: make bench-dns
DNS_BENCH := $(B)/test/bench/bench_dns
$(DNS_BENCH): $(B)/test/bench/bench_dns.o $(call libs_of,kubelet)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $< $(call libs_of,kubelet) -o $@ $(PKG_LIBS) $(call extra_of,kubelet)
.PHONY: bench-dns
bench-dns: $(DNS_BENCH)
	@$(DNS_BENCH) 10
	@$(DNS_BENCH) 10000

# Services on one real node, few and 10,000: changes, first packets, memory: make bench-services
.PHONY: bench-services
bench-services: all
	@test/bench/services.sh $(BIN)

# Pods from creation to Running on one real node, beside bare calls to its runtime: make bench-node
NODE_LOAD := $(B)/test/bench/node/node_load
$(NODE_LOAD): $(B)/test/bench/node/node_load.o $(B)/test/bench/load_stats.o $(call libs_of,kubelet)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o,$^) $(call libs_of,kubelet) -o $@ $(PKG_LIBS) $(call extra_of,kubelet)
.PHONY: bench-node
bench-node: all $(NODE_LOAD)
	@test/bench/node.sh $(NODE_LOAD) $(BIN)

# The scheduler's decisions without an API, then whole clusters with it: make bench-scheduler
DECISION_BENCH := $(B)/test/bench/bench_scheduler
PACKING_BENCH := $(B)/test/bench/bench_packing
$(DECISION_BENCH) $(PACKING_BENCH): $(B)/test/bench/%: $(B)/test/bench/%.o $(call libs_of,scheduler)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $< $(call libs_of,scheduler) -o $@ $(PKG_LIBS)
SCHED_LOAD := $(B)/test/bench/sched_load
$(SCHED_LOAD): $(B)/test/bench/sched_load.o $(B)/test/bench/load_stats.o $(call libs_of,client)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o,$^) $(call libs_of,client) -o $@ $(PKG_LIBS)
# Hollow node agents, and the load and the measuring clients beside them: make bench-hollow
HOLLOW := $(B)/test/bench/hollow_nodes $(B)/test/bench/hollow_load
$(B)/test/bench/hollow_nodes: $(B)/test/bench/hollow_pods.o
$(HOLLOW): $(B)/test/bench/%: $(B)/test/bench/%.o $(B)/test/bench/load_stats.o $(call libs_of,client)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $(filter %.o,$^) $(call libs_of,client) -o $@ $(PKG_LIBS)
hollow: $(HOLLOW)
.PHONY: hollow bench-hollow
bench-hollow: all $(HOLLOW)
	@test/bench/hollow.sh $(HOLLOW) $(BIN)
.PHONY: bench-decisions bench-packing bench-scheduler
bench-packing: $(PACKING_BENCH)
	@$<
bench-decisions: $(DECISION_BENCH)
	@$<
bench-scheduler: all $(DECISION_BENCH) $(SCHED_LOAD)
	@$(DECISION_BENCH)
	@for members in 1 3; do for nodes in 500 5000; do echo "== $$members members, $$nodes nodes"; \
	    MEMBERS=$$members NODES=$$nodes test/bench/scheduler.sh $(SCHED_LOAD) $(BIN) || exit 1; done; done

# The API codecs alone: make bench-codec
$(B)/test/bench/bench_codec: $(B)/test/bench/bench_codec.o $(call libs_of,api)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $< $(call libs_of,api) -o $@ $(PKG_LIBS)
.PHONY: bench-codec
bench-codec: $(B)/test/bench/bench_codec
	@$<

# What rules in expressions cost: make bench-cel
$(B)/test/bench/bench_cel: $(B)/test/bench/bench_cel.o $(call libs_of,api)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $< $(call libs_of,api) -o $@ $(PKG_LIBS)
.PHONY: bench-cel
bench-cel: $(B)/test/bench/bench_cel
	@$<

# What keeping managedFields costs a write: make bench-fieldset
$(B)/test/bench/bench_fieldset: $(B)/test/bench/bench_fieldset.o $(call libs_of,apiserver)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $< $(call libs_of,apiserver) -o $@ $(PKG_LIBS) $(STORE_LIBS)
.PHONY: bench-fieldset
bench-fieldset: $(B)/test/bench/bench_fieldset
	@$<

# What priority and fairness costs a request that does not wait.
$(B)/test/bench/bench_flow: $(B)/test/bench/bench_flow.o $(call libs_of,apiserver)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $< $(call libs_of,apiserver) -o $@ $(PKG_LIBS) $(STORE_LIBS)

# What a decision of who may do what costs: make bench-authz
$(B)/test/bench/bench_authz: $(B)/test/bench/bench_authz.o $(call libs_of,apiserver)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $< $(call libs_of,apiserver) -o $@ $(PKG_LIBS) $(STORE_LIBS)
.PHONY: bench-authz
bench-authz: $(B)/test/bench/bench_authz
	@$<

# Load and proof for a store that speaks etcd v3: make kvload, then test/e2e/store_torture.py.
KVLOAD_SRC := $(sort $(wildcard test/e2e/kvload/*.c))
KVLOAD := $(B)/test/e2e/kvload/kvload
$(KVLOAD): $(KVLOAD_SRC:%.c=$(B)/%.o) $(call libs_of,net)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $(KVLOAD_SRC:%.c=$(B)/%.o) $(call libs_of,net) -o $@ $(PKG_LIBS)
.PHONY: kvload
kvload: $(KVLOAD)

# A CSI driver of our own, for test_volumes.sh.
CSI_HOSTPATH := $(B)/test/e2e/csi/csi-hostpath
$(CSI_HOSTPATH): $(B)/test/e2e/csi/hostpath.o $(call libs_of,net)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $< $(call libs_of,net) -o $@ $(PKG_LIBS)
.PHONY: csi-hostpath
csi-hostpath: $(CSI_HOSTPATH)

# A driver of dynamic resources of our own, for test_dra.sh.
DRA_DRIVER := $(B)/test/e2e/dra/dra-driver
$(DRA_DRIVER): $(B)/test/e2e/dra/driver.o $(call libs_of,net)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $< $(call libs_of,net) -o $@ $(PKG_LIBS)
.PHONY: dra-driver
dra-driver: $(DRA_DRIVER)

# A device plugin of our own, for test_device_plugin.sh.
DEVICE_PLUGIN := $(B)/test/e2e/device/device-plugin
$(DEVICE_PLUGIN): $(B)/test/e2e/device/plugin.o $(call libs_of,net)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $< $(call libs_of,net) -o $@ $(PKG_LIBS)
.PHONY: device-plugin
device-plugin: $(DEVICE_PLUGIN)

# A KMS v2 plugin of our own, for test_encryption.sh.
KMS_PLUGIN := $(B)/test/e2e/kms/kms-plugin
$(KMS_PLUGIN): $(B)/test/e2e/kms/kms_plugin.o $(call libs_of,net)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $< $(call libs_of,net) -o $@ $(PKG_LIBS)
.PHONY: kms-plugin
kms-plugin: $(KMS_PLUGIN)

# What systemd-logind does at a shutdown, for test_node_shutdown.sh; needs libsystemd.
LOGIND_FAKE := $(B)/test/e2e/logind/fake-logind
$(LOGIND_FAKE): $(B)/test/e2e/logind/fake_logind.o
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $< -o $@ -lsystemd
.PHONY: fake-logind
fake-logind: $(if $(EXTRA_LIBS_kubelet),$(LOGIND_FAKE))

bench: all
	@test/bench/run.sh $(abspath $(BIN))

soak: all $(SIM_BIN) kvload
	@KVLOAD=$(abspath $(B))/test/e2e/kvload/kvload test/soak.sh $(abspath $(O)) $(abspath $(BIN))

demo: deps all
	@deploy/demo.sh $(abspath $(BIN)) $(DEMO_DIR) $(DEMO_PORT)
down:
	@$(abspath $(BIN))/trireme down --dir $(DEMO_DIR) --purge

PREFIX ?= /usr
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/trireme/images $(DESTDIR)/lib/systemd/system
	install -m 0755 $(addprefix $(BIN)/,$(BUILT)) $(DESTDIR)$(PREFIX)/bin/
	install -m 0755 deploy/images/build.sh $(DESTDIR)$(PREFIX)/share/trireme/images/
	install -m 0644 deploy/images/pause.c $(DESTDIR)$(PREFIX)/share/trireme/images/
	install -m 0644 deploy/systemd/*.service $(DESTDIR)/lib/systemd/system/

help:
	@sed -n 's/^#   //p' Makefile
	@echo "check parts: check-unit check-asan check-tsan check-sim check-fuzz check-schema check-replay check-openapi check-kubectl check-etcd check-e2e; apart from check: check-sanitized"
