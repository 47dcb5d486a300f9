rockspec_format = "3.0"
package = "tide"
version = "scm-1"
source = {
  url = "git+file://.",
}
description = {
  summary = "Deep learning for Lua 5.4: tensors, gradients, layers and training, in C and Lua.",
  detailed = [[
Tide is a deep-learning environment: a C core with tensors, automatic differentiation and
operators, and Lua modules for layers, models, training, data and saving, with Keras' names and
defaults. OpenBLAS and oneDNN are used where they are installed. The rock holds the module and the
`tide` program.
Needs gcc and g++, GNU make, pkg-config and the development files of Lua 5.4, libedit, zlib, libzip,
jansson, libpng, libjpeg-turbo and utf8proc; with libhdf5 also Keras' .h5 files.]],
  license = "MIT",
  labels = { "machine-learning", "deep-learning", "tensor", "numeric" },
}
supported_platforms = { "linux" }
dependencies = {
  "lua >= 5.4, < 5.5",
}
build = {
  type = "make",
  build_target = "all",
  build_variables = {
    BUILD = "build/rock",
    CC = "$(CC)",
    CFLAGS = "$(CFLAGS)",
    LUA_INCDIR = "$(LUA_INCDIR)",
    WERROR = "0",
  },
  install_variables = {
    BUILD = "build/rock",
    CC = "$(CC)",
    CFLAGS = "$(CFLAGS)",
    LUA_INCDIR = "$(LUA_INCDIR)",
    WERROR = "0",
    ROCK = "1",
    PREFIX = "$(PREFIX)",
    BINDIR = "$(BINDIR)",
    LIBDIR = "$(LIBDIR)",
    LUADIR = "$(LUADIR)",
  },
}
test_dependencies = {}
test = {
  type = "command",
  command = "make specs",
}
