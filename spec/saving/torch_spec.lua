-- State dicts of real PyTorch (spec/ref/torch_models.py) into Tide's models, and back.
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local L = tide.layers
local ops = tide.ops

local folder = "spec/fixtures/torch/"

-- The tensors of a file: those of the state dict, inputs, outputs.
local function fixture(name)
  local all, state, x, y = tide.load(folder .. name .. ".safetensors"), {}, {}, {}
  for k, v in pairs(all) do
    local kind, i = k:match "^@([xy])(%d)$"
    if kind then
      (kind == "x" and x or y)[tonumber(i)] = v
    else
      state[k] = v
    end
  end
  return state, x, y
end

local function far(a, b)
  assert.same(b.shape:totable(), a.shape:totable())
  return ops.max(ops.abs(a - b)):item()
end

local function near(want, ...)
  local got = { ... }
  for i, y in ipairs(want) do
    local d = far(got[i], y)
    assert.is_true(d < 1e-5, ("output %d differs by %g"):format(i, d))
  end
end

-- Writing gives the same names and, but for the sums of two biases, the same numbers.
local function goes_back(model, state, map)
  local out = tide.saving.save_torch(model, nil, { map = map })
  for name, t in pairs(state) do
    if name:match "[^.]*$" ~= "num_batches_tracked" then
      assert.is_truthy(out[name], name)
      if not name:find "bias_[ih]h" then
        assert.equal(0, far(out[name], t), name)
      end
    end
  end
  for name in pairs(out) do
    assert.is_truthy(state[name], name)
  end
end

local function mlp()
  return tide.Sequential {
    L.Dense { 5, input_shape = { 4 }, name = "one" }, L.BatchNormalization(), L.PReLU(),
    L.Dense { 5, use_bias = false, activation = "tanh", name = "two" }, L.Dense { 3 },
  }
end

