# proto/rules.mk - from proto/ to $(GEN): the API's structs and tables through
# our own plugin, CRI and etcd messages through protobuf-c.
#
# Everything generated comes before the first compile: $(GEN_HEADERS_STAMP) is a
# prerequisite of each object.

PROTO_API := $(sort $(wildcard proto/k8s/*.proto))
PROTO_DESCRIPTIONS := proto/k8s/descriptions.txt
PROTO_PB := $(sort $(wildcard proto/cri/*.proto) $(wildcard proto/csi/*.proto) $(wildcard proto/containerd/*.proto) $(wildcard proto/etcd/*.proto))
GEN_TOOL := $(GEN)/tool/protoc-gen-trireme
GEN_HEADERS_STAMP := $(GEN)/headers.stamp
# "etcd/rpc.pb-c.h", "cri/runtime_v1.pb-c.h"; as a system folder, since
# protobuf-c's output is not ours to warn about.
CPPFLAGS += -isystem $(GEN)/pb

# --- the plugin: a build tool, so always optimised and never instrumented -----
GEN_TOOL_PB := google/protobuf/descriptor.proto plugin.proto trireme/options.proto
GEN_TOOL_PB_C := $(patsubst %.proto,$(GEN)/tool/%.pb-c.c,$(GEN_TOOL_PB))
GEN_TOOL_SRC := $(sort $(wildcard proto/gen/*.c)) lib/base/base.c lib/base/buf.c lib/base/str.c
GEN_TOOL_OBJ := $(patsubst %.c,$(GEN)/tool/%.o,$(GEN_TOOL_SRC)) $(GEN_TOOL_PB_C:.c=.o)
GEN_TOOL_FLAGS := -std=c17 -O1 -g -D_GNU_SOURCE -I. -I$(GEN)/tool $(PKG_CFLAGS)

# One protoc-c run writes all three pairs (grouped target, hence &:).
$(GEN_TOOL_PB_C) &: proto/gen/plugin.proto proto/trireme/options.proto
	@mkdir -p $(GEN)/tool
	@echo "  PROTO $(GEN)/tool"
	@protoc-c -Iproto/gen -Iproto -I/usr/include --c_out=$(GEN)/tool $(GEN_TOOL_PB)
$(GEN)/tool/%.pb-c.o: $(GEN)/tool/%.pb-c.c
	@$(CC) $(GEN_TOOL_FLAGS) -w -c $< -o $@
$(GEN)/tool/%.o: %.c $(GEN_TOOL_PB_C)
	@mkdir -p $(@D)
	@$(CC) $(GEN_TOOL_FLAGS) $(WARN) -MMD -MP -c $< -o $@
$(GEN_TOOL): $(GEN_TOOL_OBJ)
	@echo "  LINK  $@"
	@$(CC) $(GEN_TOOL_OBJ) -o $@ $(shell pkg-config --libs libprotobuf-c)
-include $(patsubst %.c,$(GEN)/tool/%.d,$(GEN_TOOL_SRC))

# --- generation ---------------------------------------------------------------
$(GEN_HEADERS_STAMP): $(GEN_TOOL) $(PROTO_API) $(PROTO_DESCRIPTIONS) $(PROTO_PB) proto/trireme/options.proto
	@echo "  PROTO $(GEN)"
	@rm -rf $(GEN)/api $(GEN)/pb $@ && mkdir -p $(GEN)/pb
	@protoc -Iproto --plugin=protoc-gen-trireme=$(GEN_TOOL) --trireme_out=$(GEN) \
	    --trireme_opt=$(PROTO_DESCRIPTIONS) $(PROTO_API)
	@protoc-c -Iproto --c_out=$(GEN)/pb $(PROTO_PB)
	@touch $@

# Named by the objects' dependencies; so that one generation that failed does not stop all later ones.
$(GEN)/api/%.c $(GEN)/pb/%.c: $(GEN_HEADERS_STAMP) ;

# --- objects ------------------------------------------------------------------
GENOBJ_api := $(patsubst proto/k8s/%.proto,$(B)/gen/api/%.o,$(PROTO_API)) $(B)/gen/api/scheme_table.o $(B)/gen/api/descriptions.o
# CRI, CSI and containerd for the node agent, etcd for the store: both link lib/net.
GENOBJ_net := $(patsubst proto/%.proto,$(B)/gen/pb/%.pb-c.o,$(PROTO_PB))

$(GENOBJ_api): $(B)/gen/api/%.o: $(GEN_HEADERS_STAMP)
	@mkdir -p $(@D)
	@echo "  CC    $(GEN)/api/$*.c"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $(GEN)/api/$*.c -o $@
$(GENOBJ_net): $(B)/gen/pb/%.pb-c.o: $(GEN_HEADERS_STAMP)
	@mkdir -p $(@D)
	@echo "  CC    $(GEN)/pb/$*.pb-c.c"
	@$(CC) $(CPPFLAGS) $(CFLAGS) -w -MMD -MP -c $(GEN)/pb/$*.pb-c.c -o $@
