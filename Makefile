# Tide. `make help` lists what there is to make.
#
# Everything goes under $(BUILD); sources are found by wildcard, so a new file needs no edit here. Kernels are compiled
# once per (instruction-set level, element type); see "kernels" below.

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
ifeq (,$(GIVEN_J))
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 2)
endif
MAKEFLAGS += --no-builtin-rules

# -- variants: their own folder each, so that they never mix
SAN       ?= 0
COV       ?= 0
TIDE_HARD ?= 0
ifeq ($(BUILD),build)
  VARIANT := $(strip $(if $(filter 1,$(SAN)),asan)$(if $(filter 1,$(COV)),cov)$(if $(filter 1,$(TIDE_HARD)),hard))
  ifneq ($(VARIANT),)
    override BUILD := build/$(VARIANT)
  endif
endif

ifeq ($(origin CC),default)
CC := gcc
endif
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
ifeq ($(COV),1)
OPT     := -O0 --coverage
KOPT    := -O1 --coverage
LINK    += --coverage
endif
ifeq ($(TIDE_HARD),1)
COMMON  += -DTIDE_HARD=1
endif

# -- kernels: levels of the machine that is compiled for
MACHINE := $(shell $(CC) -dumpmachine 2>/dev/null)
ifneq (,$(filter x86_64%,$(MACHINE)))
LEVELS   := c v2 v3 v4
MARCH_c  := -march=x86-64
MARCH_v2 := -march=x86-64-v2
MARCH_v3 := -march=x86-64-v3
MARCH_v4 := -march=x86-64-v4 -mprefer-vector-width=512
MVEC     := $(shell printf 'int main(void){return 0;}' | $(CC) -x c -o /dev/null - -lmvec 2>/dev/null && echo -lmvec)
else
LEVELS   := c
endif

