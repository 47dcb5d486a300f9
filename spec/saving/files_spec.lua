-- What every reader and every writer does with names that are no plain files: pipes, devices,
-- folders, links, names that are cut or too long.
local core = require "tide.core"
local expect = require "spec.support.expect"
local tide = require "tide"

local folder
before_each(function()
  folder = expect.folder()
end)
after_each(function()
  os.execute("rm -rf " .. folder)
end)

local function sh(line, ...)
  assert.is_true(os.execute(line:format(...)), line)
end

local function small()
  return tide.Sequential { tide.layers.Dense { 2, input_shape = { 3 } } }
end

local function load_weights(path)
  small():load_weights(path)
end

local function load_torch(path)
  tide.saving.load_torch(small(), path)
end

local function load_lora(path)
  small():load_lora_weights(path)
end

-- Name of a file -> what reads it.
local readers = {
  { "m.safetensors", tide.load_model },
  { "m.keras", tide.load_model },
  { "m.h5", tide.load_model },
  { "w.safetensors", load_weights },
  { "w.keras", load_weights },
  { "w.h5", load_weights },
  { "w.weights.h5", load_weights },
  { "w.weights.json", load_weights },
  { "w.npz", load_weights },
  { "s.safetensors", load_torch },
  { "s.pt", load_torch },
  { "l.safetensors", load_lora },
  { "e.keras", tide.saving.KerasFileEditor },
  { "e.weights.h5", tide.saving.KerasFileEditor },
  { "e.safetensors", tide.saving.KerasFileEditor },
  { "t.safetensors", tide.load },
  { "t.npy", tide.load },
  { "t.npz", tide.load },
  { "p.png", tide.preprocessing.image.load_img },
  { "p.jpg", tide.image.load },
  { "f.bin", core.read_file },
  { "f.idx", core.idx_read },
  { "f.map", function(path)
    return core.map_file(path, "uint8", { 1 })
  end },
  { "f.h5", core.hdf5_open },
  { "f.zip", core.zip_open },
  { "f.safetensors", core.safetensors_open },
  { "train-images-idx3-ubyte", function(path)
    local dir = path:match "^(.*)/"
    for _, name in ipairs { "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
      "t10k-labels-idx1-ubyte" } do
      sh("mkfifo %s/%s 2>/dev/null || true", dir, name)
    end
    return tide.datasets.mnist { dir }
  end, anywhere = true },
}

describe("a reader", function()
  for _, row in ipairs(readers) do
    local name, read = row[1], row[2]
    it("of " .. name .. " refuses a pipe and a device, and does not wait", function()
      local path = folder .. "/" .. name
      sh("mkfifo %s", path)
      expect.raises("is a pipe, not a regular file", read, path)
      os.remove(path)
      sh("ln -s /dev/zero %s", path)
      expect.raises("not a regular file", read, path)
    end)
    if not row.anywhere then
      it("of " .. name .. " refuses folders, cut names and long ones", function()
        local path = folder .. "/" .. name
        sh("mkdir %s", path)
        expect.raises("is a folder", read, path)
        expect.raises("zero byte", read, folder .. "/x\0" .. name)
        expect.raises("name too long", read, folder .. "/" .. ("x"):rep(260) .. name)
      end)
    end
  end
end)

local function save_model(path)
  local m = small()
  m:compile { optimizer = "adam", loss = "mse" }
  m:save(path)
end
local function save_weights(path)
  small():save_weights(path)
end
local function save_lora(path)
  local m = small()
  m.layers[1]:enable_lora(1)
  m:save_lora_weights(path)
end
-- Writes what an editor has read.
local function edit(path)
  local source = folder .. "/source" .. path:match "%.[%a%d.]+$"
  small():save_weights(source)
  local editor = tide.saving.KerasFileEditor(source)
  os.remove(source)
  editor:save(path)
end
local function picture(path)
  tide.preprocessing.image.save_img(path, tide.ones { 4, 4, 3 })
end
local function picture_of(width, path)
  tide.preprocessing.image.save_img(path, tide.ones { 1, width, 3 }, { scale = false })
