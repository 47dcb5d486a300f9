--- Folders with one folder per class: their files with labels, cut into parts for training and
--- validation, as Keras' builders of data sets from directories do.
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local listing = require "tide.utils.listing"

local folders = {}

-- ---- the files and their labels ----

--- Rows of the arguments that all builders share: those of labels, and those behind the sizes.
folders.label_rows = {
  { "directory", "string", check.required, "holds one folder per class" },
  { "labels", { "string", "list" }, "inferred",
    "from the folders; a list of labels from 1, one per file; or none", none = true },
  { "label_mode", "enum", "int", "kind of y; none: no y", of = "int|categorical|binary",
    none = true },
  { "class_names", "list", nil, "the folders, in order; sorted by default" },
}
folders.split_rows = {
  { "shuffle", "bool", true, "another order in every pass; else by path" },
  { "seed", "int", nil, "repeats the order; needed to shuffle what validation_split divides" },
  { "validation_split", "number", nil, "share of the files kept for validation, from the end",
    above = 0, max = 1 },
  { "subset", "enum", nil, "which part; both: two results", of = "training|validation|both" },
}

--- Raises what is wrong with the arguments of a builder.
function folders.check(o, where)
  if type(o.labels) == "string" and o.labels ~= "inferred" then
    errors.raise(where, "labels must be \"inferred\", a list or none (got %s)",
      check.show(o.labels))
  elseif (o.validation_split == nil) ~= (o.subset == nil) then
    errors.raise(where, "validation_split and subset need each other")
  elseif o.validation_split and o.validation_split >= 1 then
    errors.raise(where, "validation_split must lie between 0 and 1 (got %s)", o.validation_split)
  elseif o.validation_split and o.shuffle and not o.seed then
    errors.raise(
      where, "shuffling before validation_split needs a seed, so that the parts do not overlap")
  end
  if o.labels == nil or o.label_mode == nil then
    o.labels, o.label_mode = nil, nil
  end
end

-- The files of the folders that are classes.
local function inferred(o, files, where)
  local paths, labels = {}, {}
  local found, known = {}, {}
  for _, name in ipairs(listing.folders(o.directory, where)) do
    found[#found + 1], known[name] = name, true
  end
  local names = list.copy(o.class_names or found)
  for _, name in ipairs(names) do
    if not known[name] then
      errors.raise(where, "class_names holds '%s', but the folders of %s are %s", tostring(name),
        o.directory, table.concat(found, ", "))
    end
  end
  for label, name in ipairs(names) do
    for _, file in ipairs(files(o.directory .. "/" .. name)) do
      paths[#paths + 1], labels[#labels + 1] = name .. file, label
    end
  end
  return paths, labels, names
end

-- Checks a person's labels; names of the classes are the labels.
local function given(o, paths, where)
  if #o.labels ~= #paths then
    errors.raise(where, "labels holds %d labels for %d files in %s", #o.labels, #paths,
      o.directory)
  end
  local labels, seen, names = {}, {}, list.new {}
  for i, label in ipairs(o.labels) do
    local whole = type(label) == "number" and math.tointeger(label)
    if not whole or whole < 1 then
      errors.raise(where, "labels must hold whole numbers from 1, the %dth is %s", i,
        check.show(label))
    end
    labels[i] = whole
    if not seen[whole] then
      seen[whole] = true
      names[#names + 1] = whole
    end
  end
  table.sort(names)
  for i, label in ipairs(names) do
    names[i] = tostring(label)
  end
  return labels, names
end

--- The files of a directory, relative to it, their labels from 1 and the names of the classes (nil:
--- no labels).
--- @param o table checked arguments
--- @param files function of a folder's path that lists its files, a slash in front
function folders.index(o, files, where)
  local paths, labels, names = {}, {}, nil
  if o.labels == "inferred" then
    paths, labels, names = inferred(o, files, where)
  else
    if o.class_names then
      errors.raise(where, "class_names needs labels = \"inferred\"")
    end
    for _, found in ipairs(files(o.directory)) do
      paths[#paths + 1] = found:sub(2)
    end
    if o.labels then
      labels, names = given(o, paths, where)
    end
  end
  if o.label_mode == "binary" and #names ~= 2 then
    errors.raise(where, "label_mode = \"binary\" needs two classes, found %d (%s)", #names,
      table.concat(names, ", "))
  end
  if o.verbose then
    print(("Found %d files%s."):format(#paths,
      names and (" belonging to %d classes"):format(#names) or ""))
  end
  return paths, labels, names
end

--- Shuffles the files once where a seed is given, cuts the parts out and makes each by
--- `make(paths, labels, shuffle)`; two results for subset = "both".
--- @param what string names files in the error that there are none
function folders.parts(o, paths, labels, make, what, where)
  if o.shuffle and o.seed then -- once, before the parts are cut
    local p, l = {}, {}
    local image = core.image
    for k, i in ipairs(image.permutation(#paths, image.sample_seed(o.seed, 0, 1 << 40), 0)) do
      p[k], l[k] = paths[i], labels[i]
    end
    paths, labels = p, l
  end
  local function part(kind, shuffle)
    local first, last = 1, #paths
    local held = math.floor((o.validation_split or 0) * #paths)
    if kind == "training" then
      last = last - held
    elseif kind == "validation" then
      first = last - held + 1
    end
    if first > last then
      errors.raise(where, "no %s%s", kind and kind .. " " or "", what)
    end
    if kind and o.verbose then
      print(("Using %d files for %s."):format(last - first + 1, kind))
    end
    return make(table.move(paths, first, last, 1, {}), table.move(labels, first, last, 1, {}),
      shuffle)
  end
  if o.subset == "both" then
    return part("training", o.shuffle), part("validation", false)
  end
  return part(o.subset, o.shuffle)
end

return folders
