# Tide. `make help` lists what there is to make.
#
# Everything goes under $(BUILD); sources are found by wildcard, so a new file needs no edit here. Kernels are compiled
# once per (instruction-set level, element type); see "kernels" below.

# A person's own settings, e.g. LEVELS = c v3 for shorter builds while working on kernels.
-include local.mk

BUILD   ?= build
PREFIX  ?= /usr/local
LUADIR  ?= $(PREFIX)/share/lua/5.4
LIBDIR  ?= $(PREFIX)/lib/lua/5.4
BINDIR  ?= $(PREFIX)/bin
V       ?= 0
WERROR  ?= 1
SPECS   ?=

# -- one job per core, unless the user said how many (make 4.3 hides a given -j from MAKEFLAGS while it reads this file)
GIVEN_J := $(filter -j% --jobs% --jobserver%,$(MAKEFLAGS) $(shell tr '\0' ' ' </proc/$$PPID/cmdline 2>/dev/null))
ifeq (0,$(MAKELEVEL)$(GIVEN_J))
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 2)
endif
MAKEFLAGS += --no-builtin-rules

# -- several goals (make -j2 demo test, make clean all): one after the other, each with all the jobs. What they share is made
# by the makes that they start, which would not know of each other.
ifneq (,$(word 2,$(MAKECMDGOALS)))
.NOTPARALLEL:
.PHONY: $(MAKECMDGOALS)
$(sort $(MAKECMDGOALS)):
	@+$(MAKE) --no-print-directory $@
else

# -- variants: their own folder each, so that they never mix
SAN       ?= 0
COV       ?= 0
TIDE_HARD ?= 0
ifeq ($(BUILD),build)
  VARIANT := $(strip $(if $(filter 1,$(SAN)),asan)$(if $(filter thread,$(SAN)),tsan)$(if $(filter 1,$(COV)),cov)$(if $(filter 1,$(TIDE_HARD)),hard))
  ifneq ($(VARIANT),)
    override BUILD := build/$(VARIANT)
  endif
endif

ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin CXX),default)
CXX := g++
endif
OBJCOPY     ?= objcopy
LUA         ?= lua5.4
LUAC_PKG    ?= lua5.4
PKG_CONFIG  ?= pkg-config
LUA_CFLAGS  := $(if $(LUA_INCDIR),-I$(LUA_INCDIR),$(shell $(PKG_CONFIG) --cflags $(LUAC_PKG) 2>/dev/null))
LUA_LIBS    := $(if $(LUA_LIBDIR),-L$(LUA_LIBDIR)) $(or $(shell $(PKG_CONFIG) --libs $(LUAC_PKG) 2>/dev/null),-llua5.4)
READLINE    ?= edit
ifeq ($(READLINE),gnu)
EDIT_CFLAGS := -DTIDE_GNU_READLINE
EDIT_LIBS   := -lreadline
else
EDIT_CFLAGS := $(shell $(PKG_CONFIG) --cflags libedit 2>/dev/null)
EDIT_LIBS   := $(or $(shell $(PKG_CONFIG) --libs libedit 2>/dev/null),-ledit)
endif

WARN    := -Wall -Wextra -Wshadow -Wmissing-prototypes $(if $(filter 1,$(WERROR)),-Werror)
COMMON  := -std=gnu11 -g -fopenmp -Isrc -Ikernels $(WARN)
OPT     := -O2
KOPT    := -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast
LINK    :=
ifeq ($(SAN),1)
OPT     := -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
KOPT    := $(OPT) -fno-math-errno -fno-trapping-math -ffp-contract=fast
LINK    += -fsanitize=address,undefined
endif
ifeq ($(SAN),thread)
OPT     := -O1 -fsanitize=thread -fno-omit-frame-pointer
KOPT    := $(OPT) -fno-math-errno -fno-trapping-math -ffp-contract=fast
LINK    += -fsanitize=thread
endif
ifeq ($(COV),1)
OPT     := -O0 --coverage
KOPT    := -O1 --coverage
LINK    += --coverage
endif
ifeq ($(TIDE_HARD),1)
COMMON  += -DTIDE_HARD=1
WRAP    := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=posix_memalign
endif

# -- kernels: levels of the machine that is compiled for
MACHINE := $(shell $(CC) -dumpmachine 2>/dev/null)
ifneq (,$(filter x86_64%,$(MACHINE)))
ALL_LEVELS := c v2 v3 v4
SMALLER  := -fno-unswitch-loops -fno-version-loops-for-strides # old processors gain little by copies of loops for each case
MARCH_c  := -march=x86-64 $(SMALLER)
MARCH_v2 := -march=x86-64-v2 $(SMALLER)
MARCH_v3 := -march=x86-64-v3
MARCH_v4 := -march=x86-64-v4 -mprefer-vector-width=512
MVEC     := $(shell printf 'int main(void){return 0;}' | $(CC) -x c -o /dev/null - -lmvec 2>/dev/null && echo -lmvec)
else
ALL_LEVELS := c
endif
LEVELS   ?= $(ALL_LEVELS)
# Kernels for every element type move and compare: what the levels between would add is little, and they are large.
ANY_c  := c
ANY_v2 := c
ANY_v3 := v3
ANY_v4 := v3
ANY_LEVELS := $(sort $(foreach l,$(LEVELS),$(ANY_$(l))))

