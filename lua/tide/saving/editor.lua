--- KerasFileEditor: shows, compares and edits the weights in a file, without a model for them.
local check = require "tide.check"
local class = require "tide.class"
local core = require "tide.core"
local errors = require "tide.errors"
local guard = require "tide.saving.guard"
local ops = require "tide.ops"
local printable = require "tide.printable"

local tree = require "tide.saving.tree"
local weights = require "tide.saving.keras.weights"

local args = check.args("KerasFileEditor", {
  { "filepath", "string", check.required, "ends in .keras, .weights.h5 or .safetensors" },
}, { named = {
  { "print_fn", "callable", nil, "takes the lines of what is shown; print", own = true },
} })

--- The weights in a file, to look at and to edit: for files whose model has changed since.
---
--- Reads `.keras`, `.weights.h5` (also `model.weights.h5` in a folder) and `.safetensors`, whoever
--- wrote them. Objects are named as in the file: by their path (`"layers/dense_2"`), or by their
--- name alone where only one has it (`"dense_2"`). Weights of Keras' files are "0", "1", … in
--- their object. Nothing is written before `save`.
---
---     local editor = tide.saving.KerasFileEditor "model.weights.h5"
---     editor:summary()
---     editor:delete_object "layers/dense_2"
---     editor:add_object("layers/einsum_dense", { tide.zeros { 4, 2 }, tide.zeros { 2 } })
---     editor:save "edited.weights.h5"
local KerasFileEditor = class.new "KerasFileEditor"
KerasFileEditor.args = args

local function show(name)
  return printable.name(name)
end

function KerasFileEditor:_init(...)
  local o = args:construct(...)
  local path = o.filepath
  if not (path:find "%.keras$" or path:find "%.weights%.h5$" or path:find "%.safetensors$") then
    errors.raise("KerasFileEditor", "filepath is no file of weights (expected a name that ends in \z
      .keras, .weights.h5 or .safetensors, got %s)", check.show(path))
  end
  self.filepath, self._print = path, o.print_fn or print
  self._file = guard.read("KerasFileEditor", path, "the file is damaged", tree.read, path)
end

--- The editor as a word.
function KerasFileEditor:__tostring()
  return ("KerasFileEditor (%s)"):format(show(self.filepath))
end

-- ---- finding ----

