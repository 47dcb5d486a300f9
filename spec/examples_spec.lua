-- Every program in examples/ runs to its end, on little work, and prints what it promises.
local expect = require "spec.support.expect"

local here = io.popen("pwd"):read "l"
local program = expect.program

-- example -> arguments that make it short, and lines that it must print
local rows = {
  linear_regression = { "", "[wy] = " },
  xor = { "", "%d" },
  custom_layer = { "", "%d" },
  custom_step = { "", "%d" },
  three_programs = { "programs", "accuracy 0%.%d+", "best_model.h5 predicts what the model does, within 0\n",
    "test accuracy [01]%.%d+" },
  two_inputs = { "", "%d" },
  train_config = { "fit.epochs=2 width=8", "test accuracy 0%.%d+", "saved circle%.keras", command = "train" },
  autoencoder = { "1 512", "%d" },
  pictures = { "1 60", "wrote 60 pictures", "Found 50 images belonging to 2 classes.", "test accuracy [01]%.%d+" },
  fashion_mnist = { "1 2560", "\ntest accuracy 0%.%d+\n", "equal predictions", "learning curves: " },
}

describe("examples", function()
  local folder
  setup(function()
    folder = expect.folder()
  end)
  teardown(function()
    os.execute("rm -rf " .. folder)
  end)

  local files = {}
  for path in io.popen("ls examples/*.lua"):lines() do
    files[#files + 1] = path:match "([^/]+)%.lua$"
  end

  for _, name in ipairs(files) do
    it("runs " .. name, function()
      local row = assert(rows[name], "examples/" .. name .. ".lua has no row here")
      local command = ("cd %s && %s %s %s/examples/%s.lua %s 2>&1 </dev/null"):format(folder, program, row.command or "", here,
        name, row[1])
      local pipe = io.popen(command)
      local out = pipe:read "a"
      local _, _, status = pipe:close()
      assert.equal(0, status, out)
      for i = 2, #row do
        assert.matches(row[i], out)
      end
    end)
  end

  it("has a program for every row", function()
    for name in pairs(rows) do
      assert.truthy(table.concat(files, " "):find(name, 1, true), name)
    end
  end)
end)