# -- sources
CORE_SRC   := $(filter-out src/main.c src/bind/% src/repl/% src/hdf5/%,$(wildcard src/*.c src/*/*.c))
BIND_SRC   := $(wildcard src/bind/*.c)
EXE_SRC    := $(wildcard src/main.c src/repl/*.c)
TABLE_SRC  := $(wildcard kernels/cpu/table.c)
ANY_SRC    := $(wildcard kernels/cpu/any_*.c)
LEVEL_SRC  := $(filter-out $(TABLE_SRC) $(ANY_SRC) kernels/cpu/once_%.c,$(wildcard kernels/cpu/*.c))
ENGINE_SRC := $(wildcard kernels/*.c kernels/cpu/once_*.c kernels/onednn/*.c kernels/blas/*.c)
GUARD_SRC  := $(wildcard kernels/onednn/*.cc)

CORE_OBJ   := $(CORE_SRC:%.c=$(BUILD)/%.o)
BIND_OBJ   := $(BIND_SRC:%.c=$(BUILD)/%.o)
EXE_OBJ    := $(EXE_SRC:%.c=$(BUILD)/%.o)
ONCE_OBJ   := $(ENGINE_SRC:%.c=$(BUILD)/%.o) $(GUARD_SRC:%.cc=$(BUILD)/%.o)
LEVEL_OBJ  := $(foreach l,$(LEVELS),$(LEVEL_SRC:%.c=$(BUILD)/%.$(l).f32.o) $(LEVEL_SRC:%.c=$(BUILD)/%.$(l).f64.o) \
                $(TABLE_SRC:%.c=$(BUILD)/%.$(l).o)) \
              $(foreach l,$(ANY_LEVELS),$(ANY_SRC:%.c=$(BUILD)/%.$(l).o))
LIB_OBJ    := $(strip $(CORE_OBJ) $(ONCE_OBJ) $(LEVEL_OBJ))
OBJ        := $(LIB_OBJ) $(BIND_OBJ) $(EXE_OBJ)

MODULE  := $(BUILD)/lib/tide/core.so
ARCHIVE := $(BUILD)/tide-core.a
EXE     := $(BUILD)/tide
LIBS    := -lz -lzip -lpng -ljpeg -lutf8proc $(MVEC) -lm -ldl -lpthread

ifeq ($(V),1)
Q :=
SAY = @:
else
Q := @
SAY = @printf '  %-5s %s\n'
endif

# -- tide-hdf5: the program that alone knows libhdf5; made where libhdf5 is found, installed beside the module
H5_PKG     := $(firstword $(foreach p,hdf5 hdf5-serial,$(if $(shell $(PKG_CONFIG) --exists $(p) 2>/dev/null && echo 1),$(p))))
H5_SHOW    := $(if $(H5_PKG),,$(shell h5cc -show 2>/dev/null))
H5_CFLAGS  := $(if $(H5_PKG),$(shell $(PKG_CONFIG) --cflags $(H5_PKG)),$(filter -I%,$(H5_SHOW)))
H5_LIBS    := $(if $(H5_PKG),$(shell $(PKG_CONFIG) --libs $(H5_PKG)),$(if $(H5_SHOW),$(filter -L%,$(H5_SHOW)) -lhdf5))
SECCOMP    := $(shell $(PKG_CONFIG) --exists libseccomp 2>/dev/null && echo 1)
H5_SRC     := $(wildcard src/hdf5/*.c)
H5_OBJ     := $(H5_SRC:%.c=$(BUILD)/%.o)
HDF5       := $(if $(and $(strip $(H5_LIBS)),$(H5_SRC)),$(BUILD)/lib/tide/tide-hdf5)

.PHONY: all differences instructions hard test-device sanitize-core deps demo test specs-alone specs-modes bench bench-ops pictures lint sanitize valgrind fuzz fuzz-calls fuzz-ops engines soak tsan coverage levels counts api-report structure install rock env help clean specs format format-check kernels-alone FORCE
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:

all: $(if $(strip $(BIND_OBJ)),$(MODULE)) $(if $(LIB_OBJ),$(ARCHIVE)) $(if $(strip $(EXE_OBJ)),$(EXE)) $(HDF5)

# Objects are made again when the compiler or its flags change.
FLAGS := $(CC) $(CXX) $(CFLAGS) $(COMMON) $(OPT) $(KOPT) $(LUA_CFLAGS) $(EDIT_CFLAGS) $(H5_CFLAGS) $(SECCOMP)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(FLAGS)' | cmp -s - $@ || printf '%s\n' '$(FLAGS)' >$@
FORCE:

# What is linked is made again when its list of parts or its libraries change: a source that is taken away leaves no trace.
PARTS := $(LDFLAGS) $(LINK) $(WRAP) $(LIBS) $(LUA_LIBS) $(EDIT_LIBS) $(H5_LIBS) $(OBJ) $(H5_OBJ)
$(BUILD)/parts: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(PARTS)' | cmp -s - $@ || printf '%s\n' '$(PARTS)' >$@

DEP = -MMD -MP
$(BUILD)/src/bind/%.o: src/bind/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(CC) $(CFLAGS) $(COMMON) $(OPT) -fPIC $(LUA_CFLAGS) $(DEP) -c $< -o $@

$(BUILD)/src/main.o: src/main.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(CC) $(CFLAGS) $(COMMON) $(OPT) $(LUA_CFLAGS) $(EDIT_CFLAGS) $(DEP) -c $< -o $@

$(BUILD)/src/repl/%.o: src/repl/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(CC) $(CFLAGS) $(COMMON) $(OPT) $(LUA_CFLAGS) $(EDIT_CFLAGS) $(DEP) -c $< -o $@

$(BUILD)/src/%.o: src/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(CC) $(CFLAGS) $(COMMON) $(OPT) -fPIC -fvisibility=hidden $(DEP) -c $< -o $@

$(BUILD)/kernels/%.o: kernels/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(CC) $(CFLAGS) $(COMMON) $(KOPT) -fPIC -fvisibility=hidden $(DEP) -c $< -o $@

# C++, of which the runtime is looked up when a library brings it (kernels/onednn/exceptions.c): what the compiler calls
# there gets names of Tide, so that no C++ library is linked, and a program that has one keeps it.
RENAMED := __gxx_personality_v0=tide_cxx_personality DW.ref.__gxx_personality_v0=DW.ref.tide_cxx_personality \
  __cxa_begin_catch=tide_cxx_begin_catch __cxa_end_catch=tide_cxx_end_catch
$(BUILD)/kernels/%.o: kernels/%.cc $(BUILD)/flags
	@mkdir -p $(@D)
	$(SAY) CXX $<
	$(Q)$(CXX) $(CFLAGS) -std=gnu++17 -g -O2 -Wall -Wextra -Wshadow $(if $(filter 1,$(WERROR)),-Werror) -fPIC -fvisibility=hidden \
	  $(DEP) -c $< -o $@
	$(Q)$(OBJCOPY) $(RENAMED:%=--redefine-sym %) $@

# $(call level_rules,LEVEL): the kernels of one level, in float and double, for every element type, and the level's table
define level_rules
$(BUILD)/kernels/cpu/%.$(1).f32.o: kernels/cpu/%.c $(BUILD)/flags
	@mkdir -p $$(@D)
	$$(SAY) CC "$$< ($(1), float)"
	$$(Q)$$(CC) $$(CFLAGS) $$(COMMON) $$(KOPT) $$(MARCH_$(1)) -DTIDE_LEVEL=$(1) -DTIDE_ANY_LEVEL=$(ANY_$(1)) \
	  -DREAL=float -DREAL_NAME=f32 -DREAL_IS_FLOAT=1 -fPIC -fvisibility=hidden $$(DEP) -c $$< -o $$@
$(BUILD)/kernels/cpu/%.$(1).f64.o: kernels/cpu/%.c $(BUILD)/flags
	@mkdir -p $$(@D)
	$$(SAY) CC "$$< ($(1), double)"
	$$(Q)$$(CC) $$(CFLAGS) $$(COMMON) $$(KOPT) $$(MARCH_$(1)) -DTIDE_LEVEL=$(1) -DTIDE_ANY_LEVEL=$(ANY_$(1)) \
	  -DREAL=double -DREAL_NAME=f64 -DREAL_IS_FLOAT=0 -fPIC -fvisibility=hidden $$(DEP) -c $$< -o $$@
$(BUILD)/kernels/cpu/%.$(1).o: kernels/cpu/%.c $(BUILD)/flags
	@mkdir -p $$(@D)
	$$(SAY) CC "$$< ($(1))"
	$$(Q)$$(CC) $$(CFLAGS) $$(COMMON) $$(KOPT) $$(MARCH_$(1)) -DTIDE_LEVEL=$(1) -DTIDE_ANY_LEVEL=$(ANY_$(1)) \
	  -fPIC -fvisibility=hidden $$(DEP) -c $$< -o $$@
endef
$(foreach l,$(sort $(LEVELS) $(ANY_LEVELS)),$(eval $(call level_rules,$(l))))

# Only luaopen_* leave the module. It is never unloaded: its threads outlive lua_close. -fopenmp compiles the kernels' parallel
# loops (kernels/parallel.h); libgomp is not linked.
$(BUILD)/exports: $(BUILD)/flags
	@printf '{ global: luaopen_*; local: *; };\n' >$@

$(MODULE): $(LIB_OBJ) $(BIND_OBJ) $(BUILD)/exports $(BUILD)/parts
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(CC) -shared $(LDFLAGS) $(LINK) $(WRAP) -Wl,-z,nodelete -Wl,--version-script=$(BUILD)/exports \
	  -o $@ $(LIB_OBJ) $(BIND_OBJ) -Wl,--as-needed $(LIBS)
	@nm -uD $@ | awk '$$1 == "U" && $$2 ~ /^tide/ { print "  undefined in $@: " $$2; bad = 1 } END { exit bad }' >&2

# The objects of kernels/ as a shared object of their own: they need the C and vector libraries and nothing of src/.
$(BUILD)/kernels-alone.so: $(ONCE_OBJ) $(LEVEL_OBJ) $(BUILD)/parts
	$(SAY) LINK $@
	$(Q)$(CC) -shared $(LDFLAGS) -Wl,-z,defs -o $@ $(ONCE_OBJ) $(LEVEL_OBJ) $(MVEC) -lm -ldl

$(ARCHIVE): $(LIB_OBJ) $(BUILD)/parts
	$(SAY) AR $@
	$(Q)rm -f $@ && $(AR) rcs $@ $(LIB_OBJ)

$(EXE): $(EXE_OBJ) $(BUILD)/parts
	$(SAY) LINK $@
	$(Q)$(CC) $(LDFLAGS) $(LINK) -Wl,-E -o $@ $(EXE_OBJ) $(LUA_LIBS) $(EDIT_LIBS) -Wl,--as-needed -lm -ldl

$(BUILD)/src/hdf5/%.o: src/hdf5/%.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(SAY) CC $<
	$(Q)$(CC) $(CFLAGS) -std=gnu11 -g $(WARN) $(OPT) $(H5_CFLAGS) $(if $(SECCOMP),-DTIDE_SECCOMP) $(DEP) -c $< -o $@

$(BUILD)/lib/tide/tide-hdf5: $(H5_OBJ) $(BUILD)/parts
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(CC) $(LDFLAGS) $(LINK) -o $@ $(H5_OBJ) $(H5_LIBS) -ljansson -lz $(if $(SECCOMP),-lseccomp)

-include $(OBJ:.o=.d) $(H5_OBJ:.o=.d)

# -- set-up: `make demo` and `make test` are one command each on a bare machine. They start make anew after the
# dependencies are there, because this file asks pkg-config for its flags.
DEPS ?= 1
deps:
	@.ci/deps

GETDEPS := $(if $(filter 1,$(DEPS)),.ci/deps)
BUSTED  := $(LUA) $(shell command -v busted || echo /usr/bin/busted)
TREE    := LUA_PATH='$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;;' LUA_CPATH='$(CURDIR)/$(BUILD)/lib/?.so;;'

demo:
	@$(GETDEPS)
	@+$(MAKE) --no-print-directory all
	@$(BUILD)/tide examples/fashion_mnist.lua $(ARGS)

test:
	@$(GETDEPS)
	@+$(MAKE) --no-print-directory all
	@+$(MAKE) --no-print-directory lint
	@+$(MAKE) --no-print-directory specs

# The specs alone, on what is built: make specs SPECS="spec/ops/ops_spec.lua"
specs: all
	@TIDE_BUILD=$(BUILD) $(BUSTED) $(SPECS)

# Each spec file in a process of its own: nothing may rest on what another file has loaded or switched on.
specs-alone: all
	@status=0; for file in $$(find spec -name '*_spec.lua' | sort); do \
	  TIDE_BUILD=$(BUILD) SPEC_ALONE=1 $(BUSTED) $$file </dev/null >$(BUILD)/alone.txt 2>&1 || { status=1; sed "\$$d" $(BUILD)/alone.txt; }; \
	  tail -1 $(BUILD)/alone.txt; done; exit $$status

# The specs of layers, models and training after masks, integer inputs and penalties were made: nothing may be left of them.
specs-modes: all
	@TIDE_BUILD=$(BUILD) SPEC_MODES=1 $(BUSTED) spec/layers spec/models spec/graph spec/training

# How far numbers are from those of Keras, PyTorch, NumPy and slow forms, per spec file.
differences: all
	@TIDE_BUILD=$(BUILD) SPEC_QUIET=1 SPEC_DIFFERENCES=1 $(BUSTED) $(or $(SPECS),spec/values_spec.lua spec/variety_spec.lua \
	  spec/ops spec/tensor spec/layers spec/losses spec/metrics spec/optimizers spec/training spec/saving spec/audio spec/preprocessing)

# -- checks
C_FILES = $(shell find src kernels spec -name '*.[ch]' -o -name '*.cc' 2>/dev/null)
lint: format-check
	@+$(MAKE) --no-print-directory all WERROR=1
	$(SAY) LINT "width of lines"
	$(Q).ci/width
	$(SAY) LINT "kernels link nothing of src/"
	@+$(MAKE) --no-print-directory kernels-alone
	$(SAY) LINT "nothing borrowed where Lua code may run"
	$(Q)$(LUA) .ci/borrows $(BIND_SRC)
	$(SAY) LINT "Lua files"
	$(Q)luacheck -q --no-color lua spec $(wildcard examples) >$(BUILD)/luacheck.txt || { cat $(BUILD)/luacheck.txt; exit 1; }

kernels-alone: $(BUILD)/kernels-alone.so

format-check:
	$(SAY) LINT "format of the C files"
	$(Q)clang-format --dry-run -Werror $(C_FILES) 2>&1 | grep 'error:' | cut -d: -f1 | sort | uniq -c | sort -rn | \
	  awk '{ print "  not formatted: " $$2 " (" $$1 " places); run make format"; bad = 1 } END { exit bad }'

# Several times: what one run joins, the next may move.
format:
	@for i in 1 2 3 4 5; do clang-format -i $(C_FILES); done

ASAN_LIB = $(shell $(CC) -print-file-name=libasan.so)
UBSAN_LIB = $(shell $(CC) -print-file-name=libubsan.so)
ASAN_ENV = LD_PRELOAD="$(ASAN_LIB) $(UBSAN_LIB)" ASAN_OPTIONS=detect_leaks=0:abort_on_error=0:exitcode=99:$(ASAN_EXTRA) \
           UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 OMP_WAIT_POLICY=passive
# The specs of the core and of the op rows: what the sanitizer run of .ci/run and the hostile build are about.
CORE_SPECS ?= spec/core spec/tensor/tensor_spec.lua spec/tensor/autograd_spec.lua spec/ops/ops_spec.lua spec/ops/arrays_spec.lua spec/ops/control_spec.lua spec/ops/extremes_spec.lua
SANITIZE_CPUS ?= c best

# The specs (SPECS= limits) with AddressSanitizer and UndefinedBehaviorSanitizer, at plain C and at the best CPU level.
sanitize:
	@+$(MAKE) --no-print-directory all SAN=1
	@for cpu in $(SANITIZE_CPUS); do echo "  ASAN  level $$cpu"; \
	  if [ $$cpu = best ]; then unset TIDE_CPU; else export TIDE_CPU=$$cpu; fi; \
	  TIDE_BUILD=build/asan $(ASAN_ENV) $(BUSTED) $(SPECS) || exit 1; done

sanitize-core:
	@$(if $(strip $(CORE_SPECS)),,echo "make sanitize-core: there are no specs of the core" >&2; exit 1)
	@+$(MAKE) --no-print-directory sanitize SPECS='$(CORE_SPECS)'

# The core's specs in the build that poisons memory, caches nothing and fails every k-th allocation.
hard:
	@$(if $(strip $(CORE_SPECS)),,echo "make hard: there are no specs of the core" >&2; exit 1)
	@+$(MAKE) --no-print-directory all TIDE_HARD=1
	@TIDE_BUILD=build/hard TIDE_HARD=1 $(BUSTED) $(or $(SPECS),$(CORE_SPECS))

# The specs of tensors, ops, layers and training on the device "test", whose memory only kernels and counted copies may touch:
# whoever else does ends the process.
DEVICE_SPECS = spec/core spec/tensor spec/ops/ops_spec.lua spec/ops/arrays_spec.lua spec/ops/control_spec.lua spec/ops/extremes_spec.lua \
  spec/ops/linear_spec.lua spec/ops/pool_spec.lua spec/values_spec.lua spec/layers/layers_spec.lua spec/models spec/saving spec/preprocessing \
  spec/training spec/losses spec/metrics spec/optimizers spec/callbacks
test-device: all
	@TIDE_BUILD=$(BUILD) TIDE_DEVICE=test $(BUSTED) $(or $(SPECS),$(DEVICE_SPECS))

# The core's specs (SPECS= others) under valgrind, which knows no AVX-512 and finds oneDNN's and OpenBLAS's own habits: Tide's
# kernels at level v3.
valgrind:
	@$(if $(GETDEPS),$(GETDEPS) check)
	@+$(MAKE) --no-print-directory all
	@TIDE_BUILD=$(BUILD) TIDE_CPU=v3 TIDE_ENGINE=plain OMP_NUM_THREADS=1 valgrind -q --error-exitcode=99 \
	  --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite $(BUSTED) $(or $(SPECS),$(CORE_SPECS))

# Every fuzzer, SECONDS each, under the sanitizers: Lua programs, and C targets (libFuzzer's interface) with driver.c. A C
# target's first line names the folder of its corpus. The input that breaks it is left in build/fuzz/NAME.last.
SECONDS ?= 60
FUZZERS = $(filter-out spec/fuzz/rows.lua,$(wildcard spec/fuzz/*.lua)) # rows.lua: a part of arguments.lua
# What the picture fuzzer needs for MemorySanitizer, where clang has it: every file that decodes, but those that call libraries.
MSAN_C = $(addprefix spec/fuzz/,images.c driver.c) $(addprefix src/io/,image.c bmp.c gif.c hdr.c pnm.c psd.c tga.c resize.c)
FUZZ_C = $(patsubst spec/fuzz/%.c,%,$(filter-out spec/fuzz/driver.c spec/fuzz/timer.c $(if $(HDF5),,spec/fuzz/hdf5.c),\
  $(wildcard spec/fuzz/*.c)))
fuzz:
	@$(if $(FUZZERS)$(FUZZ_C),,echo "make fuzz: no fuzzer in spec/fuzz" >&2; exit 1)
	@+$(MAKE) --no-print-directory all SAN=1
	@mkdir -p build/fuzz
	@failed=; for f in $(FUZZ_C); do echo "  FUZZ  spec/fuzz/$$f.c ($(SECONDS) s)"; \
	  $(MAKE) --no-print-directory build/fuzz/$$f SAN=1 BUILD=build/asan && mkdir -p build/fuzz/$$f.kept && \
	  TIDE_FUZZ_LAST=build/fuzz/$$f.last TIDE_FUZZ_KEEP=build/fuzz/$$f.kept build/fuzz/$$f "$$(sed -n '1s/.*corpus: //p' spec/fuzz/$$f.c)" $(SECONDS) || failed="$$failed $$f"; done; \
	if printf 'int main(void){return 0;}' | clang -fsanitize=memory -x c -o build/fuzz/msan - 2>/dev/null; then \
	  echo "  FUZZ  spec/fuzz/images.c with MemorySanitizer ($(SECONDS) s)"; \
	  clang $(filter-out -fopenmp,$(COMMON)) -O1 -fsanitize=memory $(MSAN_C) -lm -o build/fuzz/images.msan && \
	  TIDE_FUZZ_LAST=build/fuzz/images.msan.last build/fuzz/images.msan "$$(sed -n '1s/.*corpus: //p' spec/fuzz/images.c)" $(SECONDS) || \
	    failed="$$failed images.msan"; fi; \
	for f in $(filter-out $(CALLS),$(FUZZERS)); do echo "  FUZZ  $$f ($(SECONDS) s)"; \
	  LUA_PATH='$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;;' LUA_CPATH='$(CURDIR)/build/asan/lib/?.so;;' \
	  TIDE_FUZZ_SECONDS=$(SECONDS) TIDE_FUZZ_LAST=build/fuzz/$$(basename $$f .lua).last $(ASAN_ENV) $(LUA) $$f --seconds $(SECONDS) || \
	    failed="$$failed $$f"; done; \
	echo "  FUZZ  $(CALLS) ($(SECONDS) s)"; $(MAKE) --no-print-directory fuzz-calls || failed="$$failed $(CALLS)"; \
	[ -z "$$failed" ] || { echo "make fuzz: not as it should be:$$failed" >&2; exit 1; }

# The fuzzers in C: the readers are compiled so that the driver sees which ways an input goes.
FUZZ_FLAGS = $(COMMON) -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined
build/fuzz/%.io.o: src/io/%.c build/asan/flags
	@mkdir -p build/fuzz
	@$(CC) $(FUZZ_FLAGS) -fsanitize-coverage=trace-pc $(DEP) -c $< -o $@
build/fuzz/%.text.o: src/text/%.c build/asan/flags
	@mkdir -p build/fuzz
	@$(CC) $(FUZZ_FLAGS) -fsanitize-coverage=trace-pc $(DEP) -c $< -o $@
build/fuzz/%: spec/fuzz/%.c spec/fuzz/driver.c $(patsubst src/io/%.c,build/fuzz/%.io.o,$(wildcard src/io/*.c)) \
  $(patsubst src/text/%.c,build/fuzz/%.text.o,$(wildcard src/text/*.c)) src/hdf5/read.c build/asan/tide-core.a
	@$(CC) $(FUZZ_FLAGS) -c spec/fuzz/driver.c -o build/fuzz/driver.o
	@$(CC) $(FUZZ_FLAGS) -fsanitize-coverage=trace-pc $< $(if $(filter hdf5,$*),src/hdf5/read.c $(H5_CFLAGS)) \
	  $(filter %.o,$^) build/fuzz/driver.o build/asan/tide-core.a $(LIBS) $(if $(filter hdf5,$*),$(H5_LIBS) -ljansson) -o $@
-include $(wildcard build/fuzz/*.io.d build/fuzz/*.text.d)

# Calls of everything with what nobody should give, in an empty folder, since files are written too; a timer interrupts each
# that takes more than a second. FUZZ='--calls 1000000 --seed 7' in place of SECONDS.
CALLS = spec/fuzz/arguments.lua
FUZZ ?= --seconds $(SECONDS)
fuzz-calls: ASAN_EXTRA = allocator_may_return_null=1
fuzz-calls:
	@+$(MAKE) --no-print-directory all SAN=1
	@rm -rf build/fuzz/calls; mkdir -p build/fuzz/calls
	@$(CC) -shared -fPIC -O1 $(LUA_CFLAGS) spec/fuzz/timer.c -o build/fuzz/timer.so
	@cd build/fuzz/calls && ln -s '$(CURDIR)/spec' '$(CURDIR)/kernels' . && \
	  LUA_PATH='$(CURDIR)/?.lua;$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;;' LUA_CPATH='$(CURDIR)/build/asan/lib/?.so;;' \
	  TIDE_FUZZ_TIMER='$(CURDIR)/build/fuzz/timer.so' TIDE_FUZZ_LAST='$(CURDIR)/build/fuzz/arguments.last' \
	  $(ASAN_ENV) $(LUA) '$(CURDIR)/$(CALLS)' $(FUZZ)

# Random shapes by every engine against double precision, at every set of instructions that this machine has: SECONDS in
# all. What fails is printed as the command that shows it again.
engines:
	@+$(MAKE) --no-print-directory all
	@$(BUILD)/tide spec/fuzz/engines.lua --sweep --seconds $(SECONDS)

# SEED= repeats a run of what is random here: all of it reads $$TIDE_FUZZ_SEED, else it draws one and prints it.
ifdef SEED
export TIDE_FUZZ_SEED = $(SEED)
endif

# Random calls of every op against slow forms of the same call, SECONDS long, or CASES of them. Memory is bounded, for a random
# size may be any size.
fuzz-ops:
	@+$(MAKE) --no-print-directory all
	@ulimit -v 8000000; OMP_NUM_THREADS=2 $(BUILD)/tide spec/fuzz/ops.lua $(if $(CASES),--cases $(CASES),--seconds $(SECONDS))

# What must hold for long, and while things fail: `make soak` is the long form of all, ONLY= names parts, SECONDS= bounds each
# part's time, RUNS= the kills, presses and steps. memory: every allocation of many tasks fails; valgrind: the same for some of
# them (libzip itself loses blocks), looked at by valgrind; writes: every call that writes a file fails; kills: processes that save are killed; resume: those
# that train go on from their checkpoints; terminal:
# Ctrl-C and the signals that end a program at the prompt; latency: how soon long ops hear Ctrl-C (TASKS= names some,
# BY=cpu measures the processor's time); drift: long runs that may not grow; opens: what loading opens; data: passes over data and a folder of 1,000,000 files.
SOAK = memory valgrind writes kills resume terminal latency drift opens data
SOAK_SECONDS := $(if $(filter command environment,$(firstword $(origin SECONDS))),$(SECONDS))
VALGRIND = env TIDE_CPU=v3 TIDE_ENGINE=plain OMP_NUM_THREADS=1 valgrind -q --error-exitcode=99 --leak-check=full \
  --errors-for-leak-kinds=definite --show-leak-kinds=definite --soname-synonyms=somalloc=nouserintercepts
soak:
	@+$(MAKE) --no-print-directory all
	@mkdir -p $(BUILD)/soak
	@$(CC) -std=gnu11 $(WARN) -shared -fPIC -O1 $(LUA_CFLAGS) spec/soak/faults.c -o $(BUILD)/soak/faults.so -ldl
	@export TIDE_FAULTS='$(CURDIR)/$(BUILD)/soak/faults.so' TIDE_PROGRAM='$(CURDIR)/$(BUILD)/tide' $(TREE); status=0; \
	seconds='$(if $(SOAK_SECONDS),--seconds $(SOAK_SECONDS))'; runs='$(if $(RUNS),--runs $(RUNS))'; \
	for part in $(or $(ONLY),$(SOAK)); do echo "  SOAK  $$part"; case $$part in \
	  memory) $(BUILD)/tide spec/soak/memory.lua $${seconds:---seconds 1800};; \
	  valgrind) TIDE_PROGRAM="$(VALGRIND) $(BUILD)/tide" $(BUILD)/tide spec/soak/memory.lua $${seconds:---seconds 1800} \
	    --task backward,index,json,lists,pictures,build,save_safetensors;; \
	  writes) LD_PRELOAD=$$TIDE_FAULTS $(BUILD)/tide spec/soak/files.lua --what faults $$seconds;; \
	  kills) LD_PRELOAD=$$TIDE_FAULTS $(BUILD)/tide spec/soak/files.lua --what kills $$seconds $$runs;; \
	  resume) LD_PRELOAD=$$TIDE_FAULTS $(BUILD)/tide spec/soak/resume.lua $$seconds $$runs;; \
	  terminal) $(LUA) spec/soak/terminal.lua $$seconds $$runs;; \
	  latency) $(BUILD)/tide spec/soak/latency.lua $$runs $(if $(TASKS),--task '$(TASKS)') $(if $(BY),--by $(BY));; \
	  drift) $(BUILD)/tide spec/soak/drift.lua $$seconds $$runs;; \
	  opens) $(BUILD)/tide spec/soak/opens.lua;; \
	  data) $(BUILD)/tide spec/soak/data.lua;; \
	  *) echo "make soak: no part $$part" >&2; false;; esac || status=1; done; exit $$status

# What small steps cost in instructions, tensors and bytes, against what is stored (--store: anew): ONLY= names some.
instructions:
	@$(if $(GETDEPS),$(GETDEPS) check)
	@+$(MAKE) --no-print-directory all
	@$(BUILD)/tide spec/bench/instructions.lua $(ONLY)

# Two Lua states in two threads, training and interrupted, SECONDS long, under ThreadSanitizer.
tsan:
	@+$(MAKE) --no-print-directory build/tsan/lib/tide/core.so SAN=thread
	@$(CC) -std=gnu11 -g -fsanitize=thread $(LUA_CFLAGS) spec/support/states.c -o build/tsan/states $(LUA_LIBS) -lpthread
	@LUA_PATH='$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;;' LUA_CPATH='$(CURDIR)/build/tsan/lib/?.so;;' \
	  TSAN_OPTIONS=exitcode=66 build/tsan/states spec/support/states.lua $(SECONDS)

# Lines and branches of C by gcov, those of Lua by a hook that every Lua state of the run gets; the table and the largest regions
# that nothing reached are in build/cov/coverage.txt.
coverage:
	@+$(MAKE) --no-print-directory all COV=1
	@find build/cov -name '*.gcda' -delete; rm -f build/cov/lua.*.cov
	@$(CC) -shared -fPIC -O1 $(LUA_CFLAGS) spec/support/coverage.c -o build/cov/coverage.so -ldl
	@TIDE_BUILD=build/cov TIDE_COVERAGE='$(CURDIR)/build/cov/lua' LUA_INIT='@$(CURDIR)/spec/support/coverage.lua' \
	  LD_PRELOAD='$(CURDIR)/build/cov/coverage.so' $(BUSTED) $(SPECS); status=$$?; \
	  $(LUA) spec/support/coverage.lua build/cov >build/cov/coverage.txt; cat build/cov/coverage.txt; exit $$status

# The case rows of every op at each CPU level that this machine has, in a build of all levels.
levels:
	@+$(MAKE) --no-print-directory all BUILD=build/levels LEVELS='$(ALL_LEVELS)'
	@for cpu in $(ALL_LEVELS); do \
	  is=$$(TIDE_CPU=$$cpu build/levels/tide -e 'io.write(require("tide.core").cpu_level)'); \
	  case $$is in $$cpu|*-$$cpu) echo "  SPECS level $$is";; *) echo "  this machine has no level $$cpu"; continue;; esac; \
	  TIDE_BUILD=build/levels TIDE_CPU=$$cpu $(BUSTED) $(or $(SPECS),spec/ops/ops_spec.lua) || exit 1; done

# How much there is: ops, their case rows and checks, specs.
counts: all
	@TIDE_BUILD=$(BUILD) $(TREE) $(LUA) spec/support/counts.lua
	@printf '%6d specs\n' $$(TIDE_BUILD=$(BUILD) $(BUSTED) --list | grep -c .)

# What Keras offers beside what Tide declares: names, options, defaults.
api-report: all
	@TIDE_BUILD=$(BUILD) $(TREE) $(LUA) spec/support/api_report.lua

# Who needs whom in lua/tide, folded to folders, and the circles.
structure:
	@$(LUA) spec/support/structure.lua lua

# The README's pictures, from a real session on Fashion-MNIST.
pictures:
	@+$(MAKE) --no-print-directory all
	@TIDE_BUILD=$(BUILD) $(TREE) $(LUA) spec/pictures/make.lua

# The speed rows, each beside its last run on this processor (build/bench/rows.jsonl): make bench ROWS="cnn mlp_small" THREADS=1
# LEVELS_COMPARED=1 runs each at every level of this build and machine, turn by turn, the best of ROUNDS; it fails where a higher
# one takes more than MARGIN times a lower one's time. "start" is `require "tide"` in a new process; "pictures" runs beside Keras'
# ImageDataGenerator where PEER is a Python that has Keras; tables of their own: "attention" and "steps" (of an LSTM) by the length,
# "products" of each engine's speed, "growth" of costs by size, "truth" of losses beside PyTorch's (PARTS= names parts or rows of these two).
ROWS ?= mlp_small mlp_mid cnn resnet20 mobilenet unet lstm gru encoder gpt recsys autoencoder mlp_small_b1 cnn_b1 lstm_b1 \
  resnet20_b1 mobilenet_b1 gpt_b1 resnet20_b64 mobilenet_b16 cnn_b256 mlp_small_after pictures start
bench:
	@+$(MAKE) --no-print-directory all
	@$(TREE) $(LUA) spec/bench/run.lua --program $(BUILD)/tide $(if $(BENCH_SECONDS),--seconds $(BENCH_SECONDS)) $(if $(THREADS),--threads $(THREADS)) \
	  $(if $(filter 1,$(LEVELS_COMPARED)),--levels '$(LEVELS)' --rounds $(or $(ROUNDS),3) --margin $(or $(MARGIN),1.05)) \
	  $(if $(PEER),--python $(PEER)) $(if $(PARTS),--parts '$(PARTS)') $(ROWS)

# Single ops beside NumPy and torch of the Python PEER: make bench-ops PEER=python THREADS=1 ONLY="sum sort" SIZES=1000000
bench-ops:
	@+$(MAKE) --no-print-directory all
	@$(TREE) $(LUA) spec/bench/ops.lua $(if $(PEER),--python $(PEER)) --threads $(or $(THREADS),2) --only '$(ONLY)' $(if $(SIZES),--sizes '$(SIZES)') \
	  --seconds $(or $(OP_SECONDS),0.2) --rounds $(or $(ROUNDS),2)

# -- installation. The program finds the modules beside itself (PREFIX/bin, PREFIX/share, PREFIX/lib), so a tree can be
# moved; other folders are compiled in.
HOME_OF  := $(patsubst %/bin,%,$(BINDIR))
STANDARD := $(if $(filter $(LUADIR):$(LIBDIR),$(HOME_OF)/share/lua/5.4:$(HOME_OF)/lib/lua/5.4),1)
install: all
	$(SAY) INST "$(DESTDIR)$(BINDIR)/tide, $(DESTDIR)$(LUADIR)/tide, $(DESTDIR)$(LIBDIR)/tide"
	$(Q)install -d '$(DESTDIR)$(BINDIR)' '$(DESTDIR)$(LUADIR)' '$(DESTDIR)$(LIBDIR)/tide'
	$(Q)cd lua && find tide -type f -name '*.lua' -exec sh -c 'for f; do install -D -m 644 "$$f" "$$0/$$f"; done' \
	  '$(DESTDIR)$(LUADIR)' {} +
	$(Q)install -m 755 -s '$(MODULE)' '$(DESTDIR)$(LIBDIR)/tide/core.so'
	$(Q)$(if $(HDF5),install -m 755 -s '$(HDF5)' '$(DESTDIR)$(LIBDIR)/tide/tide-hdf5')
ifneq (,$(filter 1,$(STANDARD) $(ROCK)))
	$(Q)install -m 755 -s '$(EXE)' '$(DESTDIR)$(BINDIR)/tide'
else
	$(Q)$(CC) $(CFLAGS) $(COMMON) $(OPT) $(LUA_CFLAGS) $(EDIT_CFLAGS) -DTIDE_LUADIR='"$(LUADIR)"' \
	  -DTIDE_LIBDIR='"$(LIBDIR)"' -c src/main.c -o $(BUILD)/src/main.installed.o
	$(Q)$(CC) $(LDFLAGS) $(LINK) -Wl,-E -s -o '$(DESTDIR)$(BINDIR)/tide' $(BUILD)/src/main.installed.o \
	  $(filter-out %/src/main.o,$(EXE_OBJ)) $(LUA_LIBS) $(EDIT_LIBS) -Wl,--as-needed -lm -ldl
endif

# The binary rock, in dist/, made and checked without a network where the system allows.
rock:
	@.ci/rock

# eval "$(make -s env)": use this tree from any lua5.4.
env:
	@echo "export LUA_PATH='$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;;'"
	@echo "export LUA_CPATH='$(CURDIR)/$(BUILD)/lib/?.so;;'"
	@echo "export PATH='$(CURDIR)/$(BUILD):'\"\$$PATH\""

help:
	@echo "make help            this list"
	@echo "make                 the module, the library and build/tide"
	@echo "make demo            dependencies, build, and a network that learns Fashion-MNIST (ARGS= for the script)"
	@echo "make test            dependencies, build, lint and all specs (DEPS=0: install nothing)"
	@echo "make deps            install through apt what is missing"
	@echo "make specs           the specs alone (SPECS='spec/x_spec.lua --filter=word')"
	@echo "make specs-alone     each spec file in a process of its own"
	@echo "make specs-modes     layers, models and training after masks and integer inputs were made"
	@echo "make lint            luacheck, format check, warnings as errors; make format formats the C files"
	@echo "make kernels-alone   links the objects of kernels/ by themselves: they need nothing of src/"
	@echo "make sanitize        the specs under ASan and UBSan (SPECS=, SANITIZE_CPUS='c best')"
	@echo "make sanitize-core   the same for the specs of the core"
	@echo "make hard            the specs of the core in the hostile build (poisoned memory, failing allocations)"
	@echo "make test-device     the specs on the device \"test\", whose memory the host may not touch (SPECS=)"
	@echo "make valgrind        the specs of the core under valgrind (SPECS=)"
	@echo "make fuzz            every fuzzer under the sanitizers (SECONDS=60 each)"
	@echo "make fuzz-calls      calls of everything with wrong arguments (FUZZ='--calls 1000000 --seed 7')"
	@echo "make fuzz-ops        random calls of ops against slow forms of the same call (SECONDS=60 or CASES=, SEED=)"
	@echo "make engines         random shapes by every engine at every set of instructions (SECONDS=60 in all, SEED=)"
	@echo "make soak            failing allocations and writes, kills, signals at the prompt, long runs (ONLY='$(SOAK)', SECONDS=, RUNS=)"
	@echo "make tsan            two Lua states in two threads under ThreadSanitizer (SECONDS=60)"
	@echo "make coverage        lines and branches that the specs reach, C and Lua (SPECS=)"
	@echo "make levels          the case rows of every op at each CPU level of this machine"
	@echo "make counts          ops, case rows, specs"
	@echo "make differences     how far the numbers of the specs are from their peers', per file; SPECS= names some"
	@echo "make api-report      Keras' names, options and defaults beside Tide's, and each exception's reason"
	@echo "make structure       which folders of lua/tide need which, and the circles among them"
	@echo "make pictures        the pictures of the README, from a session at the prompt"
	@echo "make instructions    what small steps cost in instructions, tensors and bytes, beside what is stored (ONLY=)"
	@echo "make bench           the speed rows beside their last run (ROWS=, BENCH_SECONDS=, THREADS=, LEVELS_COMPARED=1, PEER=python with Keras for pictures)"
	@echo "make bench-ops       single ops beside NumPy and torch (PEER=python with both, THREADS=, ONLY=part of a name)"
	@echo "make install         to PREFIX=$(PREFIX) (LUADIR, LIBDIR, BINDIR, DESTDIR)"
	@echo "make rock            a binary LuaRocks rock in dist/, checked in a fresh tree"
	@echo "make env             exports for using this tree from any lua5.4: eval \"\$$(make -s env)\""
	@echo "make clean           remove build/ and dist/"
	@echo "Variables: BUILD=build, CC, CFLAGS, LUA=lua5.4, LEVELS='$(ALL_LEVELS)' (CPU levels to build); V=1 shows commands, TIDE_HARD=1 the hostile build, WERROR=0 keeps warnings from failing the build,"
	@echo "           READLINE=gnu links GNU readline in place of libedit."

clean:
	$(SAY) RM build
	$(Q)rm -rf build dist

endif
