-- Tide's pictures beside Pillow's, TensorFlow's, SciPy's and Keras' (make_images.py, make_pictures.py): groups of cases, each
-- with the difference that it allows. spec/preprocessing/pictures_spec.lua fails on any that is larger; run as a program it prints the
-- largest difference of each group:
--
--   lua5.4 spec/ref/pictures.lua > spec/ref/pictures.txt
local core = require "tide.core"
local ops = require "tide.ops"
local tide = require "tide"

local pictures = tide.preprocessing.image
local M = { groups = {} }

local function reference(name)
  local folder = "spec/ref/" .. name .. "/"
  local ref = require("spec.ref." .. name .. ".values")
  local f <close> = assert(io.open(folder .. "values.bin", "rb"))
  local blob = f:read "a"
  ref.folder = folder
  function ref.value(key)
    local v = assert(ref.values[key], key)
    local n = v[1] == "float32" and 4 or 1
    for _, d in ipairs(v[2]) do
      n = n * d
    end
    return core.from_bytes(v[1], v[2], blob:sub(v[3] + 1, v[3] + n))
  end
  return ref
end

local old, new = reference "images", reference "pictures"
M.reference = new

--- The largest difference of two tensors; their shapes and dtypes must agree.
function M.difference(want, got)
  assert(tostring(want.shape) == tostring(got.shape), ("shape %s, expected %s"):format(got.shape, want.shape))
  assert(want.dtype == got.dtype, ("%s, expected %s"):format(got.dtype, want.dtype))
  return ops.max(ops.abs(ops.cast(want, "float64") - ops.cast(got, "float64"))):item()
end