end
local function one(path)
  tide.save(tide.ones { 3 }, path)
end
-- Name of a file -> what writes it, and what reads it again.
local writers = {
  { "m.safetensors", save_model, tide.load_model },
  { "m.keras", save_model, tide.load_model },
  { "m.h5", save_model, tide.load_model },
  { "w.safetensors", save_weights, load_weights },
  { "w.weights.h5", save_weights, load_weights },
  { "w.h5", save_weights, load_weights },
  { "w.weights.json", save_weights, load_weights },
  { "w.npz", save_weights, load_weights },
  { "s.safetensors", function(path)
    tide.saving.save_torch(small(), path)
  end, function(path)
    tide.saving.load_torch(small(), path)
  end },
  { "l.safetensors", save_lora, load_lora },
  { "e.weights.h5", edit, load_weights },
  { "e.safetensors", edit, load_weights },
  { "t.safetensors", one, tide.load },
  { "t.npy", one, tide.load },
  { "t.npz", function(path)
    tide.save({ tide.ones { 3 } }, path)
  end, tide.load },
  { "p.png", picture, tide.image.load },
  { "p.jpg", picture, tide.image.load },
  { "p.bmp", picture, tide.image.load },
  { "p.ppm", picture, tide.image.load },
  { "f.txt", function(path)
    core.write_file(path, "text")
  end, core.read_file },
}

local function listed()
  local pipe = io.popen("ls -A " .. folder)
  local text = pipe:read "a"
  pipe:close()
  return text
end

