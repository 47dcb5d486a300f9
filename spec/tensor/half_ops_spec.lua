-- Ops that read and write float16 and bfloat16 themselves, by pieces: positions, running sums,
-- several contributions to one place, dropout.
local expect = require "spec.support.expect"
local support = require "spec.support.half"
local tide = require "tide"
local core = require "tide.core"
local ops = tide.ops

local halves, half, wide = support.formats, support.half, support.wide
local rounds_once = support.rounds_once
local shapes = { { 1 }, { 7 }, { 9000 }, { 64, 100 }, { 30, 257 }, { 4, 5, 6 }, { 3, 513, 2 } }

-- Bytes of work space that a call of `f` takes at its highest, its result with it.
local function peak(f)
  collectgarbage()
  collectgarbage()
  core.memory_reset_peak()
  local before = tide.memory().live_bytes
  local keep = f()
  return tide.memory().peak_bytes - before, keep
end

describe("running sums and products in half precision", function()
  it("are float32's, rounded once, with their gradients", function()
    tide.seed(15)
    for _, d in ipairs(halves) do
      for _, s in ipairs(shapes) do
        local x = tide.random.normal(s) * 0.05 + 1
        for axis = 1, #s do
          for _, name in ipairs { "cumsum", "cumprod" } do
            rounds_once(name .. table.concat(s, "x") .. axis, function(v)
              return ops[name](v, { axis = axis })
              -- the rule of cumprod reads its result rounded
            end, { name == "cumsum" and x * 0.1 or x ^ 0.01 }, d, name == "cumsum" and 1 or 3)
          end
        end
        rounds_once("flat " .. table.concat(s, "x"), ops.cumsum, { x * 0.1 }, d)
      end
    end
  end)
end)