describe("tide.saving.load_torch", function()
  it("reads linear layers, batch normalization and PReLU without a map", function()
    local state, x, y = fixture "mlp"
    local model = mlp()
    tide.saving.load_torch(model, state)
    near(y, model(x[1]))
    local of_pickle = mlp()
    tide.saving.load_torch(of_pickle, folder .. "mlp.pt")
    assert.equal(0, far(of_pickle(x[1]), model(x[1])))
    goes_back(model, state, { one = "0", two = "3", [model.layers[5].name] = "5",
      [model.layers[2].name] = "1", [model.layers[3].name] = "2" })
  end)

  it("turns the kernels of convolutions of every kind", function()
    for _, row in ipairs {
      { "cnn", function()
        return { L.Conv2D { 6, { 3, 2 }, groups = 2, input_shape = { 7, 8, 4 }, name = "0" },
          L.BatchNormalization { name = "1" }, L.ReLU(), L.DepthwiseConv2D { 3,
            depth_multiplier = 2, name = "3" }, L.GroupNormalization { 3, name = "4" },
          L.Conv2DTranspose { 4, { 2, 3 }, strides = 2, name = "5" },
          L.Conv2D { 3, 1, name = "6" } }
      end },
      { "conv1", function()
        return { L.Conv1D { 4, 3, input_shape = { 9, 3 }, name = "0" },
          L.Conv1DTranspose { 5, 2, strides = 2, name = "1" },
          L.DepthwiseConv1D { 3, depth_multiplier = 2, use_bias = false, name = "2" } }
      end },
      { "conv3", function()
        return { L.Conv3D { 3, { 2, 1, 3 }, input_shape = { 4, 3, 5, 2 }, name = "0" },
          L.Conv3DTranspose { 2, { 1, 2, 2 }, name = "1" } }
      end },
    } do
      local state, x, y = fixture(row[1])
      local model = tide.Sequential(row[2]())
      tide.saving.load_torch(model, state)
      near(y, model(x[1]))
      goes_back(model, state)
    end
  end)

  it("joins the biases of recurrent layers, whose levels and directions have names", function()
    local state, x, y = fixture "text"
    local function text(options)
      local ids = tide.Input { 7, dtype = "int32" }
      local h = L.Embedding { 11, 4, zero_based = true, name = "table" }(ids)
      h = L.Bidirectional { L.LSTM { 3, return_sequences = true }, name = "lstm" }(h)
      h = L.Bidirectional { L.LSTM { 3, return_sequences = true }, name = "lstm_2" }(h)
      h = L.RNN { { L.GRUCell { 5, reset_after = options ~= "before" }, L.GRUCell { 5 } },
        return_sequences = true, name = "gru" }(h)
      local all, last = L.SimpleRNN { 4, use_bias = false, return_sequences = true,
        return_state = true, name = "rnn" }(h)
      return tide.Model { inputs = ids, outputs = { L.LayerNormalization { name = "norm" }(all),
        last } }
    end
    local map = { lstm_2 = { "lstm", level = 1 } }
    local model = text()
    tide.saving.load_torch(model, state, { map = map })
    near(y, table.unpack(model(ops.cast(x[1], "int32"))))
    goes_back(model, state, map)
    local again = text()
    tide.saving.load_torch(again, folder .. "text.pt") -- levels by shapes, the rest by names
    near(y, table.unpack(again(ops.cast(x[1], "int32"))))
    expect.raises("missing: gru.cell", tide.saving.load_torch, text "before", state, { map = map })
  end)

  it("reads cells", function()
    local state, x, y = fixture "cells"
    local cells = { a = L.LSTMCell { 4 }, b = L.GRUCell { 4 }, c = L.SimpleRNNCell { 4 } }
    for name, cell in pairs(cells) do
      cell:build { 2, 3 }
      tide.saving.load_torch(cell, state, { prefix = name .. "." })
    end
    local a, states = cells.a(x[1], { x[2], x[3] })
    near(y, a, states[2], (cells.b(x[1], { x[2] })), (cells.c(x[1], { x[2] })))
  end)

  it("cuts in_proj of MultiheadAttention, or reads three matrices", function()
    local state, x, y = fixture "heads"
    local own, cross = L.MultiHeadAttention { 2, 4, name = "own" },
      L.MultiHeadAttention { 4, 2, use_bias = false, name = "cross" }
    own(x[1], x[1])
    cross(x[1], x[3], x[2])
    tide.saving.load_torch(own, state, { prefix = "own." })
    tide.saving.load_torch(cross, state, { prefix = "cross." })
    local first = own(x[1], x[1])
    near(y, first, cross(first, x[3], x[2], { return_attention_scores = true }))
    assert.same({ 24, 8 }, tide.saving.save_torch(own)["in_proj_weight"].shape:totable())
    assert.equal(0, far(tide.saving.save_torch(cross)["k_proj_weight"],
      state["cross.k_proj_weight"]))
  end)

  it("takes a map by path or a function, whose holders stand for what is in them", function()
    local state, x, y = fixture "encoder"
    local inputs = tide.Input { 5, 8 }
    local h, map = inputs, {}
    for i = 1, 2 do
      local block = tide.Input { 5, 8 }
      local a = L.MultiHeadAttention { 2, 4, name = "self_attn" }(block, block)
      a = L.LayerNormalization { name = "norm1" }(L.Add() { block, a })
      local b = L.Dense { 8, name = "linear2" }(L.Dense { 12, name = "linear1",
        activation = "gelu" }(a))
      b = L.LayerNormalization { name = "norm2" }(L.Add() { a, b })
      h = tide.Model { inputs = block, outputs = b, name = "block_" .. i }(h)
      map["block_" .. i] = "layers." .. i - 1
    end
    local model = tide.Model { inputs = inputs, outputs = h }
    tide.saving.load_torch(model, state, { map = map })
    near(y, model(x[1]))
    goes_back(model, state, map)
    local before = model:get_weights()
    for _, w in ipairs(model.weights) do
      w:assign(ops.zeros_like(w))
    end
    tide.saving.load_torch(model, state, { map = function(path)
      return (path:gsub("block_(%d)", function(n) return "layers." .. n - 1 end):gsub("/", "."))
    end })
    for i, w in ipairs(model.weights) do
      assert.equal(0, far(w, before[i]))
    end
  end)

  it("takes links of one's own, and names of single tensors", function()
    local dense = tide.Sequential { L.Dense { 4, input_shape = { 3 }, name = "q" },
      L.Dense { 2, name = "o" } }
    local both = tide.random.normal { 3, 6 }
    local map = {
      q = { names = { "left", "right" }, weights = { "kernel" },
        read = function(a, b) return ops.concatenate({ a, b }, 2) end,
        write = function(k) return k[{ {}, { 1, 1 } }], k[{ {}, { 2, 4 } }] end },
      ["o/kernel"] = "out.w", ["o/bias"] = "out.b",
    }
    local state = { left = both[{ {}, { 1, 1 } }], right = both[{ {}, { 2, 4 } }],
      ["out.w"] = tide.ones { 2, 4 }, ["out.b"] = tide.ones { 2 } }
    expect.raises("missing: q.weight (for q/kernel), q.bias", tide.saving.load_torch, dense, state,
      { map = { ["o/kernel"] = "out.w", ["o/bias"] = "out.b" } })
    map.q = { map.q, { names = { "b" }, weights = { "bias" } } }
    state.b = tide.full({ 4 }, 5)
    tide.saving.load_torch(dense, state, { map = map })
    assert.equal(0, far(dense.layers[1].kernel, both[{ {}, { 1, 4 } }]))
    assert.same({ 5, 5, 5, 5 }, dense.layers[1].bias:tolist())
    local out = tide.saving.save_torch(dense, nil, { map = map })
    assert.same({ 3, 3 }, out.right.shape:totable())
    assert.same({ 2, 4 }, out["out.w"].shape:totable())
  end)

  it("tells in one error what is missing, left over or of another shape, and changes nothing",
    function()
      local state = fixture "mlp"
      local model = mlp()
      local names = {}
      for i, layer in ipairs(model.layers) do
        names[layer.name] = tostring(i < 5 and i - 1 or 5)
      end
      local before = model:get_weights()
      state["3.weight"], state["0.weight"], state.more = nil, tide.ones { 4, 5 }, tide.ones {}
      expect.raises("missing: 3.weight (for two/kernel); of the wrong shape: 0.weight "
        .. "(expected [5, 4], got [4, 5]); not used: more", tide.saving.load_torch, model, state,
        { map = names })
      for i, w in ipairs(model.weights) do
        assert.equal(0, far(w, before[i]))
      end
      local left = tide.saving.load_torch(model, state, { map = names, strict = false })
      assert.same({ "more" }, left.unexpected:totable())
      assert.equal(1, #left.missing)
      assert.equal(1, #left.mismatched)
      assert.equal(0, far(model.layers[5].kernel, ops.transpose(state["5.weight"])))
    end)

  it("asks for a map where names and shapes leave a choice", function()
    local model = tide.Sequential { L.Dense { 3, input_shape = { 3 } }, L.Dense { 3 } }
    local state = { ["key.weight"] = tide.ones { 3, 3 }, ["key.bias"] = tide.ones { 3 },
      ["value.weight"] = tide.ones { 3, 3 }, ["value.bias"] = tide.ones { 3 } }
    expect.raises("the modules key and value may be either of them; give map",
      tide.saving.load_torch, model, state)
    state["last.weight"], state["last.bias"] = tide.ones { 3, 3 }, tide.ones { 3 }
    expect.raises("the state dict has 3 modules that fit", tide.saving.load_torch, model, state)
    expect.raises("the map names 'dens', which is no layer", tide.saving.load_torch, model, state,
      { map = { dens = "key" } })
  end)

  it("goes by numbers, not by text, and through an index of several files", function()
    local layers, state = {}, {}
    for i = 1, 12 do
      layers[i] = L.Dense { 2, input_shape = i == 1 and { 2 } or nil }
      state[("net.%d.weight"):format(i - 1)] = tide.full({ 2, 2 }, i)
      state[("net.%d.bias"):format(i - 1)] = tide.full({ 2 }, i)
    end
    local dir = expect.folder()
    local a, b, map = {}, {}, {}
    for k, v in pairs(state) do
      local to = k:find "1" and a or b
      to[k], map[k] = v, to == a and "a.safetensors" or "b.safetensors"
    end
    tide.save(a, dir .. "/a.safetensors")
    tide.save(b, dir .. "/b.safetensors")
    core.write_file(dir .. "/m.safetensors.index.json", core.json_encode({ weight_map = map }))
    local model = tide.Sequential(layers)
    tide.saving.load_torch(model, dir .. "/m.safetensors.index.json")
    for i, layer in ipairs(model.layers) do
      assert.equal(i, layer.kernel:tolist()[1][1])
    end
    core.write_file(dir .. "/m.safetensors.index.json", '{"weight_map": {"a": "../a.safetensors"}}')
    expect.raises("is no file name beside it", tide.saving.load_torch, model,
      dir .. "/m.safetensors.index.json")
    os.execute("rm -r " .. dir)
  end)
end)

describe("a file of torch.save", function()
  local model = tide.Sequential { L.Dense { 1, input_shape = { 1 } } }
  local function refused(what, name)
    expect.raises(what, tide.saving.load_torch, model, folder .. name)
  end

  it("gives all dtypes, parts of storages and turned tensors", function()
    local Holder = tide.Layer:extend("TorchCheckpointHolder", { build = function(self)
      for _, w in ipairs { { "turned", { 4, 2, 3 } }, { "part", { 3, 4 } }, { "half", { 4 } },
        { "brain", { 4 } }, { "double", { 4 }, "float64" }, { "whole", { 3 }, "int64" },
        { "small", { 2 }, "uint8" }, { "yes", { 2 }, "bool" }, { "number", {} },
        { "nothing", { 0, 3 } }, { "parameter", { 4 } } } do
        self:add_weight { w[2], name = w[1], dtype = w[3], trainable = false }
      end
    end })
    local holder = Holder()
    holder:build { 1 }
    tide.saving.load_torch(holder, folder .. "checkpoint.pt", { prefix = "state_dict." })
    local got = tide.saving.save_torch(holder)
    assert.same({ 16, 17, 18, 19 }, got.parameter:tolist())
    assert.equal(1 * 12 + 2 * 4 + 3, got.turned[{ 4, 2, 3 }])
    assert.same({ 0, 1, 2, 3 }, got.half:tolist())
    assert.same({ 4, 5, 6, 7 }, got.brain:tolist())
    assert.same({ 8, 9, 10, 11 }, got.double:tolist())
    assert.same({ 1, -2, 3 }, got.whole:tolist())
    assert.same({ 1, 2 }, got.small:tolist())
    assert.same({ true, false }, got.yes:tolist())
    assert.equal(2.5, got.number:item())
    assert.equal(12, got.part[{ 1, 1 }])
  end)

  it("is refused where it asks for more than tensors, and runs nothing", function()
    refused("asks for torch.nn.modules.linear.Linear, which would run code", "module.pt")
    refused("holds no dictionary of tensors", "bare.pt")
    refused("is a bare pickle, as PyTorch wrote before 1.6", "old.pt")
    expect.raises("is spread in its storage; save it with .contiguous()", tide.saving.load_torch,
      model, folder .. "spread.pt", { map = { [""] = { names = { "w" },
        weights = { model.layers[1].name .. "/kernel" }, read = function(t) return t end } },
        strict = false })
  end)

  local function archive(text)
    local path = expect.name ".pt"
    core.zip_write(path, { { "a/data.pkl", text }, { "a/data/0", ("\0"):rep(16) } })
    return path
  end

  -- A tensor of this size, stride and place in a storage of four numbers.
  local function tensor(size, stride, offset)
    local function tuple(t)
      local out = "("
      for _, n in ipairs(t) do
        out = out .. "J" .. ("<i4"):pack(n)
      end
      return out .. "t"
    end
    return "\x80\2}X\1\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\n"
      .. "FloatStorage\nX\1\0\0\0" .. "0X\3\0\0\0cpuK\4tQJ" .. ("<i4"):pack(offset) .. tuple(size)
      .. tuple(stride) .. "\x89}tRs."
  end

  it("that names functions, places outside its storage or nothing at all is refused", function()
    for _, row in ipairs {
      { "asks for os.system, which would run code", "cos\nsystem\n(X\4\0\0\0true\x85R." },
      { "asks for builtins.eval", "\x80\4\x8c\8builtins\x8c\4eval\x93." },
      { "past the end of its storage (4 elements, got the element 4)", tensor({ 5 }, { 1 }, 0) },
      { "past the end of its storage", tensor({ 2, 2 }, { 2, 1 }, 1) },
      { "describes a tensor that cannot be", tensor({ -1 }, { 1 }, 0) },
      { "describes a tensor that cannot be", tensor({ 1 }, { 1, 1 }, 0) },
      { "describes a tensor that cannot be", tensor({ 1 }, { 1 }, -1) },
      { "keys are neither text nor whole numbers", "}G\x7f\xf8\0\0\0\0\0\0K\1s." },
      { "is damaged", "}X\xff\xff\0\0w" }, { "is damaged", "" }, { "is damaged", "s." },
      { "opcode 0x69", "}i." }, { "holds no dictionary", "]." },
    } do
      local path = archive(row[2])
      expect.raises(row[1], tide.saving.load_torch, model, path)
      os.remove(path)
    end
    local path = archive(tensor({ 2, 2 }, { 1, 2 }, 0))
    expect.raises("not used: w", tide.saving.load_torch, model, path, { map = {} })
    os.remove(path)
  end)

  it("names what is wrong with the map and ignore, and who was asked", function()
    local net = tide.Sequential { L.Input { 3 }, L.Dense { 2, use_bias = false, name = "fc" } }
    local dict = tide.saving.save_torch(net)
    local load, save = tide.saving.load_torch, tide.saving.save_torch
    dict.more = ops.ones { 1 }
    expect.raises("load_torch: ignore[1] is no pattern (got '(': ", load, net, dict,
      { ignore = { "(" } })
    expect.raises("load_torch: ignore[1] must be a string (got 3)", load, net, dict,
      { ignore = { 3 } })
    dict.more = nil
    local function link(o)
      o.names, o.weights = { "fc.weight" }, { "kernel" }
      return { map = { fc = o } }
    end
    expect.raises("load_torch: the map's 'fc': read must be a function (got 3)", load, net, dict,
      link { read = 3 })
    expect.raises("load_torch: the map's 'fc': write must be a function (got true)", load, net,
      dict, link { write = true })
    expect.raises("load_torch: the map's 'fc': unknown option 'raed'; did you mean 'read'?", load,
      net, dict, link { raed = function(t) return t end })
    expect.raises("load_torch: the map's 'fc': level must be an integer at least 0 (got 'x')", load,
      net, dict, { map = { fc = { "fc", level = "x" } } })
    expect.raises("load_torch: the map's 'fc': unknown option 'lvl'", load, net, dict,
      { map = { fc = { "fc", lvl = 1 } } })
    expect.raises("save_torch: the map names 'foo', which is no layer or weight of the model", save,
      net, { map = { foo = "x" } })
    expect.raises("save_torch: the map must hold modules' names, { name, level = n } or links \z
      (got 3 for 'fc')", save, net, { map = { fc = 3 } })
  end)

  it("that is damaged anywhere gives tensors or one error", function()
    local z = core.zip_open(folder .. "text.pt")
    local whole = core.zip_read(z, "text/data.pkl")
    math.randomseed(5)
    for _ = 1, 100 do
      local text = whole
      for _ = 1, math.random(3) do
        local at = math.random(#text)
        text = text:sub(1, at - 1) .. string.char(math.random(0, 255)) .. text:sub(at + 1)
      end
      local path = archive(math.random(4) == 1 and text:sub(1, math.random(#text)) or text)
      local ok, e = pcall(tide.saving.load_torch, model, path)
      os.remove(path)
      assert.is_false(ok)
      assert.equal("table", type(e), tostring(e))
    end
  end)
end)
