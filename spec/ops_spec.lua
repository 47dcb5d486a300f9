-- Every op's case rows (spec/support/op_cases), and the gate: an op without a row, a text or a declared dtype fails.
-- TIDE_OPS=softmax,sum runs the rows of these ops only.
local core = require "tide.core"
local runner = require "spec.support.op_runner"

local only
if os.getenv "TIDE_OPS" then
  only = {}
  for name in os.getenv("TIDE_OPS"):gmatch "[^,%s]+" do
    only[name] = true
  end
end

local rows = runner.rows()

for _, row in ipairs(rows) do
  if not row.spec and (not only or only[row.op]) then
    describe(row.op .. (row.label and ", " .. row.label or ""), function()
      for _, check in ipairs(runner.checks(row)) do
        it(check[1], check[2])
      end
    end)
  end
end

if not only then
  describe("the gate", function()
    local has, typed = {}, {}
    for _, row in ipairs(rows) do
      has[row.op] = true
      typed[row.op] = typed[row.op] or row.dtypes or row.spec
    end

    -- Ops whose rows are still to be written; the list may only shrink, and a name with a row fails.
    local waiting = {}
    for name in ([[
      copy cast broadcast_to transpose reshape ravel expand_dims squeeze swapaxes moveaxis diagonal stop_gradient
      concatenate stack pad tile rep flip roll tril triu diag where take take_along_axis gather_nd scatter
      scatter_update put_rows slice slice_update boolean_mask one_hot flatnonzero bincount sort argsort top_k
      searchsorted digitize sum prod max min mean any all argmax argmin cumsum cumprod logsumexp var std count_nonzero
      clip round gelu glu bitwise_not isclose sinc matmul linear dot inner outer vdot vecdot conv conv_transpose
      depthwise_conv separable_conv max_pool average_pool adaptive_max_pool adaptive_average_pool depth_to_space
      space_to_depth dropout alpha_dropout random_uniform random_normal random_truncated_normal random_randint
      random_categorical random_shuffle embedding batch_gather negative abs sign square sqrt rsqrt cbrt reciprocal
      floor ceil rint trunc nan_to_num deg2rad rad2deg exp exp2 expm1 log log2 log10 log1p sin cos tan arcsin arccos
      arctan sinh cosh tanh arcsinh arccosh arctanh erf erfc erfinv relu leaky_relu relu6 elu celu selu gelu_erf
      gelu_tanh silu hard_silu mish sigmoid hard_sigmoid log_sigmoid hard_tanh tanh_shrink soft_shrink hard_shrink
      threshold softplus softsign squareplus sparse_plus sparse_sigmoid add subtract multiply divide divide_no_nan
      floor_divide mod fmod power maximum minimum fmax fmin squared_difference arctan2 hypot logaddexp logaddexp2
      heaviside copysign nextafter ldexp equal not_equal less less_equal greater greater_equal logical_and logical_or
      logical_xor logical_not isnan isinf isposinf isneginf isfinite signbit bitwise_and bitwise_or bitwise_xor
      left_shift right_shift gcd lcm
    ]]):gmatch "%S+" do
      waiting[name] = true
    end

    it("finds a case row for every op", function()
      local missing = {}
      for _, name in ipairs(core.op_names()) do
        if core.ops[name] and not core.op_info(name).private and not has[name] ~= (waiting[name] or false) then
          missing[#missing + 1] = name
        end
      end
      assert.are.equal("", table.concat(missing, " "))
    end)

    it("finds a text for every op and every argument", function()
      local missing = {}
      for _, name in ipairs(core.op_names()) do
        local info = core.op_info(name)
        if core.ops[name] and not info.private then
          if info.doc == "" then
            missing[#missing + 1] = name
          end
          for _, a in ipairs(info.args) do
            if not a.shape and a.doc == "" and not a.name:find "_$" then
              missing[#missing + 1] = name .. "." .. a.name
            end
          end
        end
      end
      assert.are.equal("", table.concat(missing, " "))
    end)

    it("finds the dtypes of every op declared", function()
      local missing = {}
      for _, name in ipairs(core.op_names()) do
        if has[name] and not core.op_info(name).private and not typed[name] then
          missing[#missing + 1] = name
        end
      end
      assert.are.equal("", table.concat(missing, " "))
    end)

    it("finds every spec that a row names, and the op's name in it", function()
      for _, row in ipairs(rows) do
        if row.spec then
          local f = assert(io.open(row.spec), row.spec .. " does not exist")
          local text = f:read "a"
          f:close()
          assert(text:find(row.op, 1, true), row.spec .. " does not name " .. row.op)
        end
      end
    end)
  end)
end
