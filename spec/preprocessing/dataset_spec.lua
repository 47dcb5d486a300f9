-- image_dataset_from_directory: what comparing with Keras (pictures_spec.lua) does not show.
local compare = require "spec.ref.pictures"
local tide = require "tide"

local from_directory = tide.utils.image_dataset_from_directory

local message = require("spec.support.expect").message

local files, copies = {}, {}
for i = 1, 10 do
  for _, class in ipairs { "left", "right" } do
    local name = ("%s/%02d.png"):format(class, i)
    files[#files + 1] = name
    copies[name] = ("set_%d.png"):format(class == "left" and 0 or 2)
  end
end

describe("image_dataset_from_directory", function()
  it("divides shuffled files into parts that do not overlap, by the seed", function()
    compare.with_tree(files, copies, function(root)
      local o = { image_size = { 8, 8 }, validation_split = 0.25, subset = "both", seed = 3,
        verbose = false, batch_size = 4 }
      local train, held = from_directory(root, o)
      assert.equal(15, train.n)
      assert.equal(5, held.n)
      assert.equal(4, #train)
      local seen = {}
      for _, part in ipairs { train, held } do
        for _, path in ipairs(part.file_paths) do
          assert.is_nil(seen[path])
          seen[path] = true
        end
      end
      o.subset = "validation"
      assert.same({ table.unpack(held.file_paths) },
        { table.unpack(from_directory(root, o).file_paths) })
      o.seed = 4
      assert.are_not.same({ table.unpack(held.file_paths) },
        { table.unpack(from_directory(root, o).file_paths) })
    end)
  end)

  it("feeds fit, evaluate and predict", function()
    compare.with_tree(files, copies, function(root)
      tide.seed(1)
      local data = from_directory(
        root, { image_size = { 8, 8 }, label_mode = "binary", seed = 1, verbose = false,
          batch_size = 8 })
      local model = tide.Sequential {
        tide.Input { 8, 8, 3 }, tide.layers.Rescaling { 1 / 255 }, tide.layers.Flatten(),
          tide.layers.Dense { 1, activation = "sigmoid" } }
      model:compile { optimizer = tide.optimizers.Adam { 0.05 }, loss = "binary_crossentropy",
        metrics = { "accuracy" } }
      model:fit(data, { epochs = 12, verbose = 0 })
      local _, accuracy = model:evaluate(data, { verbose = 0 })
      assert.equal(1, accuracy)
      assert.equal("[20, 1]", tostring(model:predict(data, { verbose = 0 }).shape))
    end)
  end)

  it("takes labels as a list, or none", function()
    compare.with_tree(files, copies, function(root)
      local labels = {}
      for i = 1, 20 do
        labels[i] = (i % 3 + 1) * (i > 10 and 1.0 or 1) -- whole floats are labels too
      end
      local data = from_directory(
        root, { labels = labels, label_mode = "categorical", image_size = { 4, 4 }, shuffle = false,
          verbose = false })
      local _, y = data:get(1)
      assert.equal("[20, 3]", tostring(y.shape))
      assert.equal(1, y[4][2])
      assert.same({ "1", "2", "3" }, { table.unpack(data.class_names) })
      local x, none = from_directory(root,
        { label_mode = tide.none, image_size = { 4, 4 }, verbose = false }):get(1)
      assert.equal("[20, 4, 4, 3]", tostring(x.shape))
      assert.is_nil(none)
      labels[20] = nil
      assert.truthy(message(from_directory, root,
        { labels = labels }):find("19 labels for 20 files", 1, true))
    end)
  end)

  it("names files that cannot be read, or skips and counts them", function()
    local good = { ["a/1.png"] = "set_0.png", ["b/1.png"] = "set_1.png" }
    compare.with_tree({ "a/1.png", "a/2.png", "b/1.png" }, good, function(root)
      local o = { image_size = { 4, 4 }, shuffle = false, verbose = false }
      local data = from_directory(root, o)
      assert.truthy(message(data.get, data, 1):find(root .. "/a/2.png: is empty", 1, true))
      o.on_error = "skip"
      data = from_directory(root, o)
      local x, y = data:get(1)
      assert.equal("[2, 4, 4, 3]", tostring(x.shape))
      assert.same({ 1, 2 }, { table.unpack(y:tolist()) })
      assert.equal(1, data.skipped)
      assert.truthy(data.bad_files[root .. "/a/2.png"]:find("is empty", 1, true))
    end)
  end)

  for _, case in ipairs(require "spec.ref.decode") do
    local file, h, w, channels, bytes = table.unpack(case)
    it(("reads %s, %d channels, as TensorFlow"):format(file, channels), function()
      local root = os.tmpname()
      os.remove(root)
      assert(os.execute(("mkdir -p '%s/a' && cp 'spec/ref/%s' '%s/a'"):format(root, file, root)))
      local data = from_directory(root, { color_mode = channels == 1 and "grayscale" or "rgb",
        image_size = { h, w }, verbose = false })
      local x = data:get(1):reshape({ -1 }):tolist()
      os.execute(("rm -r '%s'"):format(root))
      local want = {}
      for byte in bytes:gmatch "%x%x" do
        want[#want + 1] = tonumber(byte, 16) + 0.0
      end
      assert.equal(table.concat(want, " "), table.concat(x, " "))
    end)
  end

  it("gives single pictures where there is no batch size", function()
    compare.with_tree(files, copies, function(root)
      local o = { batch_size = tide.none, image_size = { 8, 6 }, shuffle = false, verbose = false }
      local data = from_directory(root, o)
      assert.equal(20, #data)
      local n, labels = 0, {}
      for x, y in data:iter() do
        n = n + 1
        assert.equal("[8, 6, 3]", tostring(x.shape))
        labels[n] = y
      end
      assert.equal(20, n)
      assert.same({ 1, 1, 2 }, { labels[1], labels[10], labels[11] })
      o.batch_size, o.label_mode = nil, "categorical"
      local x = from_directory(root, o):get(1)
      o.batch_size = tide.none
      local single, y = from_directory(root, o):get(3)
      assert.same(x[3]:tolist(), single:tolist())
      assert.same({ 1.0, 0.0 }, { table.unpack(y:tolist()) })
      o.label_mode = tide.none
      assert.is_nil((select(2, from_directory(root, o):get(1))))
    end)
  end)

  it("refuses options that contradict each other", function()
    compare.with_tree(files, copies, function(root)
      local function refused(o, text)
        assert.truthy(message(from_directory, root, o):find(text, 1, true), text)
      end
      refused({ validation_split = 0.2 }, "validation_split and subset need each other")
      refused({ validation_split = 0.2, subset = "training" }, "needs a seed")
      refused({ crop_to_aspect_ratio = true, pad_to_aspect_ratio = true }, "exclude each other")
      refused({ class_names = { "left", "centre" } },
        "class_names holds 'centre', but the folders of " .. root .. " are left, right")
      refused({ class_names = { "left" }, label_mode = "binary" },
        "needs two classes, found 1 (left)")
      refused({ class_names = {}, verbose = false }, "no pictures found")
      refused({ interpolation = "cubic" }, "interpolation")
    end)
  end)
end)