describe("a writer", function()
  for _, row in ipairs(writers) do
    local name, write, read = row[1], row[2], row[3]
    it("of " .. name .. " writes where a link points, also where nothing is yet", function()
      local path = folder .. "/" .. name
      sh("mkdir %s/far && ln -s far/%s %s", folder, name, path)
      for _ = 1, 2 do
        write(path)
        sh("test -L %s && test -f %s/far/%s", path, folder, name)
        read(path)
      end
      os.remove(path)
      sh("ln -s l2 %s && ln -s far/other %s/l2", path, folder)
      write(path)
      sh("test -L %s && test -L %s/l2 && test -f %s/far/other", path, folder, folder)
    end)

    it("of " .. name .. " leaves pipes, devices, folders and circles as they are", function()
      local path = folder .. "/" .. name
      sh("mkfifo %s", path)
      expect.raises("not a regular file", write, path)
      sh("test -p %s && rm %s && ln -s /dev/null %s", path, path, path)
      expect.raises("not a regular file", write, path)
      sh("test -c /dev/null && rm %s && mkdir %s", path, path)
      expect.raises("is a folder", write, path)
      sh("rmdir %s && ln -s %s %s", path, name, path)
      expect.raises("symbolic links", write, path)
      sh("test -L %s", path)
    end)

    it("of " .. name .. " takes names up to the longest there are, and no cut one", function()
      local longest = folder .. "/" .. ("é"):rep((255 - #name) // 2)
      if name ~= "w.weights.json" then -- its parts have longer names
        write(longest .. name)
        read(longest .. name)
      end
      expect.raises("name too long", write, longest .. "xyz" .. name)
      expect.raises(name == "w.weights.json" and "control character" or "zero byte", write,
        folder .. "/cut\0" .. name)
      assert.is_nil(listed():find("tide-tmp", 1, true))
      assert.is_nil(listed():find("cut", 1, true))
    end)

    it("of " .. name .. " removes what a killed one left, and nothing of a living one", function()
      local path = folder .. "/" .. name
      write(path)
      local left = listed()
      local program = folder .. "/kill.lua"
      local f = io.open(program, "w")
      f:write([[
        local core = require "tide.core"
        core.io_fault("write", 1, "kill")
        core.write_file(arg[1], "half")]])
      f:close()
      -- a killed writer, one that waits with the lock held, another killed one
      sh("%s %s %s >/dev/null 2>&1; test -f %s.tide-tmp", expect.lua, program, path, path)
      sh("touch %s/live", folder)
      local living = io.popen(("cd %s && cp %s.tide-tmp %s.tide-tmp1 && flock -x %s.tide-tmp1 "
        .. "sh -c 'echo held; while [ -e live ]; do sleep 0.02; done'"):format(folder, path, path,
        path))
      assert.equal("held", living:read "l")
      sh("cp %s.tide-tmp %s.tide-tmp2", path, path)
      write(path)
      sh("rm %s/live %s", folder, program)
      living:close()
      sh("test -f %s.tide-tmp1 && rm %s.tide-tmp1", path, path)
      assert.equal(left, listed())
      read(path)
    end)
  end
end)

-- What is written is read again, or was refused before a byte of the old file was touched.
describe("a name", function()
  local names = { "", ".", "..", "a/b", "/a", "a/", "a//b", "é", "\xff", "a:b", "a b",
    "__metadata__", "\27]0;title\7", "a\nb", "vars", ("x"):rep(300), ("x"):rep(5000),
    ("x"):rep(70000), ("d/"):rep(70) .. "x" }
  local formats = { "m.safetensors", "m.keras", "m.h5", "w.weights.h5", "w.h5", "w.safetensors",
    "w.weights.json" }

  for _, format in ipairs(formats) do
    it("of a layer is refused by " .. format .. " or read again", function()
      local path = folder .. "/" .. format
      for _, name in ipairs(names) do
        local function make()
          local made = tide.Sequential { tide.layers.Dense { 2, input_shape = { 3 }, name = name } }
          made:compile { optimizer = "adam", loss = "mse" }
          return made
        end
        local made, m = pcall(make)
        if not made then -- refused sooner
          m = small()
        end
        core.write_file(path, "old")
        local ok, e = pcall(format:find "^m" and m.save or m.save_weights, m, path)
        if ok then
          local again = format:find "^m" and tide.load_model(path) or made and make() or small()
          if format:find "^w" then
            again:load_weights(path)
          end
          assert.same(m.weights[1]:detach():tolist(), again.weights[1]:detach():tolist())
        else
          assert.is_true(require("tide.errors").is(e), tostring(e))
          assert.equal("old", expect.read(path), name:sub(1, 20))
        end
      end
    end)
  end

  for _, format in ipairs { "t.safetensors", "t.npz" } do
    it("of a tensor is refused by " .. format .. " or read again", function()
      local path = folder .. "/" .. format
      for _, name in ipairs(names) do
        core.write_file(path, "old")
        local ok, e = pcall(tide.save, { [name] = tide.arange(3) }, path)
        if ok then
          assert.same({ 0, 1, 2 }, tide.load(path)[name]:tolist(), name:sub(1, 20))
        else
          assert.is_true(require("tide.errors").is(e), tostring(e))
          assert.equal("old", expect.read(path), name:sub(1, 20))
        end
      end
    end)
  end
end)

describe("sharded weights", function()
  it("are written under names that are read again", function()
    for _, name in ipairs { "my model", "modèle", "a'b", "-x" } do
      local path = folder .. "/" .. name .. ".weights.json"
      local m = small()
      m:save_weights(path, { max_shard_size = 1e-8 })
      local again = small()
      again:load_weights(path)
      assert.same(m.weights[1]:detach():tolist(), again.weights[1]:detach():tolist())
    end
    expect.raises("control character", save_weights, folder .. "/a\nb.weights.json")
  end)
end)

describe("a picture", function()
  it("that no reader takes is not written", function()
    expect.raises("at most 16384 per side", picture_of, 16385, folder .. "/long.png")
    picture_of(16384, folder .. "/long.png")
    assert.same({ 1, 16384, 3 }, tide.image.load(folder .. "/long.png").shape:totable())
  end)
end)

-- Every place of lua/ and src/ that opens, makes or removes files. A new one is given its row among
-- the readers or the writers above (or goes through what they go through), then its number here.
describe("the places that touch files", function()
  -- How often a pattern of grep stands in the code of each file.
  local function counted(pattern, where)
    local out = {}
    local pipe = io.popen(("grep -rnE %s %s"):format(expect.quoted(pattern), where))
    for line in pipe:lines() do
      local path, text = line:match "^([^:]+):%d+:(.*)$"
      if not text:find "^%s*%-%-" and not text:find "^%s*/?%* " then
        out[path] = (out[path] or 0) + 1
      end
    end
    pipe:close()
    return out
  end

  it("of Lua are those known", function()
    local pattern = "\\b(io\\.(open|lines|popen|input|output)|os\\.(execute|remove|rename|tmpname)"
      .. "|loadfile|dofile)\\b *[(\"' ]"
    assert.same({
      ["lua/tide/env.lua"] = 3, ["lua/tide/init.lua"] = 1, -- Tide's own modules
      ["lua/tide/help/source.lua"] = 1, -- sources of functions that run
      -- a person's own programs and editor
      ["lua/tide/repl/init.lua"] = 2, ["lua/tide/repl/commands.lua"] = 7,
      ["lua/tide/repl/unset.lua"] = 1,
      ["lua/tide/cli/train.lua"] = 1,
      ["lua/tide/data/worker.lua"] = 1, -- what its function prints goes aside
      ["lua/tide/cli/doctor.lua"] = 1, -- what ldd says
      ["lua/tide/plot/picture.lua"] = 4, -- the terminal
      -- checkpoints that were whole: put aside, and dropped when newer ones are
      ["lua/tide/callbacks/backup.lua"] = 3, ["lua/tide/callbacks/manager.lua"] = 1,
      ["lua/tide/utils/events.lua"] = 1, -- names of the machine that /proc gives
    }, counted(pattern, "lua"))
  end)

  it("of Lua that call the core are those known", function()
    local pattern = "core\"?\\)?\\.((read|write|append|map)_file|idx_read|zip_(open|write)"
      .. "|hdf5_open|blob_write|safetensors_(open|write)|mkdirs|listdir)\\b"
    local files = {}
    for path in pairs(counted(pattern, "lua")) do
      files[#files + 1] = path:match "^lua/tide/(.*)%.lua$"
    end
    table.sort(files)
    assert.same({ "callbacks/classes", "callbacks/manager", "callbacks/projector",
      "callbacks/reports", "callbacks/tensorboard", "cli/inspect", "data/dataset",
      "data/readers", "data/saved", "data/stages/cache", "data/texts",
      "datasets", "datasets/files", "datasets/movielens", "datasets/numpy", "feature_column",
      "layers/vocabulary", "plot/png", "plot/svg",
      "preprocessing/image/files", "preprocessing/image/listing", "preprocessing/text/numbers",
      "profiler",
      "repl/commands", "repl/complete", "repl/history", "saving/keras/h5", "saving/keras/init",
      "saving/keras/legacy", "saving/lora", "saving/safetensors", "saving/tensors",
      "saving/torch/init", "saving/torch/pickle", "saving/torch/state", "saving/tree",
      "tokenizers/families", "tokenizers/tokenizer", "training/checkpoint", "utils/events",
      "utils/listing" }, files)
  end)

  it("of C are those known", function()
    local pattern = "\\b(open|openat|fopen|freopen|creat|gzopen|gzdopen|zip_fdopen|mkstemp|opendir"
      .. "|memfd_create|mkdir|rename|renameat|unlink|unlinkat|truncate|ftruncate|symlink|link)\\("
    assert.same({
      ["src/io/file.c"] = 2, -- the one that opens for reading; mkdirs
      ["src/io/writer.c"] = 11, -- the one that writes
      ["src/io/idx.c"] = 1, ["src/io/zip.c"] = 3, -- of what file.c opened; a file in memory
      ["src/io/hdf5.c"] = 2, -- files in memory
      ["src/repl/terminal.c"] = 2, -- the history
      ["src/bind/names.c"] = 1, -- listdir
      ["src/alloc.c"] = 3, ["src/team.c"] = 3, ["src/bind/runtime.c"] = 1, -- /proc and /sys
    }, counted(pattern, "src --include=*.c --include=*.h"))
  end)
end)
