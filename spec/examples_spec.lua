-- Every program in examples/ runs to its end, on little work, and prints what it promises.
local expect = require "spec.support.expect"

local here = io.popen("pwd"):read "l"
local program = expect.command

-- example -> arguments that make it short, and patterns of what it must print; `numbers`: what
-- those of the first must be near to; `falls`: how many times smaller its loss must become;
-- `above`: a pattern and what the number that it finds last must be above
local rows = {
  linear_regression = { "", "y = ([%d.]+) x %+ ([%d.]+)\n$", numbers = { 3, 2 } },
  xor = { "", "0 xor 0 = (%S+)\n0 xor 1 = (%S+)\n1 xor 0 = (%S+)\n1 xor 1 = (%S+)\n$",
    numbers = { 0, 1, 1, 0 } },
  custom_layer = { "", "gated %(Gated%)", falls = 4 },
  custom_step = { "", falls = 2 },
  three_programs = { "programs", "accuracy 0%.%d+",
    "best_model.h5 predicts what the model does, within 0\n", "test accuracy [01]%.%d+" },
  pipeline = { "2 1000", "left out: record 1: the checksum of its data differs",
    "\nthe same %d+ batches follow\n", above = { "accuracy: ([%d.]+)", 0.6 } },
  augment_pictures = { "40 100", "a mixed batch: %[40, 24, 24, 3%]\n",
    above = { "of pictures that it never saw: (%d+)%%", 55 } },
  resume = { "", "the power is gone\n", "\nequal to the last bit\n$" },
  tensorboard = { "board", "tensorboard %-%-logdir board\n",
    above = { "accuracy: ([%d.]+)", 0.9 } },
  two_inputs = { "", "numbers, flatten", falls = 10 },
  train_config = { "fit.epochs=2 width=8", "test accuracy 0%.%d+", "saved circle%.keras",
    command = "train" },
  autoencoder = { "1 512", "val_loss: 0%.%d+\n[ .:=+*#%%@\n-]+$" },
  sentiment = { "3", "praise: well the story was never brilliant\n",
    above = { "val_accuracy: ([%d.]+)", 0.95 } },
  write_text = { "4 60", "\nthis is the [a-z \n.]+\n$", above = { "accuracy: ([%d.]+)", 0.6 } },
  addition = { "2 1000", "of new sums are right\n$", above = { "accuracy: ([%d.]+)", 0.17 } },
  transformer = { "1 2000", "who has %a+%? %a+ %(%a+%)\n$",
    above = { "accuracy: ([%d.]+)", 0.25 } },
  mini_gpt = { "2 1500", "\nonce a [^\n]+\nonce a [^\n]+\nonce a [^\n]+\nonce a [^\n]+\n$",
    falls = 1.5 },
  vae = { "3 2000", "\n[ .:=+*#%%@\n-]+$", falls = 1.2 },
  gan = { "1 600", "generator_loss: [%d.]+\n[ .:=+*#%%@\n-]+$" },
  siamese = { "1 1000", above = { "%skinds: ([%d.]+)%%", 60 } },
  review_folder = { "3 60", "Found 96 texts belonging to 2 classes.",
    "praise: The music was warm and clever, the ending moving!\nblame: Dull.",
    above = { "val_accuracy: ([%d.]+)", 0.85 } },
  audio_commands = { "5 300", "Found 300 files belonging to 10 classes.",
    "0 to 0.5 seconds, 0 to 4000 hertz from below\nit is the word '%a+'",
    above = { "val_accuracy: ([%d.]+)", 0.4 } },
  structured_data = { "3 1500", "a smoking clerk of 45: %d+%%\na smoking baker of 45: %d+%%\n$",
    above = { "val_accuracy: ([%d.]+)", 0.7 } },
  ratings = { "4 6000", "%[6000 rows, 3 columns%]", above = { "times smaller: ([%d.]+)", 1.3 } },
  wide_and_deep = { "2 6000", above = { "AUC of what was not seen: ([%d.]+)", 0.58 } },
  next_token = { "4 600", "\na grey cat[^\n]+\n$", above = { "accuracy: ([%d.]+)", 0.6 } },
  series = { "4 160", "four steps ahead: off by 0%.[012]%d*, by 0%.%d+" },
  forecast = { "3 120", "off by ([%d.]+), by ([%d.]+) as yesterday", falls = 1.5 },
  transfer = { "1 1000", "frozen, new head +[%d.]+%% right, +1290 weights trained",
    above = { "and LoRA +([%d.]+)%%", 30 } },
  pictures = { "1 60", "wrote 60 pictures", "Found 50 images belonging to 2 classes.",
    "test accuracy [01]%.%d+" },
  fashion_mnist = { "1 2560", "\ntest accuracy 0%.%d+\n", "equal predictions",
    "learning curves: " },
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
      local command = ("cd %s && %s %s %s/%s.lua %s 2>&1 </dev/null"):format(folder, program,
        row.command or "", expect.quoted(here .. "/examples"), name, row[1])
      local pipe = io.popen(command)
      local out = pipe:read "a"
      local _, _, status = pipe:close()
      assert.equal(0, status, out)
      for i = 2, #row do
        assert.matches(row[i], out)
      end
      if row.numbers then
        local got = { out:match(row[2]) }
        for i, want in ipairs(row.numbers) do
          expect.close(tonumber(got[i]), want, 0.1, 0)
        end
      end
      if row.falls then
        local first, last = out:match "loss ([%d.]+) %-> ([%d.]+)\n"
        assert.is_true(tonumber(last) * row.falls < tonumber(first), out)
      end
      if row.above then
        local last
        for number in out:gmatch(row.above[1]) do
          last = tonumber(number)
        end
        assert.is_true(last > row.above[2], out)
      end
    end)
  end

  it("has a program for every row", function()
    for name in pairs(rows) do
      assert.truthy(table.concat(files, " "):find(name, 1, true), name)
    end
  end)
end)
