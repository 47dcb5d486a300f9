-- TensorBoard's event files: messages and records byte for byte those of TensorFlow, and what the
-- callback puts into them.
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local events = require "tide.utils.events"
local json = require "tide.utils.json"
local traces = require "tide.utils.traces"
local layers = tide.layers
local reference = require "spec.ref.events"

local function hex(s)
  return (s:gsub(".", function(c)
    return ("%02x"):format(c:byte())
  end))
end

-- ---- a reader, for the specs alone ----

local function fields(s)
  local out, at = {}, 1
  local function varint()
    local n, shift = 0, 0
    repeat
      local b = s:byte(at)
      n, shift, at = n | (b & 0x7f) << shift, shift + 7, at + 1
    until b < 0x80
    return n
  end
  while at <= #s do
    local key = varint()
    local kind = key & 7
    local v
    if kind == 0 then
      v = varint()
    elseif kind == 1 then
      v, at = string.unpack("<d", s, at)
    else
      local n = varint()
      v, at = s:sub(at, at + n - 1), at + n
    end
    out[key >> 3] = out[key >> 3] or {}
    table.insert(out[key >> 3], v)
  end
  return out
end

local function masked(s)
  local c = core.crc32c(s)
  return ((c >> 15 | c << 17) + 0xa282ead8) & 0xffffffff
end

