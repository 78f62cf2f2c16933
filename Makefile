# Trireme: build, check, tidy, bench, soak, demo, install - one non-recursive file.
#
#   make deps          install the Debian packages that building and testing need
#   make               build the programs into build/bin
#   make check         unit, golden, simulation, fuzz smoke, replay and e2e tests
#   make VARIANT=asan  the same objects with ASan+UBSan (tsan: TSan), folders of their own
#   make O=DIR         build somewhere else
#   make fuzz          coverage-guided fuzzing of every decoder, FUZZ_SECONDS each (clang)
#   make help          every target

# As many jobs as processors, unless told otherwise.
ifeq ($(filter -j% --jobserver%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif

VARIANT ?= release
O ?= build
ifeq ($(VARIANT),release)
BIN := $(O)/bin
else
BIN := $(O)/$(VARIANT)/bin
endif
B := $(O)/$(VARIANT)
GEN := $(O)/gen

CC ?= cc
PKGS := libuv libprotobuf-c libnghttp2 openssl zlib liblz4 yaml-0.1 libpcre2-8
# llhttp where Debian has it (trixie), else http-parser: lib/net/http1_parser.c asks the same way.
HTTP1_LIBS := $(if $(wildcard /usr/include/llhttp.h),-lllhttp,-lhttp_parser)
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null) $(HTTP1_LIBS) -lpthread -lm
STORE_LIBS := -lraft -lcrypt
# The node agent holds up the machine's shutdown through logind where libsystemd is there to build with.
EXTRA_LIBS_kubelet := $(if $(wildcard /usr/include/systemd/sd-bus.h),-lsystemd)

WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
        -Wno-missing-field-initializers -Werror
CPPFLAGS += -D_GNU_SOURCE -I. -I$(GEN) $(PKG_CFLAGS)
CFLAGS_release := -O2 -g -fstack-protector-strong -D_FORTIFY_SOURCE=2
CFLAGS_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
# Coverage-guided fuzzing; CC must be clang. Its pointer-overflow check objects to an empty view's NULL + 0, which gcc's
# does not, and which the next C defines.
CFLAGS_fuzz := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined \
               -fno-sanitize=pointer-overflow
CFLAGS_tsan := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
CFLAGS += -std=c17 $(CFLAGS_$(VARIANT)) $(WARN) -fPIE
LDFLAGS_release := -Wl,-z,relro,-z,now -Wl,--as-needed -Wl,--gc-sections
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_fuzz := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
LDFLAGS += -pie $(LDFLAGS_$(VARIANT))
CFLAGS_release += -ffunction-sections -fdata-sections

.DELETE_ON_ERROR:
.SECONDEXPANSION:
.PHONY: all check tidy bench soak demo down install clean deps help

# --- modules: a folder is a library; main*.c in it are programs, not members --
MODULES := base net api client raftstore apiserver scheduler controllers kubelet cli
DIR_base := lib/base
DIR_net := lib/net
DIR_api := lib/api
DIR_client := lib/client
DIR_raftstore := raftstore
DIR_apiserver := apiserver
DIR_scheduler := scheduler
DIR_controllers := controllers
DIR_kubelet := kubelet
DIR_cli := cli

# What each module may include and links, itself first.
DEPS_base := base
DEPS_net := net base
DEPS_api := api net base
DEPS_client := client api net base
DEPS_raftstore := raftstore net base
DEPS_apiserver := apiserver raftstore client api net base
DEPS_scheduler := scheduler client api net base
DEPS_controllers := controllers client api net base
DEPS_kubelet := kubelet scheduler client api net base
DEPS_cli := cli scheduler client api net base

PROGRAMS := trireme-apiserver trireme-raftstore trireme-scheduler trireme-controller-manager trireme-kubelet trireme
MAIN_trireme-apiserver := apiserver
MAIN_trireme-raftstore := raftstore
MAIN_trireme-scheduler := scheduler
MAIN_trireme-controller-manager := controllers
MAIN_trireme-kubelet := kubelet
MAIN_trireme := cli

# Programs whose main.c exists: lets the tree build while it grows.
BUILT := $(foreach p,$(PROGRAMS),$(if $(wildcard $(DIR_$(MAIN_$(p)))/main.c),$(p)))
all: $(addprefix $(BIN)/,$(BUILT))

include $(wildcard proto/rules.mk)

define MODULE_RULES
SRC_$(1) := $$(filter-out %/main.c,$$(shell find $$(DIR_$(1)) -name '*.c' 2>/dev/null | sort))
OBJ_$(1) := $$(patsubst %.c,$$(B)/%.o,$$(SRC_$(1))) $$(GENOBJ_$(1))
LIB_$(1) := $$(B)/lib$(1).a
$$(LIB_$(1)): $$(OBJ_$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	@ar rcs $$@ $$(OBJ_$(1))
endef
$(foreach m,$(MODULES),$(eval $(call MODULE_RULES,$(m))))

# libs_of(module): archives in link order.
libs_of = $(foreach d,$(DEPS_$(1)),$(LIB_$(d)))
extra_of = $(if $(filter raftstore,$(DEPS_$(1))),$(STORE_LIBS)) $(EXTRA_LIBS_$(1))

$(B)/%.o: %.c $(GEN_HEADERS_STAMP)
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(CC) $(CPPFLAGS) $(CFLAGS) $(CFLAGS_$(<)) -MMD -MP -c $< -o $@

define PROGRAM_RULES
$$(BIN)/$(1): $$(B)/$$(DIR_$$(MAIN_$(1)))/main.o $$(call libs_of,$$(MAIN_$(1)))
	@mkdir -p $$(@D)
	@echo "  LINK  $$@"
	@$$(CC) $$(CFLAGS) $$(LDFLAGS) $$< $$(call libs_of,$$(MAIN_$(1))) -o $$@ $$(PKG_LIBS) $$(call extra_of,$$(MAIN_$(1)))
endef
$(foreach p,$(PROGRAMS),$(eval $(call PROGRAM_RULES,$(p))))

# --- tests ------------------------------------------------------------------
# test/unit/<module>/test_*.c: one program each, linked with its module.
# test/sim/sim_*.c with raftstore; test/fuzz/<module>/fuzz_*.c with a small driver.
UNIT_SRC := $(sort $(wildcard test/unit/*/test_*.c))
UNIT_BIN := $(patsubst test/unit/%.c,$(B)/test/unit/%,$(UNIT_SRC))
CHECK_LIBS := $(shell pkg-config --libs check 2>/dev/null)

unit_module = $(word 3,$(subst /, ,$(patsubst $(B)/%,%,$(1))))
$(UNIT_BIN): $(B)/test/unit/%: $(B)/test/unit/%.o $$(call libs_of,$$(call unit_module,$$@))
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $< $(call libs_of,$(call unit_module,$@)) -o $@ $(PKG_LIBS) \
	    $(call extra_of,$(call unit_module,$@)) $(CHECK_LIBS)

SIM_SRC := $(sort $(wildcard test/sim/*.c))
SIM_MAIN := $(filter test/sim/sim_%.c,$(SIM_SRC))
SIM_LIB := $(patsubst %.c,$(B)/%.o,$(filter-out $(SIM_MAIN),$(SIM_SRC)))
SIM_BIN := $(patsubst %.c,$(B)/%,$(SIM_MAIN))
# The seeds of hash tables come from the simulated world too.
SIM_LDFLAGS := -Wl,--wrap=env_system_random
$(SIM_BIN): $(B)/test/sim/%: $(B)/test/sim/%.o $(SIM_LIB) $(call libs_of,raftstore)
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $(SIM_LDFLAGS) $< $(SIM_LIB) $(call libs_of,raftstore) -o $@ $(PKG_LIBS) $(STORE_LIBS)

# Fuzz targets define LLVMFuzzerTestOneInput. Without libFuzzer, test/fuzz/driver.c
# feeds them the seeds and bounded random mutations of them; VARIANT=fuzz links libFuzzer.
FUZZ_DRIVER := $(B)/test/fuzz/$(if $(filter fuzz,$(VARIANT)),libfuzzer,driver).o
FUZZ_SRC := $(sort $(wildcard test/fuzz/*/fuzz_*.c))
FUZZ_BIN := $(patsubst test/fuzz/%.c,$(B)/test/fuzz/%,$(FUZZ_SRC))
$(FUZZ_BIN): $(B)/test/fuzz/%: $(B)/test/fuzz/%.o $(FUZZ_DRIVER) $$(call libs_of,$$(call unit_module,$$@))
	@echo "  LINK  $@"
	@$(CC) $(CFLAGS) $(LDFLAGS) $< $(FUZZ_DRIVER) $(if $(filter fuzz,$(VARIANT)),-fsanitize=fuzzer) $(call libs_of,$(call unit_module,$@)) -o $@ \
	    $(PKG_LIBS) $(call extra_of,$(call unit_module,$@))

include $(wildcard test/rules.mk)
-include $(shell find $(B) -name '*.d' 2>/dev/null)

unit-build: $(UNIT_BIN)
# One module's unit tests: make unit-api
unit_bins = $(filter $(B)/test/unit/$(1)/%,$(UNIT_BIN))
unit-%: $$(call unit_bins,$$*)
	@tools/run-tests $(call unit_bins,$*)
lib-%: $$(LIB_$$*)
	@true
.PHONY: unit-build

deps:
	@tools/deps
clean:
	@[ ! -e $(O)/demo/cluster.json ] || $(MAKE) --no-print-directory down
	rm -rf $(O)