-- A group: its name, the difference that it allows, and what makes its cases { name, difference }.
local function group(name, allowed, make)
  M.groups[#M.groups + 1] = { name = name, allowed = allowed, cases = function()
    local out = {}
    make(function(case, want, got)
      out[#out + 1] = { case, type(want) == "number" and want or M.difference(want, got) }
    end)
    return out
  end }
end

for _, kind in ipairs { "png", "jpe?g", "bmp", "gif", "p[gpbn]m", "tga" } do
  group("decode " .. kind:gsub("[?%[%]]", ""):gsub("pgpbnm", "pnm") .. " (grayscale, rgb, rgba), Pillow", 0, function(case)
    for _, ref in ipairs { old, new } do
      for _, file in ipairs(ref.files) do
        if file:find("%." .. kind .. "$") then
          for _, mode in ipairs { "grayscale", "rgb", "rgba" } do
            case(file .. " " .. mode, ref.value(("decode %s %s"):format(file, mode)),
              pictures.load_img(ref.folder .. file, { color_mode = mode }))
          end
        end
      end
    end
  end)
end

group("frames of animated GIF, Pillow", 0, function(case)
  for _, file in ipairs(new.gifs) do
    case(file, new.value("frames " .. file), pictures.load_img(new.folder .. file, { color_mode = "rgba", frames = "all" }))
  end
end)

group("EXIF orientations 1 to 8, JPEG and PNG, Pillow", 0, function(case)
  for k = 1, 8 do
    for ref, ending in pairs { [old] = "jpg", [new] = "png" } do
      case(k .. ending, ref.value("upright " .. k), pictures.load_img(("%sturn%d.%s"):format(ref.folder, k, ending),
        { upright = true }))
    end
  end
end)

group("load_img to a target_size (6 filters, aspect kept or not), Pillow", 0, function(case)
  for name in pairs(old.values) do
    local filter, h, w, mode = name:match "^pillow (%l+) (%d+)x(%d+) (%l+)$"
    if filter then
      case(name, old.value(name), pictures.load_img(old.folder .. "rgba.png", { color_mode = mode, interpolation = filter,
        target_size = { tonumber(h), tonumber(w) } }))
    end
    filter = name:match "^pillow (%l+) keep$"
    if filter then
      case(name, old.value(name), pictures.load_img(old.folder .. "rgb.png", { target_size = { 20, 11 },
        interpolation = filter, keep_aspect_ratio = true }))
    end
  end
end)

for _, method in ipairs { "nearest", "bilinear", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic" } do
  group("resize " .. method .. " (with and without antialias), TensorFlow, values up to 255", 1.5e-4, function(case)
    for _, ref in ipairs { old, new } do
      local x = ref.value "tf input"
      for name in pairs(ref.values) do
        local antialias, h, w = name:match("^tf " .. method .. " (%l+) (%d+)x(%d+)$")
        if antialias then
          case(name, ref.value(name), tide.image.resize(x, { tonumber(h), tonumber(w) },
            { interpolation = method, antialias = antialias == "true" }))
        end
      end
    end
  end)
end

group("smart_resize, Keras", 1e-4, function(case)
  for _, size in ipairs { { 10, 10 }, { 8, 21 } } do
    local name = table.concat(size, "x")
    case(name, old.value("smart " .. name), pictures.smart_resize(old.value "tf input", size))
  end
end)

group("apply_transform, 20 fixed transforms of an RGB and a grey picture, Keras", 0, function(case)
  for i, t in ipairs(old.transforms) do
    local g = pictures.ImageDataGenerator(t[1])
    case(i, old.value("transform " .. i), g:apply_transform(old.value "transform input", t[2]))
    case("grey " .. i, old.value("transform grey " .. i), g:apply_transform(old.value "transform grey", t[2]))
  end
end)

for order = 0, 5 do
  -- the coefficients of a spline are sums over whole lines: compilers may contract them
  group(("apply_transform, interpolation_order %d, 4 fill modes, SciPy, values up to 255"):format(order), order < 2 and 0 or 5e-5,
    function(case)
      for i, t in ipairs(new.transforms) do
        if t[2].interpolation_order == order then
          local x = new.value("transform input " .. t[1])
          case(i, new.value("transform " .. i), pictures.ImageDataGenerator(t[2]):apply_transform(x, t[3]))
        end
      end
    end)
end

group("brightness and channel shift, Keras", 0, function(case)
  local g, batch = pictures.ImageDataGenerator {}, new.value "batch"
  for i, p in ipairs(new.shifts) do
    case(i, new.value("shift " .. i), g:apply_transform(batch[1], p))
    case("bytes " .. i, new.value("shift bytes " .. i), g:apply_transform(ops.full({ 4, 3, 3 }, 77), p))
  end
end)

group("fit and standardize, 16 combinations, Keras", 5e-6, function(case)
  local stderr = io.stderr
  io.stderr = { write = function() end } -- options that need others say so
  for i, o in ipairs(new.standards) do
    local g = pictures.ImageDataGenerator(o)
    g:fit(new.value "batch")
    case(i, new.value("standard " .. i), g:standardize(new.value("batch")[2]))
  end
  io.stderr = stderr
end)

group("fit of a featurewise mean and deviation, Keras", 1e-6, function(case)
  local g = pictures.ImageDataGenerator { featurewise_center = true, featurewise_std_normalization = true, rescale = 1 / 255 }
  g:fit(old.value "batch")
  case("mean", old.value "fit mean", g.mean)
  case("std", old.value "fit std", g.std)
end)

group("fit with zca_whitening: the matrix, Keras", 1e-5, function(case)
  local g = pictures.ImageDataGenerator { featurewise_center = true, zca_whitening = true, zca_epsilon = 1e-2 }
  g:fit(old.value "zca input")
  case("matrix", old.value "zca matrix", g.zca_whitening_matrix)
end)

-- A folder with these files; those in `copies` hold a picture, the others nothing.
function M.with_tree(files, copies, f)
  local root = os.tmpname()
  os.remove(root)
  for _, name in ipairs(files) do
    assert(os.execute(("mkdir -p '%s/%s'"):format(root, name:match "^(.*)/" or "")))
    local out <close> = assert(io.open(root .. "/" .. name, "wb"))
    local from <close> = copies and copies[name] and io.open(new.folder .. copies[name], "rb")
    out:write(from and from:read "a" or "")
  end
  local ok, e = pcall(f, root)
  os.execute(("rm -rf '%s'"):format(root))
  assert(ok, e)
end

-- 1 for every place where the lists differ.
local function differences(want, got)
  local n = math.abs(#want - #got)
  for i, v in ipairs(want) do
    n = n + (got[i] == v and 0 or 1)
  end
  return n
end

-- Tide reads no TIFF, so the two that Keras was shown stand in the tree as pictures that it reads,
-- whose names sort alike.
local function readable(names)
  local out = {}
  for i, name in ipairs(names) do
    out[i] = name:gsub("x%.TIFF$", "x.BMP"):gsub("x%.tif$", "x.jpg")
  end
  return out
end

group("flow_from_directory: files, labels, class order, number of batches, Keras", 0, function(case)
  M.with_tree(readable(new.tree), nil, function(root)
    for i, t in ipairs(new.listings) do
      local it = pictures.ImageDataGenerator({ validation_split = t.split }):flow_from_directory(root, {
        subset = t.subset ~= "none" and t.subset or nil, classes = t.classes ~= "none" and t.classes or nil,
        batch_size = 3, shuffle = false, verbose = false })
      local labels = {}
      for k, v in ipairs(it.classes) do
        labels[k] = v - 1
      end
      case("files " .. i, differences(readable(t.filenames), it.filenames))
      case("labels " .. i, differences(t.labels, labels))
      case("names " .. i, differences(t.names, it.class_names))
      case("batches " .. i, t.batches - #it)
    end
  end)
end)

group("image_dataset_from_directory: files, labels, class order, parts, Keras", 0, function(case)
  M.with_tree(new.tree, nil, function(root)
    for i, t in ipairs(new.datasets) do
      local it = tide.utils.image_dataset_from_directory(root, { validation_split = t.split > 0 and t.split or nil,
        subset = t.subset ~= "none" and t.subset or nil, shuffle = false, verbose = false })
      local paths, labels = {}, {}
      for k, v in ipairs(it.classes) do
        paths[k], labels[k] = it.file_paths[k]:sub(#root + 2), v - 1
      end
      case("files " .. i, differences(t.filenames, paths))
      case("labels " .. i, differences(t.labels, labels))
      case("names " .. i, differences(t.names, it.class_names))
    end
  end)
end)

group("image_dataset_from_directory: pictures and labels, Keras, values up to 255", 3e-4, function(case)
  M.with_tree({ "k0/x.png", "k1/x.png", "k2/x.png" },
    { ["k0/x.png"] = "set_0.png", ["k1/x.png"] = "set_1.png", ["k2/x.png"] = "set_2.png" }, function(root)
      for i, o in ipairs(new.sets) do
        local options = { image_size = { 14, 19 }, shuffle = false, batch_size = 3, verbose = false }
        for k, v in pairs(o) do
          options[k] = v
        end
        local x, y = tide.utils.image_dataset_from_directory(root, options):get(1)
        if o.color_mode ~= "grayscale" then -- TensorFlow weighs colours as Rec. 709, Pillow and Tide as Rec. 601
          case("x " .. i, new.value(("set %d x"):format(i)), x)
        end
        local want = new.value(("set %d y"):format(i))
        case("y " .. i, want, ops.cast(o.label_mode and y or y - 1, "float32"))
      end
    end)
end)

local function main()
  print "Largest differences between Tide and its peers. Made by: lua5.4 spec/ref/pictures.lua"
  local f <close> = assert(io.open(new.folder .. "values.lua"))
  print(f:read("l"):match "Keras.*" .. "\n")
  print(("%-78s %6s %10s  %s"):format("what", "cases", "largest", "allowed"))
  for _, g in ipairs(M.groups) do
    local ok, cases = pcall(g.cases)
    if not ok then
      print(g.name, cases)
    else
      local worst, where = 0, nil
      for _, c in ipairs(cases) do
        if c[2] > worst then
          worst, where = c[2], c[1]
        end
      end
      print(("%-78s %6d %10.3g  %s%s"):format(g.name, #cases, worst, g.allowed == 0 and "equal" or ("%g"):format(g.allowed),
        where and worst > g.allowed and "  " .. where or ""))
    end
  end
end

if ... ~= "spec.ref.pictures" then
  main()
end
return M
