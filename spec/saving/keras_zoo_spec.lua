-- Every layer, op node, optimizer, loss and metric through Keras' files, both ways
-- (spec/ref/keras_zoo.py).
local expect = require "spec.support.expect"
local tide = require "tide"
local core = require "tide.core"
local zoo = require "spec.support.keras_zoo"

-- What Keras found in the files that Tide wrote again: name -> line.
local opened = {}
for line in io.lines "spec/ref/keras_zoo.txt" do
  local name, rest = line:match "^([%w_]+): (.*)$"
  if name then
    opened[name] = rest
  end
end

local function crc32(text)
  local crc = 0xffffffff
  for i = 1, #text do
    crc = crc ~ text:byte(i)
    for _ = 1, 8 do
      crc = crc & 1 == 1 and crc >> 1 ~ 0xedb88320 or crc >> 1
    end
  end
  return ~crc & 0xffffffff
end

describe("the zoo of Keras' models", function()
  for _, name in ipairs(zoo.names()) do
    local want = zoo.expected(name)
    local path = zoo.folder .. name .. ".keras"

    if want.inputs then
      it(name .. " gives Keras' outputs", function()
        local far = zoo.far(zoo.run(tide.load_model(path), want), want.outputs)
        assert.is_true(far < 1e-5, "outputs differ by " .. far)
      end)
    else
      it(name .. " has Keras' loss and metrics, and trains on as Keras does", function()
        local model = tide.load_model(path)
        local logs = model:evaluate(want.x, want.y, { verbose = 0, return_dict = true })
        for k, v in pairs(want.evaluate) do
          local got = logs[k]
          for i, x in ipairs(type(v) == "table" and v or { v }) do
            local g = type(got) == "number" and got or type(got) == "userdata" and got:tolist()[i]
              or got and got[i]
            -- NaN (a logarithm of negative predictions) stands as 0 in the file
            g = g ~= g and 0 or g
            assert.is_true(g and math.abs(g - x) <= 1e-5 * math.max(1, math.abs(x)) or false,
              ("%s is %s, expected %s"):format(k, tostring(g), x))
          end
        end
        model:train_on_batch(want.x, want.y)
        local far = zoo.far(model.weights, want.after)
        assert.is_true(far < 2e-6, "weights differ by " .. far)
        assert.equal(want.iterations, model.optimizer.iterations)
      end)
    end

    if want.inputs then
      it(name .. " goes through every other kind of file", function()
        local model = tide.load_model(path)
        for _, extension in ipairs { ".h5", ".safetensors" } do
          local file = expect.name(extension)
          model:save(file)
          local far = zoo.far(zoo.run(tide.load_model(file), want), want.outputs)
          os.remove(file)
          assert.is_true(far < 1e-5, ("outputs of %s differ by %g"):format(extension, far))
        end
        local folder = expect.folder()
        model:save_weights(folder .. "/w.weights.json", { max_shard_size = 2e-6 })
        model:save(folder .. "/open", { zipped = false })
        local again = tide.load_model(folder .. "/open")
        assert.is_true(zoo.far(zoo.run(again, want), want.outputs) < 1e-5)
        again = tide.load_model(path)
        for _, w in ipairs(again.weights) do
          w:assign(tide.ops.zeros_like(w))
        end
        again:load_weights(folder .. "/w.weights.json")
        os.execute("rm -r " .. folder)
        local far = zoo.far(zoo.run(again, want), want.outputs)
        assert.is_true(far < 1e-5, "outputs after shards differ by " .. far)
      end)
    end

    it(name .. " is written as Keras opened it, with equal results", function()
      local again = expect.name ".keras"
      tide.load_model(path):save(again)
      local checksum = crc32(core.zip_read((core.zip_open(again)), "config.json"))
      os.remove(again)
      local line = assert(opened[name], name .. " is not in spec/ref/keras_zoo.txt: make it anew")
      assert.equal(("%08x"):format(checksum), line:match "config (%x+)$")
      local n = 0
      for d in line:gmatch "by ([%d%.e%-]+)" do
        assert.is_true(tonumber(d) < 1e-5, line)
        n = n + 1
      end
      assert.is_true(n >= 2)
    end)
  end
end)
