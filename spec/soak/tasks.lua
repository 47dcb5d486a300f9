--- What is done while allocations fail (memory.lua): each task is a function that prepares and
--- returns one that does the work and returns a text, the same at every call.
local tide, core = require "tide", require "tide.core"
local L, ops = tide.layers, tide.ops

local tasks = {}

local function text(...)
  local out = {}
  for i, v in ipairs { ... } do
    out[i] = core.is_tensor(v) and ops.copy(v:detach()):tobytes() or tostring(v)
  end
  return table.concat(out, "|")
end

local function weights(model)
  local out = {}
  for i, w in ipairs(model:get_weights()) do
    out[i] = w:tobytes()
  end
  return table.concat(out)
end

local function small()
  tide.seed(5)
  local model = tide.Sequential {
    L.Dense { 6, activation = "relu", input_shape = { 4 } }, L.BatchNormalization {},
    L.Dense { 3, activation = "softmax" },
  }
  model:compile { optimizer = "adam", loss = "categorical_crossentropy", metrics = { "accuracy" } }
  return model
end

local function data()
  tide.seed(6)
  return tide.random.uniform { 12, 4 }, ops.one_hot(tide.random.randint({ 12 }, 1, 4), 3)
end

function tasks.build()
  return function()
    local i = tide.Input { 8, 8, 3 }
    local x = L.Conv2D { 4, 3, padding = "same" } (i)
    x = L.Add {} { x, L.Conv2D { 4, 1 } (i) }
    x = L.Flatten {} (x)
    local model = tide.Model { inputs = i, outputs = L.Dense { 2 } (x) }
    return text(model:count_params(), #model.layers)
  end
end

function tasks.fit()
  local model, x, y = small(), data()
  local first = model:get_weights()
  return function()
    model:set_weights(first)
    model:compile { optimizer = "adam", loss = "categorical_crossentropy",
      metrics = { "accuracy" } }
    tide.seed(7)
    local h = model:fit(x, y, { epochs = 2, batch_size = 5, verbose = 0 })
    return text(weights(model), h.loss[2])
  end
end

function tasks.predict()
  local model, x, y = small(), data()
  return function()
    local loss = model:evaluate(x, y, { verbose = 0 })
    return text(model:predict(x, { verbose = 0, batch_size = 5 }), loss)
  end
end

function tasks.backward()
  local x, y = data()
  return function()
    tide.seed(3)
    local w = tide.random.normal { 4, 3 }
    w.requires_grad = true
    local loss = ops.mean((x:matmul(w):tanh() - y) ^ 2)
    loss:backward()
    return text(w.grad, loss)
  end
end

function tasks.second()
  return function()
    local x = tide.tensor { 0.5, 1.5, 2.5 }
    return text(tide.hessian(function(v) return ops.sum(ops.exp(v) * v) end, x))
  end
end

function tasks.convolution()
  tide.seed(4)
  local x, k = tide.random.normal { 2, 9, 9, 16 }, tide.random.normal { 3, 3, 16, 16 }
  return function()
    local a, b = x:detach(), k:detach()
    a.requires_grad, b.requires_grad = true, true
    local y = ops.conv(a, b, { padding = "same", strides = 2 })
    local g = core.gradients(ops.sum(y * y), { a, b })
    return text(y, g[1], g[2])
  end
end

function tasks.pooling()
  tide.seed(4)
  local x = tide.random.normal { 2, 8, 8, 3 }
  return function()
    local a = x:detach()
    a.requires_grad = true
    local y = ops.max_pool(a, 2) + ops.average_pool(a, 2)
    return text(y, core.gradients(ops.sum(y), { a })[1])
  end
end

function tasks.embedding()
  local ids = tide.tensor({ { 1, 3 }, { 2, 3 } }, { dtype = "int64" })
  return function()
    tide.seed(2)
    local model = tide.Sequential { tide.Input { 2 }, L.Embedding { 5, 3 },
      L.GlobalAveragePooling1D {}, L.Dense { 1 } }
    model:compile { optimizer = "sgd", loss = "mse" }
    model:train_on_batch(ids, tide.ones { 2, 1 })
    return weights(model)
  end
end

function tasks.sorting()
  tide.seed(4)
  local x = tide.random.normal { 40, 9 }
  return function()
    return text(ops.sort(x), ops.argsort(x), ops.cumsum(x, { axis = 1 }), (ops.top_k(x, 3)))
  end
end

function tasks.einsum()
  tide.seed(4)
  local a, b = tide.random.normal { 3, 4, 5 }, tide.random.normal { 3, 5, 2 }
  return function()
    return text(ops.einsum("bij,bjk->bik", a, b), ops.einsum("bij->bji", a))
  end
end

function tasks.matrices()
  tide.seed(4)
  local a = tide.random.normal { 6, 6 }
  return function()
    local u, s, v = ops.linalg.svd(a)
    return text(u, s, v, ops.linalg.inv(a), (ops.linalg.qr(a)))
  end
end

function tasks.index()
  tide.seed(4)
  local x = tide.random.normal { 7, 6 }
  return function()
    local y = ops.copy(x)
    y[{ { 1, -1, 2 }, 3 }] = 1
    return text(y[x:greater(0)], y[{ { -1, 1, -1 } }], y[3])
  end
end

function tasks.lists()
  tide.seed(4)
  local x = tide.random.normal { 5, 6 }
  return function()
    return text(tide.tensor(x:tolist()), tostring(x))
  end
end

function tasks.summary()
  local model = small()
  return function()
    local out = {}
    model:summary { print_fn = function(line) out[#out + 1] = line end }
    return table.concat(out, "\n")
  end
end

function tasks.clone()
  local model = small()
  return function()
    local again = tide.models.clone_model(model)
    return text(again:count_params(), core.json_encode(again:get_config()))
  end
end

for name, file in pairs { safetensors = "m.safetensors", keras = "m.keras", h5 = "m.h5",
  weights = "m.weights.h5" } do
  tasks["save_" .. name] = function(folder)
    local model, path = small(), folder .. "/" .. file
    return function()
      if name == "weights" then
        model:save_weights(path)
      else
        model:save(path)
      end
      return "saved"
    end
  end
  tasks["load_" .. name] = function(folder)
    local model, path = small(), folder .. "/" .. file
    if name == "weights" then
      model:save_weights(path)
    else
      model:save(path)
    end
    local again = small()
    return function()
      if name == "weights" then
        again:load_weights(path)
        return weights(again)
      end
      return weights(tide.load_model(path))
    end
  end
end

function tasks.arrays(folder)
  local x, y = data()
  return function()
    tide.save({ x = x, y = y }, folder .. "/a.npz")
    local back = tide.load(folder .. "/a.npz")
    return text(back.x, back.y)
  end
end

function tasks.pictures(folder)
  tide.seed(1)
  local x = tide.random.uniform({ 12, 10, 3 }, { minval = 0, maxval = 255 })
  return function()
    local out = {}
    for _, name in ipairs { "p.png", "p.jpg" } do
      tide.image.save(folder .. "/" .. name, x)
      out[#out + 1] = tide.image.load(folder .. "/" .. name):tobytes()
    end
    return table.concat(out)
  end
end

function tasks.folders(folder)
  tide.seed(1)
  for _, class in ipairs { "a", "b" } do
    os.execute("mkdir -p " .. folder .. "/" .. class)
    for i = 1, 3 do
      tide.image.save(("%s/%s/%d.png"):format(folder, class, i),
        tide.random.uniform({ 6, 6, 3 }, { minval = 0, maxval = 255 }))
    end
  end
  return function()
    local flow = tide.preprocessing.image.ImageDataGenerator { rescale = 1 / 255 }
      :flow_from_directory(folder, { target_size = { 5, 5 }, batch_size = 3, shuffle = false })
    local x, y = flow:next()
    return text(x, y)
  end
end

function tasks.json()
  local sample = core.json_encode { a = { 1, 2.5, "x" }, ["registered_name"] = { b = { true } },
    long = ("word "):rep(200) }
  return function()
    return core.json_encode(core.json_decode(sample))
  end
end

function tasks.completion()
  local complete = require "tide.repl.complete"
  return function()
    local out = {}
    for _, line in ipairs { "string.for", "tide.layers.Glo", "tide.layers.Dense { use" } do
      local word = line:match "[%w_.:]*$"
      out[#out + 1] = table.concat(complete.words(word, line:sub(1, #line - #word), _G), ",")
    end
    return table.concat(out, " ")
  end
end

function tasks.help()
  local help = require "tide.help"
  return function()
    return tostring(help.text(L.Dense, "tide.layers.Dense"))
  end
end

function tasks.plot()
  return function()
    return tide.plot.lines({ 1, 2, 3, 2, 5 }, { width = 30, height = 6 })
  end
end

function tasks.random()
  return function()
    tide.seed(9)
    return text(tide.random.normal { 9 }, tide.random.shuffle(ops.arange(1, 9)))
  end
end

-- Pictures with their boxes, each layer with numbers of its own.
function tasks.augment()
  tide.seed(2)
  local x = tide.random.uniform({ 2, 6, 6, 3 }, { minval = 0, maxval = 255 })
  local layers = { L.RandomFlip { seed = 1 }, L.RandomRotation { 0.2, seed = 2 },
    L.RandomBrightness { 0.3, seed = 3 }, L.RandAugment { seed = 4 }, L.CenterCrop { 4, 4 } }
  local first = {}
  return function()
    tide.seed(11)
    local y = x
    for i, layer in ipairs(layers) do
      first[i] = first[i] or layer:get_config()
      y = getmetatable(layer).from_config(first[i])(y, { training = true })
    end
    return text(y)
  end
end

function tasks.stages()
  return function()
    tide.seed(12)
    local out = {}
    local set = tide.data.Dataset.range(20):shuffle(8, { seed = 3 })
      :map(function(x) return x * 2 end):batch(3):prefetch(2):take(5)
    for x in set:iter() do
      out[#out + 1] = table.concat(x:tolist(), ",")
    end
    return table.concat(out, ";")
  end
end

function tasks.columns(folder)
  local path = folder .. "/a.csv"
  local file = assert(io.open(path, "w"))
  file:write "name,size,kind\n"
  for i = 1, 12 do
    file:write(("n%d,%g,%s\n"):format(i, i / 4, i % 2 == 0 and "even" or "odd"))
  end
  file:close()
  return function()
    local out = {}
    local set = tide.data.make_csv_dataset(path, { batch_size = 5, shuffle = false,
      num_epochs = 1 })
    for x in set:iter() do
      out[#out + 1] = tostring(x.size:tolist()[1]) .. tostring(x.name[1])
    end
    return table.concat(out, ";")
  end
end

function tasks.tokens()
  return function()
    local t = tide.tokenizers.BPE():train(
      { "the cat sat on the mat", "the dog sat on the log" }, { vocab_size = 24 })
    local e = t:encode "the cat on the log"
    return table.concat(e.ids, ",") .. t:decode(e.ids)
  end
end

function tasks.sound(folder)
  local path = folder .. "/a.wav"
  return function()
    local x = ops.sin(ops.arange(400) * 0.1)
    tide.audio.save(path, x, 8000)
    local y, rate = tide.audio.load(path)
    local re, im = ops.stft(tide.audio.resample(y, rate, 4000):reshape { -1 }, 64, 32, 64)
    return text(re, im)
  end
end

-- A board's files: what is whole of them must be records.
function tasks.board(folder)
  local model, x, y = small(), data()
  local first = model:get_weights()
  local n = 0
  return function()
    n = n + 1
    model:set_weights(first)
    model:compile { optimizer = "sgd", loss = "categorical_crossentropy" }
    tide.seed(7)
    model:fit(x, y, { epochs = 2, batch_size = 6, verbose = 0,
      callbacks = { tide.callbacks.TensorBoard { folder .. "/board" .. n, histogram_freq = 1 } } })
    return text(weights(model))
  end
end

return tasks
