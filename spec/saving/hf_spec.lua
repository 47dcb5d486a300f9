-- Checkpoints of Hugging Face's transformers (spec/ref/hf_models.py) in Tide, by ready maps.
local expect = require "spec.support.expect"
local tide = require "tide"
local L = tide.layers
local ops = tide.ops

local folder = "spec/fixtures/torch/hf_"

local function file(name)
  return folder .. name .. ".safetensors"
end

local function run(name)
  return tide.load(file(name .. "_run"))
end

local function near(got, want, tolerance)
  assert.same(want.shape:totable(), got.shape:totable())
  local far = ops.max(ops.abs(got - want)):item()
  assert.is_true(far <= (tolerance or 2e-5) * math.max(1, ops.max(ops.abs(want)):item()),
    ("differs by %g"):format(far))
end

local function gpt2(options)
  local o = { 23, 2, 3, 12, 20, max_sequence_length = 12 }
  for k, v in pairs(options or {}) do
    o[k] = v
  end
  return tide.models.GPT2Backbone(o)
end

local function bert()
  return tide.models.BertBackbone { 23, 2, 3, 12, 20, max_sequence_length = 12 }
end

local function texts(r)
  return { token_ids = r.ids, padding_mask = r.mask, segment_ids = r.segments }
end

-- What save_torch makes of a model is what the file holds, but for buffers.
local function goes_back(model, map, state, prefix)
  local out = tide.saving.save_torch(model, nil, { map = map })
  for name, t in pairs(out) do
    local there = state[prefix .. name] or state[name]
    assert.is_truthy(there, name)
    near(t, there, 0)
  end
end