-- The events of a folder's only file.
local function read(folder)
  local names = core.listdir(folder)
  assert.equal(1, #names)
  assert.matches("^events%.out%.tfevents%.%d+%.[%w%.%-_]+%.%d+%.%d+$", names[1])
  local text, at, out = expect.read(folder .. "/" .. names[1]), 1, {}
  while at <= #text do
    local n, sum, data, last
    n, at = string.unpack("<I8", text, at)
    assert.equal(masked(string.pack("<I8", n)), string.unpack("<I4", text, at))
    data, sum = text:sub(at + 4, at + 3 + n), string.unpack("<I4", text, at + 4 + n)
    assert.equal(masked(data), sum)
    at, last = at + 8 + n, fields(data)
    out[#out + 1] = last
  end
  assert.equal("brain.Event:2", out[1][3][1])
  return out
end

-- tag -> list of { step, value } of scalars, or the bytes of the tensor of others.
local function values(folder)
  local out = {}
  for _, e in ipairs(read(folder)) do
    for _, summary in ipairs(e[5] or {}) do
      for _, bytes in ipairs(fields(summary)[1]) do
        local v = fields(bytes)
        local t, tag = fields(v[8][1]), v[1][1]
        out[tag] = out[tag] or {}
        table.insert(out[tag], { e[2][1], t[5] and string.unpack("<f", t[5][1]) or t })
      end
    end
  end
  return out
end

local dir
before_each(function()
  dir = expect.folder()
end)
after_each(function()
  os.execute("rm -r " .. dir)
end)

describe("event files", function()
  it("hold TensorFlow's messages, byte for byte", function()
    assert.equal(reference.scalar, hex(events.scalar("epoch_loss", 0.375)))
    assert.equal(reference.histogram,
      hex(events.histogram("w/histogram", { { -1, 0, 4 }, { 0, 1, 200 } })))
    assert.equal(reference.images, hex(events.images("w/image", 5, 7, { "png" })))
    assert.equal(reference.graph, hex(events.graph {
      { name = "in", op = "InputLayer", inputs = {}, shapes = { { -1, 3 } } },
      { name = "dense", op = "Dense", inputs = { "in", "in:1" }, shapes = { { -1, 300 } } },
    }))
  end)

  it("are records with CRC-32C", function()
    assert.equal(reference.record, hex(events.record "some data of a record"))
    -- RFC 3720, B.4
    assert.equal(0x8a9136aa, core.crc32c(("\0"):rep(32)))
    assert.equal(0x62a8ab43, core.crc32c(("\255"):rep(32)))
    assert.equal(0xe3069283, core.crc32c "123456789")
    assert.equal(0, core.crc32c "")
    local bytes, sum = {}, 0xffffffff -- bit by bit
    for i = 1, 7000 do
      bytes[i] = string.char(i * i % 251)
      sum = sum ~ i * i % 251
      for _ = 1, 8 do
        sum = sum >> 1 ~ (sum & 1) * 0x82f63b78
      end
      if i % 512 < 9 then
        assert.equal(sum ~ 0xffffffff, core.crc32c(table.concat(bytes)))
      end
    end
  end)
end)

describe("TensorBoard", function()
  local function model()
    tide.seed(2)
    local m = tide.Sequential { layers.Conv2D { 3, 3, input_shape = { 6, 6, 1 } },
      layers.Flatten(), layers.Dense { 2, activation = "softmax" } }
    m:compile { loss = "sparse_categorical_crossentropy", metrics = { "accuracy" },
      optimizer = { "sgd", learning_rate = 0.25 } }
    return m
  end
  local function fit(o, more)
    tide.seed(1)
    local x, y = tide.random.normal { 8, 6, 6, 1 }, tide.random.randint({ 8 }, 1, 3)
    o[1] = dir .. "/run"
    local options = { epochs = 3, batch_size = 4, verbose = 0, validation_data = { x, y },
      callbacks = { tide.callbacks.TensorBoard(o) } }
    for k, v in pairs(more or {}) do
      options[k] = v
    end
    local m = model()
    return m:fit(x, y, options), m
  end
  local function close(want, got)
    for i, v in ipairs(want) do
      assert.equal(i, got[i][1])
      expect.close(got[i][2], v, 0, 1e-7)
    end
    assert.equal(#want, #got)
  end

  it("writes logs of epochs and validations", function()
    local h = fit {}
    local train, validation = values(dir .. "/run/train"), values(dir .. "/run/validation")
    close(h.loss, train.epoch_loss)
    close(h.accuracy, train.epoch_accuracy)
    close({ 0.25, 0.25, 0.25 }, train.epoch_learning_rate)
    close(h.val_loss, validation.epoch_loss)
    assert.is_nil(train.batch_loss)
    for i, v in ipairs(h.val_accuracy) do
      local e = validation.evaluation_accuracy_vs_iterations[i]
      assert.equal(2 * i, e[1])
      expect.close(e[2], v)
    end
  end)

  it("writes batches, and the graph once", function()
    fit({ update_freq = 2, write_steps_per_second = true }, nil)
    local seen = values(dir .. "/run/train")
    assert.same({ 2, 4, 6 }, { seen.batch_loss[1][1], seen.batch_loss[2][1],
      seen.batch_loss[3][1] })
    assert.is_true(seen.batch_steps_per_second[1][2] > 0)
    assert.is_true(seen.epoch_steps_per_second[3][2] > 0)
    local graphs = {}
    for _, e in ipairs(read(dir .. "/run/train")) do
      graphs[#graphs + 1] = e[4] and e[4][1]
    end
    assert.equal(1, #graphs)
    local ops = {}
    for i, n in ipairs(fields(graphs[1])[1]) do
      ops[i] = fields(n)[2][1]
    end
    assert.same({ "InputLayer", "Conv2D", "Flatten", "Dense" }, ops)
  end)

  it("writes weights as histograms and pictures", function()
    local _, m = fit({ histogram_freq = 2, write_images = true, write_graph = false })
    local seen = values(dir .. "/run/train")
    local path = m.layers[1].weights[1]
    local kernel = seen[path.path .. "/histogram"]
    assert.equal(1, #kernel)
    assert.equal(2, kernel[1][1])
    local numbers, total = kernel[1][2][6][1], 0
    assert.equal(30 * 3 * 8, #numbers)
    for i = 0, 29 do
      local left, right, count = string.unpack("<ddd", numbers, i * 24 + 1)
      assert.is_true(left < right)
      total = total + count
    end
    assert.equal(path.size, total)
    local pictures = seen[m.weights[3].path .. "/image"][1][2][8]
    assert.same({ "48", "2" }, { pictures[1], pictures[2] })
    assert.equal("png", tide.image.format(pictures[3]))
  end)

  it("traces batches for TensorBoard and for Perfetto", function()
    local lines = { { name = "batches", spans = { { "batch 1", 0, 0.5 } } },
      { name = "ops", spans = { { "matmul", 0.001, 0.25, 4096 }, { "relu", 0.3, 0.125, 7 },
        { "matmul", 0.45, 0.0078125, 300 } } } }
    -- the fields of the space and of its plane; a map's entries have no order
    local function parts(bytes)
      local space = fields(bytes)
      local plane = fields(space[1][1])
      table.sort(plane[4])
      return { space[4], plane }
    end
    local bytes = traces.xspace(lines, 1700000000000000000, "here")
    local theirs = reference.trace:gsub("%x%x", function(h)
      return string.char(tonumber(h, 16))
    end)
    assert.equal(#theirs, #bytes)
    assert.same(parts(theirs), parts(bytes))
    for given, want in pairs { [2] = { 2, 2 }, ["3"] = { 3, 3 }, ["2,4"] = { 2, 4 },
      [{ 1, 3 }] = { 1, 3 }, [{ 5, 90 }] = { 5, 6 } } do
      fit { profile_batch = given, write_graph = false }
      local folder = dir .. "/run/train/plugins/profile"
      local run = folder .. "/" .. core.listdir(folder)[1]
      local found = {}
      for _, name in ipairs(core.listdir(run)) do
        found[name:match "%.(.*)$"] = expect.read(run .. "/" .. name)
      end
      local space = fields(fields(found["xplane.pb"])[1][1])
      assert.equal("/host:CPU", space[2][1])
      local batches, ops = fields(space[3][1]), fields(space[3][2])
      assert.equal(want[2] - want[1] + 1, #batches[4])
      assert.is_true(#ops[4] > 8)
      local inside, names = 0, {}
      for _, e in ipairs(json.decode(found["trace.json"]).traceEvents) do
        names[e.name] = true
        if e.ph == "X" and e.tid == 1 then
          inside = inside + e.dur
        elseif e.ph == "X" and e.tid == 2 then
          inside = inside - e.dur
          assert.is_true(e.ts >= 0 and e.args.bytes >= 0)
        end
      end
      assert.is_true(inside > 0, "ops run longer than their batches")
      assert.is_true(names.optimizer and names.loss and names["loss (gradient)"]
        and names.conv and names["batch " .. want[1]] and names["batch " .. want[2]]
        and not names["batch " .. want[2] + 1])
      os.execute("rm -r " .. dir .. "/run")
    end
    fit { profile_batch = 7 } -- of 6
    assert.is_false(core.file_exists(dir .. "/run/train/plugins"))
  end)

  it("leaves no profile behind where training fails, and none that another began", function()
    local crash = { on_train_batch_begin = function() error("crash", 0) end }
    expect.raises("crash", fit, {}, { callbacks = {
      tide.callbacks.TensorBoard { dir .. "/run", profile_batch = 1 }, crash } })
    collectgarbage()
    collectgarbage()
    local rows = tide.profile(function()
      fit { profile_batch = 1 } -- warns
    end, { print = false })
    assert.is_true(#rows > 5)
    assert.is_nil(rows.spans)
    assert.is_false(core.file_exists(dir .. "/run/train/plugins"))
  end)

  it("writes the tables of embeddings for the projector", function()
    local m = tide.Sequential { tide.Input { 3, dtype = "int32" },
      layers.Embedding { 5, 2, name = "words" }, layers.Flatten(), layers.Dense { 1 } }
    m:compile { loss = "mse", optimizer = tide.optimizers.MultiOptimizer {
      tide.optimizers.OptimizerMap { tide.optimizers.SGD { 0.5, name = "plain" },
        { ["words/.*"] = tide.optimizers.Adam { 0.25, name = "table" } } } } }
    local x, y = tide.ones({ 4, 3 }, { dtype = "int32" }), tide.ones { 4, 1 }
    local function train(o)
      o[1], o.embeddings_freq = dir .. "/run", o.embeddings_freq or 2
      m:fit(x, y, { epochs = 3, verbose = 0, callbacks = { tide.callbacks.TensorBoard(o),
        { on_epoch_end = function(epoch)
          if epoch == 2 then
            m.kept = m.layers[1].embeddings:tolist()
          end
        end } } })
    end
    train { embeddings_metadata = { words = 'a "label".tsv' } }
    local rows = {}
    for line in expect.read(dir .. "/run/embeddings/words.tsv"):gmatch "[^\n]+" do
      local row = {}
      for v in line:gmatch "[^\t]+" do
        row[#row + 1] = tonumber(v)
      end
      rows[#rows + 1] = row
    end
    expect.close(rows, m.kept, 0, 1e-6)
    assert.equal([[
embeddings {
  tensor_name: "words"
  tensor_shape: 5
  tensor_shape: 2
  tensor_path: "embeddings/words.tsv"
  metadata_path: "a \042label\042.tsv"
}
]], expect.read(dir .. "/run/projector_config.pbtxt"))
    local seen = values(dir .. "/run/train")
    close({ 0.5, 0.5, 0.5 }, seen.epoch_learning_rate_plain)
    close({ 0.25, 0.25, 0.25 }, seen.epoch_learning_rate_table)
    expect.raises("'wrods', which is no embedding of", train, {
      embeddings_metadata = { wrods = "x.tsv" } })
    expect.raises("must hold paths (got 3 for 'words')", train, {
      embeddings_metadata = { words = 3 } })
    expect.write(dir .. "/run/embeddings2", "")
    os.execute("rm -r " .. dir .. "/run/embeddings")
    expect.write(dir .. "/run/embeddings", "") -- a file in the way is said, and training goes on
    train {}
  end)

  it("says what is wrong with its options", function()
    for _, wrong in ipairs { -1, "a", "1,2,3", { 3, 2 }, { 1 }, { 0, 2 }, { 1.5, 2 } } do
      expect.raises("profile_batch must be", function()
        tide.callbacks.TensorBoard { profile_batch = wrong }
      end)
    end

    expect.raises("update_freq must be", function()
      tide.callbacks.TensorBoard { update_freq = "never" }
    end)
    expect.raises("log_dir must be", function() tide.callbacks.TensorBoard { "" } end)
    local name = expect.write(dir .. "/file", "")
    expect.raises("file: not a folder", function()
      fit({}, { callbacks = { tide.callbacks.TensorBoard { name } } })
    end)
  end)

  it("keeps events while the disk is full", function()
    local w = events.writer(dir .. "/full")
    w:add(1, events.scalar("a", 1))
    core.io_fault("write", 1, "nospace")
    w:flush()
    core.io_fault("write", 0)
    w:add(2, events.scalar("a", 2))
    w:flush()
    assert.same({ a = { { 1, 1.0 }, { 2, 2.0 } } }, values(dir .. "/full"))
  end)
end)