describe("positions in half precision", function()
  local special = { 3, -0.0, 0, 1 / 0, -1 / 0, 0 / 0, 2 ^ -20, -2 ^ -20, 3, 1, 0 / 0, -7 }

  it("are those of the same numbers in float32", function()
    tide.seed(16)
    for _, d in ipairs(halves) do
      local inputs = { half(special, d), half({ 1, 0 / 0, 3 }, d), half({ -1 / 0 }, d) }
      for _, s in ipairs(shapes) do
        inputs[#inputs + 1] = ops.round(tide.random.normal(s) * 20):cast(d)
      end
      for _, x in ipairs(inputs) do
        local z = x:cast "float32"
        for axis = 1, x.ndim do
          for _, name in ipairs { "argmax", "argmin", "argsort" } do
            local got, want = ops[name](x, { axis = axis }), ops[name](z, { axis = axis })
            expect.close(got, type(want) == "number" and want or want:tolist(), 0, 0, name)
          end
          local sorted = ops.sort(x, { axis = axis })
          assert.equal(d, sorted.dtype)
          expect.close(wide(sorted), wide(ops.sort(z, { axis = axis })), 0, 0)
        end
        assert.equal(ops.argmax(z), ops.argmax(x))
        assert.equal(ops.argmin(z), ops.argmin(x))
        for _, k in ipairs { 1, 3, 60 } do
          if k <= x.shape[x.ndim] then
            local v, at = ops.top_k(x, k)
            local w, there = ops.top_k(z, k)
            assert.equal(d, v.dtype)
            expect.close(wide(v), wide(w), 0, 0)
            expect.close(at, there:tolist(), 0, 0)
          end
        end
      end
      local line = half({ -2, 0, 1, 1, 5 }, d)
      local values = half({ -3, 1, 0.5, 9 }, d)
      assert.same({ 1, 3, 3, 6 }, ops.searchsorted(line, values):tolist())
    end
  end)

  it("pass gradients to where elements came from", function()
    tide.seed(17)
    for _, d in ipairs(halves) do
      for _, s in ipairs { { 9 }, { 5, 7 }, { 4, 5, 6 }, { 2, 300, 3 } } do
        local n = 1
        for _, e in ipairs(s) do
          n = n * e
        end
        local x = ops.reshape(ops.mod(ops.arange(n):cast "float32" * 7, n), s) -- no two alike
        for axis = 1, #s do
          rounds_once("sort", function(v)
            return ops.sort(v, { axis = axis })
          end, { x * (200 / n) }, d)
        end
        rounds_once("top_k", function(v)
          return (ops.top_k(v, 2))
        end, { x * (200 / n) }, d)
      end
    end
  end)
end)

describe("several contributions to one place in half precision", function()
  it("are added in float32 and rounded once", function()
    tide.seed(18)
    for _, d in ipairs(halves) do
      local table_ = tide.random.normal { 11, 5 }
      local ids = ops.mod(ops.arange(700) * 5, 11) + 1
      for axis = 1, 2 do
        local at = axis == 1 and ids or ops.mod(ids, 5) + 1
        rounds_once("take", function(v)
          return ops.take(v, at, { axis = axis })
        end, { table_ }, d)
      end
      rounds_once("take flat", function(v)
        return ops.take(v, ids)
      end, { table_ }, d)
      rounds_once("embedding", function(v)
        return ops.embedding(v, ids)
      end, { table_ }, d)
      local along = ops.mod(ops.reshape(ops.arange(11 * 60), { 11, 60 }) * 3, 5) + 1
      rounds_once("take_along", function(v)
        return ops.take_along_axis(v, along, { axis = 2 })
      end, { table_ }, d)
      local places = ops.reshape(ids, { 700, 1 })
      rounds_once("scatter", function(v)
        return ops.scatter(places, v, { 11, 5 })
      end, { tide.random.normal { 700, 5 } }, d)
    end
  end)

  it("are combined by every reduction of scatter_update", function()
    tide.seed(19)
    local places = ops.reshape(ops.mod(ops.arange(60) * 5, 11) + 1, { 60, 1 })
    for _, d in ipairs(halves) do
      for _, how in ipairs { "add", "mul", "max", "min" } do
        local x, u = tide.random.uniform({ 11, 5 }) + 0.5, tide.random.uniform({ 60, 5 }) + 0.5
        rounds_once("scatter_update " .. how, function(v, w)
          return ops.scatter_update(v, places, w, { reduction = how })
        end, { x, u }, d, how == "mul" and 3 or 1)
      end
      local x = half({ 1, 2, 0 / 0, 4 }, d)
      local at, by = tide.tensor { { 1 }, { 2 }, { 2 } }, half({ 5, 0 / 0, 7 }, d)
      local most = ops.scatter_update(x, at:cast "int64", by, { reduction = "max" })
      expect.close(wide(most), { 5, 0 / 0, 0 / 0, 4 }, 0, 0)
    end
  end)
end)

describe("dropout in half precision", function()
  it("keeps what float32 keeps, forward and backward", function()
    for _, d in ipairs(halves) do
      for _, s in ipairs { { 1 }, { 63 }, { 64 }, { 1000 }, { 30, 70 } } do
        for _, name in ipairs { "dropout", "alpha_dropout" } do
          for _, rate in ipairs { 0.3, 1 } do
            rounds_once(name, function(v)
              return ops[name](v, rate, { seed = 5 })
            end, { tide.random.normal(s) }, d)
            if #s == 2 then
              rounds_once(name .. " with its shape", function(v)
                return ops[name](v, rate, { seed = 5, noise_shape = { 30, 1 } })
              end, { tide.random.normal(s) }, d)
            end
          end
        end
      end
    end
  end)
end)

describe("work space of ops on halves", function()
  it("holds no float32 copy of the tensor", function()
    local n = 1 << 20
    for _, d in ipairs(halves) do
      local x = ops.reshape(ops.mod(ops.arange(n):cast "float32", 251):cast(d), { 1024, 1024 })
      local f = {
        cumsum = { n * 2, function() return ops.cumsum(x, { axis = 2 }) end },
        cumprod = { n * 2, function() return ops.cumprod(x, { axis = 1 }) end },
        sort = { n * 2, function() return ops.sort(x, { axis = 2 }) end },
        argsort = { n * 8, function() return ops.argsort(x, { axis = 2 }) end },
        argmax = { 1024 * 8, function() return ops.argmax(x, { axis = 1 }) end },
        top_k = { 1024 * 20, function() return { ops.top_k(x, 2) } end },
        dropout = { n * 2, function() return ops.dropout(x, 0.5) end },
        normal = { n * 2, function() return tide.random.normal({ n }, { dtype = d }) end },
        uniform = { n * 2, function() return tide.random.uniform({ n }, { dtype = d }) end },
      }
      for name, case in pairs(f) do
        local most = peak(case[2])
        assert.is_true(most < case[1] + n, name .. " " .. most)
      end
    end
  end)
end)