# -- sources
CORE_SRC   := $(wildcard src/*.c src/ops/*.c)
CORE_SRC   := $(filter-out src/main.c,$(CORE_SRC))
BIND_SRC   := $(wildcard src/bind/*.c)
EXE_SRC    := $(wildcard src/main.c src/repl/*.c)
TABLE_SRC  := $(wildcard kernels/cpu/table.c)
ANY_SRC    := $(wildcard kernels/cpu/any_*.c)
LEVEL_SRC  := $(filter-out $(TABLE_SRC) $(ANY_SRC),$(wildcard kernels/cpu/*.c))
ENGINE_SRC := $(wildcard kernels/onednn/*.c kernels/blas/*.c)

CORE_OBJ   := $(CORE_SRC:%.c=$(BUILD)/%.o)
BIND_OBJ   := $(BIND_SRC:%.c=$(BUILD)/%.o)
EXE_OBJ    := $(EXE_SRC:%.c=$(BUILD)/%.o)
ONCE_OBJ   := $(ANY_SRC:%.c=$(BUILD)/%.o) $(ENGINE_SRC:%.c=$(BUILD)/%.o)
LEVEL_OBJ  := $(foreach l,$(LEVELS),$(LEVEL_SRC:%.c=$(BUILD)/%.$(l).f32.o) $(LEVEL_SRC:%.c=$(BUILD)/%.$(l).f64.o) \
                $(TABLE_SRC:%.c=$(BUILD)/%.$(l).o))
LIB_OBJ    := $(strip $(CORE_OBJ) $(ONCE_OBJ) $(LEVEL_OBJ))
OBJ        := $(LIB_OBJ) $(BIND_OBJ) $(EXE_OBJ)

MODULE  := $(BUILD)/lib/tide/core.so
ARCHIVE := $(BUILD)/tide-core.a
EXE     := $(BUILD)/tide
LIBS    := -lz -ljansson -lpng -ljpeg $(MVEC) -lm -ldl -lpthread

ifeq ($(V),1)
Q :=
SAY = @:
else
Q := @
SAY = @printf '  %-5s %s\n'
endif

.PHONY: all lib deps demo test bench lint sanitize valgrind fuzz coverage install rock env help clean specs format-check
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:

all: $(if $(strip $(BIND_OBJ)),$(MODULE)) $(if $(LIB_OBJ),$(ARCHIVE)) $(if $(strip $(EXE_OBJ)),$(EXE))

# Objects are made again when the compiler or its flags change.
FLAGS := $(CC) $(CFLAGS) $(COMMON) $(OPT) $(KOPT) $(LUA_CFLAGS) $(EDIT_CFLAGS)
$(BUILD)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(FLAGS)' | cmp -s - $@ || printf '%s\n' '$(FLAGS)' >$@
FORCE:

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

# $(call level_rules,LEVEL): the kernels of one level, in float and double, and the level's table
define level_rules
$(BUILD)/kernels/cpu/%.$(1).f32.o: kernels/cpu/%.c $(BUILD)/flags
	@mkdir -p $$(@D)
	$$(SAY) CC "$$< ($(1), float)"
	$$(Q)$$(CC) $$(CFLAGS) $$(COMMON) $$(KOPT) $$(MARCH_$(1)) -DTIDE_LEVEL=$(1) -DTIDE_LEVEL_$(1)=1 \
	  -DREAL=float -DREAL_NAME=f32 -DREAL_IS_FLOAT=1 -fPIC -fvisibility=hidden $$(DEP) -c $$< -o $$@
$(BUILD)/kernels/cpu/%.$(1).f64.o: kernels/cpu/%.c $(BUILD)/flags
	@mkdir -p $$(@D)
	$$(SAY) CC "$$< ($(1), double)"
	$$(Q)$$(CC) $$(CFLAGS) $$(COMMON) $$(KOPT) $$(MARCH_$(1)) -DTIDE_LEVEL=$(1) -DTIDE_LEVEL_$(1)=1 \
	  -DREAL=double -DREAL_NAME=f64 -DREAL_IS_FLOAT=0 -fPIC -fvisibility=hidden $$(DEP) -c $$< -o $$@
$(BUILD)/kernels/cpu/table.$(1).o: kernels/cpu/table.c $(BUILD)/flags
	@mkdir -p $$(@D)
	$$(SAY) CC "$$< ($(1))"
	$$(Q)$$(CC) $$(CFLAGS) $$(COMMON) $$(KOPT) $$(MARCH_$(1)) -DTIDE_LEVEL=$(1) -DTIDE_LEVEL_$(1)=1 \
	  -fPIC -fvisibility=hidden $$(DEP) -c $$< -o $$@
endef
$(foreach l,$(LEVELS),$(eval $(call level_rules,$(l))))

# Only luaopen_* leave the module. It is never unloaded: libgomp's threads outlive lua_close.
$(BUILD)/exports: $(BUILD)/flags
	@printf '{ global: luaopen_*; local: *; };\n' >$@

$(MODULE): $(LIB_OBJ) $(BIND_OBJ) $(BUILD)/exports
	@mkdir -p $(@D)
	$(SAY) LINK $@
	$(Q)$(CC) -shared -fopenmp $(LDFLAGS) $(LINK) -Wl,-z,nodelete -Wl,--version-script=$(BUILD)/exports \
	  -o $@ $(LIB_OBJ) $(BIND_OBJ) -Wl,--as-needed $(LIBS)

$(ARCHIVE): $(LIB_OBJ)
	$(SAY) AR $@
	$(Q)rm -f $@ && $(AR) rcs $@ $(LIB_OBJ)

$(EXE): $(EXE_OBJ)
	$(SAY) LINK $@
	$(Q)$(CC) $(LDFLAGS) $(LINK) -Wl,-E -o $@ $(EXE_OBJ) $(LUA_LIBS) $(EDIT_LIBS) -Wl,--as-needed -lm -ldl

-include $(OBJ:.o=.d)

clean:
	$(SAY) RM build
	$(Q)rm -rf build dist