describe("ready maps of load_torch", function()
  it("read GPT-2, whose padded steps no other sees", function()
    local r, model = run "gpt2", gpt2()
    local found = tide.saving.load_torch(model, file "gpt2", { map = "gpt2" })
    assert.same({}, found.ignored:totable())
    near(model(texts(r)), r.hidden)
    goes_back(model, "gpt2", tide.load(file "gpt2"), "")
  end)

  it("read GPT-2 with its head, which is the table of ids, and write as it does", function()
    local r = run "gpt2_head"
    local body = gpt2 { padding_mask = false }
    local scores = body:get_layer "token_embedding"(body.outputs[1], { reverse = true })
    local model = tide.Model { inputs = body.inputs[1], outputs = scores }
    tide.saving.load_torch(model, file "gpt2_head", { map = "gpt2" })
    local whole = r.ids[{ { 1, 1 } }]
    near(model(whole), r.logits[{ { 1, 1 } }])
    goes_back(model, "gpt2", tide.load(file "gpt2_head"), "transformer.")
    local cache = tide.KeyValueCache { 12 }
    local prompt, written = r.ids[{ { 1, 1 }, { 1, 3 } }], {}
    tide.no_grad(function()
      local y = model(prompt, { cache = cache })
      for i = 1, 6 do
        written[i] = y[{ 1, -1 }]:argmax() - 1 -- ids count from 0
        y = model(tide.tensor({ { written[i] } }, { dtype = "int32" }), { cache = cache })
      end
    end)
    local want = r.written[1]:tolist()
    assert.same(table.move(want, 4, 9, 1, {}), written)
  end)

  it("read BERT with segments and padding", function()
    local r, model = run "bert", bert()
    tide.saving.load_torch(model, file "bert", { map = "bert" })
    local y = model(texts(r))
    near(y.sequence_output, r.hidden)
    near(y.pooled_output, r.pooled)
    goes_back(model, "bert", tide.load(file "bert"), "")
  end)

  it("read a BERT of the first years' names with a head, as a layer of a model", function()
    local r, body = run "bert_head", bert()
    local inputs = {}
    for _, name in ipairs { "token_ids", "segment_ids", "padding_mask" } do
      inputs[name] = tide.Input { tide.none, dtype = "int32", name = name }
    end
    local y = L.Dense { 2, name = "classifier" }(body(inputs).pooled_output)
    local model = tide.Model { inputs = inputs, outputs = y }
    local found = tide.saving.load_torch(model, file "bert_head", { map = "bert" })
    assert.same({}, found.ignored:totable())
    near(model(texts(r)), r.logits)
    found = tide.saving.load_torch(bert(), file "bert_head", { map = "bert" })
    assert.same({ "classifier.bias", "classifier.weight" }, found.ignored:totable())
  end)

  it("read ViT, also of pictures that are not square", function()
    local r = run "vit"
    local body = tide.models.ViTBackbone { { 8, 12, 3 }, 4, 2, 3, 12, 20,
      layer_norm_epsilon = 1e-12 }
    local pooled = L.Dense { 12, activation = "tanh", name = "pooler" }(
      body.outputs[1][{ {}, 1 }])
    local model = tide.Model { inputs = body.inputs, outputs = { body.outputs[1], pooled } }
    tide.saving.load_torch(model, file "vit", { map = "vit" })
    local hidden, of_first = table.unpack(model(r.x))
    near(hidden, r.hidden)
    near(of_first, r.pooled)
    goes_back(model, "vit", tide.load(file "vit"), "")
  end)

  it("read ViT with a head", function()
    local r = run "vit_head"
    local body = tide.models.ViTBackbone { { 8, 8, 3 }, 4, 2, 3, 12, 20,
      layer_norm_epsilon = 1e-12 }
    local model = tide.Model { inputs = body.inputs,
      outputs = L.Dense { 5, name = "classifier" }(body.outputs[1][{ {}, 1 }]) }
    tide.saving.load_torch(model, file "vit_head", { map = "vit" })
    near(model(r.x), r.logits)
  end)

  it("keep models through files", function()
    local vit = tide.models.ViTBackbone { { 8, 12, 3 }, 4, 2, 3, 12, 20,
      layer_norm_epsilon = 1e-12 }
    for _, row in ipairs { { "bert", bert() }, { "gpt2", gpt2() }, { "vit", vit } } do
      local name, model = table.unpack(row)
      local r = run(name)
      tide.saving.load_torch(model, file(name), { map = name, ignore = { "^pooler" } })
      local function give(m)
        local y = m(r.x or texts(r))
        return type(y) == "table" and y.pooled_output or y
      end
      for _, ending in ipairs { ".safetensors", ".keras" } do
        local path = os.tmpname() .. ending
        model:save(path)
        near(give(tide.load_model(path)), give(model), 0)
        os.remove(path)
      end
    end
  end)

  it("say what does not fit", function()
    local dense = tide.Sequential { L.Dense { 2, input_shape = { 3 } } }
    expect.raises("unknown map 'gpt'; did you mean 'gpt2'?", tide.saving.load_torch, dense,
      file "gpt2", { map = "gpt" })
    expect.raises("the map 'bert' is for models with the layers that tide.models.BertBackbone",
      tide.saving.load_torch, dense, file "bert", { map = "bert" })
    expect.raises("missing: h.2.attn.c_attn.weight", tide.saving.load_torch,
      tide.models.GPT2Backbone { 23, 3, 3, 12, 20, max_sequence_length = 12 }, file "gpt2",
      { map = "gpt2" })
    expect.raises("of the wrong shape: wte.weight (expected [24, 12], got [23, 12])",
      tide.saving.load_torch, tide.models.GPT2Backbone { 24, 2, 3, 12, 20,
        max_sequence_length = 12 }, file "gpt2", { map = "gpt2" })
    expect.raises("not used: h.1.attn.c_attn.bias", tide.saving.load_torch,
      tide.models.GPT2Backbone { 23, 1, 3, 12, 20, max_sequence_length = 12 }, file "gpt2",
      { map = "gpt2" })
    expect.raises("hidden_dim must be a multiple of num_heads (got 12 and 5)",
      tide.models.GPT2Backbone, { 23, 1, 5, 12, 20 })
    expect.raises("image_shape must be (height, width, channels)", tide.models.ViTBackbone,
      { { 3, 8, 3 }, 4, 1, 3, 12, 20 })
  end)
end)
