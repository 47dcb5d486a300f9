--- Keras' keras.backend, as far as it is more than functions of tensors (those are tide.ops).
return require("tide.namespace").new("tide.backend", {}, {
  modules = { clear_session = "tide.utils" },
  elsewhere = function(name)
    local namespace, ops = require "tide.namespace", require "tide.ops"
    return type(name) == "string" and namespace.has(ops, name) and "; it is tide.ops." .. name
      or nil
  end })