-- All places of a name in the tree: list of { parent, path }.
local function places(object, name, separator, prefix, out)
  for _, k in ipairs(tree.names(object)) do
    local child, path = object.at[k], prefix .. k
    if k == name then
      out[#out + 1] = { object, path }
    end
    if child.at then
      places(child, name, separator, path .. separator, out)
    end
  end
  return out
end

local function listed(object)
  local names = tree.names(object)
  if #names > 8 then
    names = table.move(names, 1, 8, 1, {})
    names[9] = "…"
  end
  return #names > 0 and table.concat(names, ", ") or "nothing"
end

-- The parts of a path, where `name` is one; HDF5 paths may be given as files have them.
local function path_of(self, name)
  local separator = self._file.separator
  if not name:find(separator, 1, true) then
    return nil
  end
  if separator == "/" then
    name = name:gsub("^/", "")
    name = self._file.extension == ".weights.h5" and name:gsub("^vars/", ""):gsub("/vars/", "/")
      :gsub("/vars$", "") or name
  end
  return tree.split(name, separator)
end

-- The object at these parts of a path.
local function descend(self, owner, parts)
  local object = self._file.root
  for i, part in ipairs(parts) do
    local child = object.at[part]
    if not child or not child.at then
      errors.raise(owner, "no object '%s' in %s (expected one of %s)%s",
        table.concat(parts, self._file.separator, 1, i), self.filepath, listed(object),
        check.did_you_mean(part, tree.names(object)))
    end
    object = child
  end
  return object
end

-- The object that holds what `name` means, the name in it, and its path.
local function find(self, owner, name)
  if type(name) ~= "string" or name == "" then
    errors.raise(owner, "object_name must be the name or path of an object (expected a string, \z
      got %s)", check.show(name))
  end
  local parts = path_of(self, name)
  if parts then
    local last = table.remove(parts)
    local parent = descend(self, owner, parts)
    if not parent.at[last] then
      errors.raise(owner, "no '%s' in %s (expected one of %s)%s", name, self.filepath,
        listed(parent), check.did_you_mean(last, tree.names(parent)))
    end
    parts[#parts + 1] = last
    return parent, last, table.concat(parts, self._file.separator)
  end
  local found = places(self._file.root, name, self._file.separator, "", {})
  if #found == 0 then
    errors.raise(owner, "no '%s' in %s (expected one of its objects); summary shows them", name,
      self.filepath)
  elseif #found > 1 then
    local paths = {}
    for i = 1, math.min(#found, 4) do
      paths[i] = found[i][2]
    end
    errors.raise(owner, "'%s' stands %d times in %s (expected once, got %s%s); give a whole path",
      name, #found, self.filepath, table.concat(paths, ", "), #found > 4 and ", …" or "")
  end
  return found[1][1], name, found[1][2]
end

-- The object of a name.
local function object_of(self, owner, name)
  local parent, key = find(self, owner, name)
  local object = parent.at[key]
  if not object.at then
    errors.raise(owner, "'%s' is a weight (expected an object)", name)
  end
  return object
end

-- The object of a name, which must have the weight.
local function object_with(self, owner, object_name, weight_name)
  local object = object_of(self, owner, object_name)
  local weight = type(weight_name) == "string" and object.at[weight_name]
  if not weight or not weight.tensor then
    errors.raise(owner, "no weight %s in '%s' (expected one of %s)", check.show(weight_name),
      object_name, listed(object))
  end
  return object
end

-- Raises where a name cannot stand in a file.
local function check_name(self, owner, what, name)
  local hdf5 = self._file.extension == ".weights.h5"
  if type(name) ~= "string" or name == "" or name == "." or name == ".." or not utf8.len(name)
    or name:find "%c" or name:find(self._file.separator, 1, true) or hdf5 and name == "vars"
    or self._file.header and name:sub(1, 1) == "@" then
    errors.raise(owner, "%s cannot be a name in the file (expected a word without '%s', got %s)",
      what, self._file.separator, check.show(name))
  end
end

local function refuse_existing(self, owner, object, name, remedy)
  if object.at[name] then
    errors.raise(owner, "'%s' is in %s already; %s", name, self.filepath, remedy)
  end
end

local function rename(self, owner, object, name, new_name)
  check_name(self, owner, "new_name", new_name)
  if new_name ~= name then
    refuse_existing(self, owner, object, new_name, "delete that one first")
    object.at[new_name], object.at[name] = object.at[name], nil
  end
end

-- The weights of a table by name, or of a list from "0".
local function weights_of(self, owner, given)
  if type(given) ~= "table" or core.is_tensor(given) or not next(given) then
    errors.raise(owner, "weights must hold tensors by name (expected { [\"0\"] = kernel, … } or a \z
      list of them, got %s)", check.show(given))
  end
  local out = {}
  for key, value in pairs(given) do
    local name = key
    if math.type(key) == "integer" and self._file.extension == ".weights.h5" then
      name = tostring(key - 1)
    end
    check_name(self, owner, "a weight", name)
    if not core.is_tensor(value) and type(value) ~= "number" and not check.is_list(value) then
      errors.raise(owner, "weight '%s' has no values (expected a tensor, got %s)", name,
        check.show(value))
    elseif out[name] then
      errors.raise(owner, "weight '%s' is given twice, by its name and by its position", name)
    end
    local tensor = core.is_tensor(value) and value:detach()
      or core.tensor(value, { dtype = "float32" })
    out[name] = { tensor = tensor }
  end
  return out
end

-- ---- editing ----

--- Gives an object of the file another name.
---
---     editor:rename_object("layers/dense_2", "dense_3")
--- @param object_name string name or path
--- @param new_name string without the path
function KerasFileEditor:rename_object(object_name, new_name)
  local parent, name = find(self, "rename_object", object_name)
  rename(self, "rename_object", parent, name, new_name)
end

--- Takes an object out of the file, with all that is in it.
---
---     editor:delete_object "dense_2"
--- @param object_name string name or path
function KerasFileEditor:delete_object(object_name)
  local parent, name = find(self, "delete_object", object_name)
  parent.at[name] = nil
end

--- Adds an object that the file does not have.
---
---     editor:add_object("layers/dense_2", { tide.zeros { 4, 2 }, tide.zeros { 2 } })
--- @param object_path string the whole path; what it stands in must be there
--- @param weights_by_name table tensors by name, or for Keras' files a list of them
function KerasFileEditor:add_object(object_path, weights_by_name)
  if type(object_path) ~= "string" or object_path == "" then
    errors.raise("add_object", "object_path must be a path (expected a string, got %s)",
      check.show(object_path))
  end
  local parts = path_of(self, object_path) or { object_path }
  local name = table.remove(parts)
  check_name(self, "add_object", "object_path", name)
  local parent = descend(self, "add_object", parts)
  refuse_existing(self, "add_object", parent, name, "add_weights adds to it, delete_object takes \z
    it out")
  parent.at[name] = { at = weights_of(self, "add_object", weights_by_name) }
end

--- Gives a weight of an object another name.
---
---     editor:rename_weight("dense_2", "1", "2")
--- @param object_name string name or path of the object
--- @param weight_name string
--- @param new_name string
function KerasFileEditor:rename_weight(object_name, weight_name, new_name)
  local object = object_with(self, "rename_weight", object_name, weight_name)
  rename(self, "rename_weight", object, weight_name, new_name)
end

--- Takes a weight out of an object.
---
---     editor:delete_weight("dense_2", "1")
--- @param object_name string name or path of the object
--- @param weight_name string
function KerasFileEditor:delete_weight(object_name, weight_name)
  local object = object_with(self, "delete_weight", object_name, weight_name)
  object.at[weight_name] = nil
end

--- Adds weights to an object, in place of those of the same names.
---
---     editor:add_weights("dense_2", { ["1"] = tide.zeros { 2 } })
--- @param object_name string name or path of the object
--- @param weights_by_name table tensors by name, or for Keras' files a list of them
function KerasFileEditor:add_weights(object_name, weights_by_name)
  local object = object_of(self, "add_weights", object_name)
  local added = weights_of(self, "add_weights", weights_by_name)
  for name in pairs(added) do
    if object.at[name] and object.at[name].at then
      errors.raise("add_weights", "'%s' of '%s' is an object (expected a weight)", name,
        object_name)
    end
  end
  for name, weight in pairs(added) do
    weight.rank = object.at[name] and object.at[name].rank
    object.at[name] = weight
  end
end

--- Writes the weights as they stand now to a file of weights, atomically: `.weights.h5` where the
--- weights came from Keras' files (also from an archive, whose model stays as it was),
--- `.safetensors` where they came from such a file.
---
---     editor:save "edited.weights.h5"
--- @param filepath string may be the file that was read
function KerasFileEditor:save(filepath)
  local extension = self._file.extension
  if type(filepath) ~= "string" or #filepath <= #extension
    or filepath:sub(-#extension) ~= extension then
    errors.raise("save", "filepath does not fit what %s holds (expected a name that ends in %s, \z
      got %s)", self.filepath, extension, check.show(filepath))
  end
  tree.write(filepath, self._file)
end

--- The same as `save`.
---
---     editor:resave_weights "edited.weights.h5"
--- @param filepath string
function KerasFileEditor:resave_weights(filepath)
  self:save(filepath)
end

-- ---- showing ----

local function describe(tensor)
  return ("%s %s"):format(tensor.dtype, tostring(tensor.shape))
end

--- Prints the objects and weights of the file as a tree.
---
---     editor:summary()
function KerasFileEditor:summary()
  local say, metadata = self._print, self._file.metadata
  say(("Keras model file '%s'"):format(show(self.filepath)))
  if metadata.keras_version then
    say(("Saved with Keras %s - date: %s"):format(show(tostring(metadata.keras_version)),
      show(tostring(metadata.date_saved))))
  end
  say "Weights structure"
  local function draw(object, prefix)
    local names = {}
    for _, name in ipairs(tree.names(object)) do
      if not tree.empty(object.at[name]) then
        names[#names + 1] = name
      end
    end
    for i, name in ipairs(names) do
      local child, last = object.at[name], i == #names
      local line = prefix .. (last and "└─ " or "├─ ") .. show(name)
      if child.tensor then
        say(("%s: %s"):format(line, describe(child.tensor)))
      else
        local label = child.of_vars and child.of_vars.name
        say(line .. (type(label) == "string" and (" ('%s')"):format(show(label)) or ""))
        draw(child, prefix .. (last and "   " or "│  "))
      end
    end
  end
  draw(self._file.root, "  ")
end

--- Prints the values of weights: of one object or weight, or of all.
---
---     editor:dump "layers/dense_2"
--- @param object_name string|nil name or path
function KerasFileEditor:dump(object_name)
  local function visit(node, path)
    if node.tensor then
      self._print(("%s: %s"):format(show(path), describe(node.tensor)))
      self._print(tostring(node.tensor))
      return
    end
    for _, name in ipairs(tree.names(node)) do
      visit(node.at[name], (path and path .. self._file.separator or "") .. name)
    end
  end
  if object_name == nil then
    return visit(self._file.root)
  end
  local parent, name, path = find(self, "dump", object_name)
  visit(parent.at[name], path)
end

-- ---- comparing ----

-- What a comparison is with: its tree, and how it is called.
local function reference_of(self, reference)
  if class.is(reference, KerasFileEditor) then
    return reference._file.root, "reference file"
  elseif type(reference) == "string" then
    return KerasFileEditor(reference)._file.root, "reference file"
  elseif type(reference) ~= "table" or not reference.is_model then
    errors.raise("compare", "reference_model is nothing to compare with (expected a model, a path \z
      or an editor, got %s)", check.show(reference))
  elseif not reference.built then
    errors.raise("compare", "%s has no weights yet; build it or call it first", reference:_label())
  end
  local of = self._file.extension == ".safetensors" and tree.of_saved or tree.of_model
  return of(reference, reference:_label()), "reference model"
end

-- The largest difference between the values of two weights; 0 where they are equal.
local function difference(a, b)
  if a.size == 0 or a.dtype == b.dtype and a:tobytes() == b:tobytes() then
    return 0
  end
  local d = ops.abs(ops.cast(a, "float64") - ops.cast(b, "float64"))
  return ops.max(d):item()
end

--- Compares what the file holds with a model, or with another file: prints every object and weight
--- that only one of them has, and every weight of another shape. Of files the values are compared
--- too. What a model of Tide does not keep in its weights (states of random generators, metrics) is
--- left out.
---
---     editor:compare(model).status   -- "success"
--- @param reference_model table|string a model, or another editor or its path
--- @return table `status` ("success" or "error"), `error_count`, `match_count` (weights that both
---   have with the same shape); with a file also `equal_count` (those of equal values) and
---   `max_difference`
function KerasFileEditor:compare(reference_model)
  local root, name = reference_of(self, reference_model)
  local say, is_file = self._print, name == "reference file"
  local result = { error_count = 0, match_count = 0, equal_count = is_file and 0 or nil,
    max_difference = is_file and 0 or nil }
  local at -- where the values differ most

  local function wrong(text, ...)
    result.error_count = result.error_count + 1
    say(text:format(...))
  end

  local function matched(a, b, path)
    result.match_count = result.match_count + 1
    local d = is_file and difference(a, b)
    if d == 0 then
      result.equal_count = result.equal_count + 1
    elseif d and (d ~= d or d > result.max_difference) then
      result.max_difference, at = d, path
    end
  end

  -- Whether there is nothing to compare: Keras' files have groups without weights, and what
  -- load_weights leaves aside is not the model's.
  local function bare(node, path)
    if not is_file and weights.is_aside(path) and not path:find "^/optimizer" then
      return true
    end
    for key, child in pairs(node.at or {}) do
      if not bare(child, path .. "/" .. key) then
        return false
      end
    end
    return node.tensor == nil
  end

  -- `first`: the pass in which what both have is compared
  local function walk(target, reference, prefix, target_name, reference_name, first)
    for _, key in ipairs(tree.names(reference)) do
      local want, got, path = reference.at[key], target.at[key], prefix .. "/" .. key
      if bare(want, path) then
        goto continue
      end
      if not got or bare(got, path) then
        wrong("%s %s: in the %s, not in the %s%s", want.at and "object" or "weight", show(path),
          reference_name, target_name, want.at and (" (holds %s)"):format(show(listed(want))) or "")
      elseif want.at and got.at then
        walk(got, want, path, target_name, reference_name, first)
      elseif first and (want.at or got.at) then
        wrong("%s: %s in the %s, %s in the %s", show(path), want.at and "an object" or "a weight",
          reference_name, got.at and "an object" or "a weight", target_name)
      elseif first and want.tensor.shape ~= got.tensor.shape then
        wrong("weight %s: shape %s in the %s, %s in the %s", show(path),
          tostring(want.tensor.shape), reference_name, tostring(got.tensor.shape), target_name)
      elseif first then
        matched(want.tensor, got.tensor, path)
      end
      ::continue::
    end
  end

  walk(self._file.root, root, "", "saved file", name, true)
  walk(root, self._file.root, "", name, "saved file", false)
  result.status = result.error_count == 0 and "success" or "error"
  say(("%d mismatches, %d matching weights: the saved file %s the %s"):format(result.error_count,
    result.match_count, result.error_count == 0 and "fits" or "does not fit", name))
  if is_file and at then
    say(("%d of them have equal values; the largest difference is %.6g, in %s"):format(
      result.equal_count, result.max_difference, show(at)))
  elseif is_file then
    say "the values of matching weights are equal"
  end
  return result
end

return { KerasFileEditor = KerasFileEditor }
