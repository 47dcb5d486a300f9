--- Nested structures, lists and tables by name, whose leaves are everything else: keras.tree.
--
-- A structure is a plain table or one of Tide's lists; its entries go by number first, then by name
-- in sorted order. Tensors, objects, strings, numbers and tide.none are leaves.
local check = require "tide.check"
local errors = require "tide.errors"
local list = require "tide.list"
local none = require "tide.none"

local tree = {}

local DEEPEST = 100 -- tables in tables: one that holds itself has no end

--- Returned by a function of `traverse`: tide.none takes the place of the part.
---
---     tide.tree.traverse(function(v) return v == 2 and tide.tree.MAP_TO_NONE or nil end, { 1, 2 })
tree.MAP_TO_NONE = setmetatable({}, { __name = "tide.tree.MAP_TO_NONE", __tostring = function()
  return "MAP_TO_NONE"
end })

local function nested(v)
  return type(v) == "table" and (getmetatable(v) == nil or list.is(v))
end

--- Whether a value is a structure, and no leaf.
---
---     tide.tree.is_nested { 1, 2 }   --> true
function tree.is_nested(structure)
  return nested(structure)
end

local function too_deep(depth, where)
  if depth > DEEPEST then
    errors.raise(where, "a structure may be nested at most %d deep; a table that holds itself has \z
      no end", DEEPEST)
  end
end

-- The keys of a structure in their order.
local function keys_of(t)
  local keys = {}
  for k in pairs(list.is(t) and t:totable() or t) do
    keys[#keys + 1] = k
  end
  table.sort(keys, function(a, b)
    if type(a) == type(b) and (type(a) == "number" or type(a) == "string") then
      return a < b
    elseif type(a) ~= type(b) then
      return type(a) == "number" or type(b) ~= "number" and type(a) == "string"
    end
    return tostring(a) < tostring(b)
  end)
  return keys
end

-- What `f(child, key)` gives for each entry, in the form of `t`.
local function each(t, f)
  local out = {}
  for _, k in ipairs(keys_of(t)) do
    local v = f(t[k], k)
    if v == nil then
      v = none
    end
    out[k] = v
  end
  return list.is(t) and list.new(out) or out
end

local function path_text(path)
  local out = {}
  for i, k in ipairs(path) do
    out[i] = type(k) == "string" and ("%s%s"):format(i > 1 and "." or "", k)
      or ("[%s]"):format(tostring(k))
  end
  return #out == 0 and "the top" or table.concat(out)
end

-- ---- leaves ----

local function collect(v, path, out, where)
  too_deep(#path, where)
  if not nested(v) then
    out[#out + 1] = { list.new(table.move(path, 1, #path, 1, {})), v }
    return out
  end
  for _, k in ipairs(keys_of(v)) do
    path[#path + 1] = k
    collect(v[k], path, out, where)
    path[#path] = nil
  end
  return out
end

--- The leaves in order, as a list.
---
---     tide.tree.flatten { b = { 3, 4 }, a = 1 }   --> { 1, 3, 4 }
function tree.flatten(structure)
  local out = {}
  for i, leaf in ipairs(collect(structure, {}, {}, "flatten")) do
    out[i] = leaf[2]
  end
  return out
end

--- The leaves in order with the keys that lead to them: a list of { path, leaf }.
---
---     tide.tree.flatten_with_path({ a = { 5 } })[1][2]   --> 5
function tree.flatten_with_path(structure)
  return collect(structure, {}, {}, "flatten_with_path")
end

--- The structure with other leaves, of which a list holds as many.
---
---     tide.tree.pack_sequence_as({ { 1 }, 2 }, { 7, 8 })   --> { { 7 }, 8 }
--- @param structure any
--- @param flat_sequence table
function tree.pack_sequence_as(structure, flat_sequence)
  if not nested(flat_sequence) then
    errors.raise("pack_sequence_as", "flat_sequence must be a list (got %s)",
      check.show(flat_sequence))
  end
  local want = #collect(structure, {}, {}, "pack_sequence_as")
  if #flat_sequence ~= want then
    errors.raise("pack_sequence_as", "flat_sequence has the wrong length (expected %d, got %d)",
      want, #flat_sequence)
  end
  local at = 0
  local function fill(v)
    if nested(v) then
      return each(v, fill)
    end
    at = at + 1
    return flat_sequence[at]
  end
  return fill(structure)
end

-- ---- comparing ----

-- Raises at the first place where `b` is no structure like `a`; below the leaves of `a` it may be
-- what it likes if `up_to`.
local function same(a, b, path, where, up_to)
  too_deep(#path, where)
  if not nested(a) then
    if nested(b) and not up_to then
      errors.raise(where, "the structures differ at %s (expected a leaf, got %s)",
        path_text(path), check.show(b))
    end
    return
  elseif not nested(b) then
    errors.raise(where, "the structures differ at %s (expected a table, got %s)",
      path_text(path), check.show(b))
  end
  for _, t in ipairs { a, b } do
    local other = t == a and b or a
    for _, k in ipairs(keys_of(t)) do
      if other[k] == nil then
        path[#path + 1] = k
        errors.raise(where, "the structures differ: only one has %s", path_text(path))
      end
    end
  end
  for _, k in ipairs(keys_of(a)) do
    path[#path + 1] = k
    same(a[k], b[k], path, where, up_to)
    path[#path] = nil
  end
end

--- Raises unless two structures have the same tables with the same keys. `check_types` is Keras'
--- and changes nothing.
---
---     tide.tree.assert_same_structure({ a = 1 }, { a = "x" })
function tree.assert_same_structure(a, b, check_types) -- luacheck: ignore check_types
  same(a, b, {}, "assert_same_structure")
end

--- Raises unless the leaves of two structures stand at the same paths; empty tables do not count.
---
---     tide.tree.assert_same_paths({ a = 1, b = {} }, { a = 2 })
function tree.assert_same_paths(a, b)
  local function paths(v)
    local out = {}
    for i, leaf in ipairs(collect(v, {}, {}, "assert_same_paths")) do
      out[i] = path_text(leaf[1])
    end
    return out
  end
  local one, two = paths(a), paths(b)
  for i = 1, math.max(#one, #two) do
    if one[i] ~= two[i] then
      errors.raise("assert_same_paths", "the structures have other paths (expected %s, got %s)",
        one[i] or "no more", two[i] or "no more")
    end
  end
end

-- ---- mapping ----

local function must_call(where, f)
  if type(f) ~= "function" then
    errors.raise(where, "func must be a function (got %s)", check.show(f))
  end
end

-- `f` on what stands at each leaf of `shallow` in the structures.
local function map(shallow, f, structures, count, where, up_to)
  for i = 1, count do
    same(shallow, structures[i], {}, where, up_to)
  end
  local function at(v, parts)
    if not nested(v) then
      return (f(table.unpack(parts, 1, count)))
    end
    return each(v, function(child, k)
      local inside = {}
      for i = 1, count do
        inside[i] = parts[i][k]
      end
      return at(child, inside)
    end)
  end
  return at(shallow, structures)
end

--- A structure of what `func` gives for each leaf, or for the leaves at one place of several
--- structures, which must be alike; nil becomes tide.none. With `{ none_is_leaf = false }` as last
--- argument, tide.none stays without a call.
---
---     tide.tree.map_structure(function(a, b) return a + b end, { 1, { 2 } }, { 3, { 4 } })
---     --> { 4, { 6 } }
--- @param func function
--- @param ... any structures, then perhaps options
function tree.map_structure(func, ...)
  must_call("map_structure", func)
  local structures = table.pack(...)
  local count, f = structures.n, func
  local last = structures[count]
  if count > 1 and check.is_plain(last) and next(last) == "none_is_leaf"
    and next(last, "none_is_leaf") == nil and type(last.none_is_leaf) == "boolean" then
    count = count - 1
    f = last.none_is_leaf and func or function(v, ...)
      if v == none then
        return none
      end
      return func(v, ...)
    end
  end
  if count == 0 then
    errors.raise("map_structure", "needs a structure (got none)")
  end
  return map(structures[1], f, structures, count, "map_structure")
end

--- As map_structure, as deep as `shallow_structure` goes: `func` gets what stands there in each of
--- the structures, leaf or not.
---
---     tide.tree.map_structure_up_to({ 0, 0 }, function(v) return #v end, { { 1, 2 }, { 3 } })
---     --> { 2, 1 }
--- @param shallow_structure any
--- @param func function
--- @param ... any structures
function tree.map_structure_up_to(shallow_structure, func, ...)
  must_call("map_structure_up_to", func)
  local structures = table.pack(...)
  if structures.n == 0 then
    errors.raise("map_structure_up_to", "needs a structure (got none)")
  end
  return map(shallow_structure, func, structures, structures.n, "map_structure_up_to", true)
end

--- A structure in which `func` replaced parts: it is called with each part, tables before what they
--- hold (`top_down`) or after; nil leaves the part and goes on with what is in it, MAP_TO_NONE puts
--- tide.none in its place.
---
---     tide.tree.traverse(function(v) return v == 2 and 4 or nil end, { 1, { 2 } })
---       --> { 1, { 4 } }
--- @param func function
--- @param structure any
--- @param top_down boolean|nil true when left out
function tree.traverse(func, structure, top_down)
  must_call("traverse", func)
  local function replaced(v)
    local new = func(v)
    if new == tree.MAP_TO_NONE then
      return none
    end
    return new
  end
  local function go(v, depth)
    too_deep(depth, "traverse")
    local function inside(part)
      return nested(part) and each(part, function(child) return go(child, depth + 1) end) or part
    end
    if top_down == false then
      v = inside(v)
    end
    local new = replaced(v)
    if new ~= nil then
      return new
    end
    return top_down == false and v or inside(v)
  end
  return go(structure, 1)
end

--- The structure as a copy: Keras turns lists into tuples here, and Lua has one kind of list.
---
---     tide.tree.lists_to_tuples { { 1 }, 2 }   --> { { 1 }, 2 }
function tree.lists_to_tuples(structure)
  return map(structure, function(v) return v end, { structure }, 1, "lists_to_tuples")
end

local function is_shape(v)
  if not nested(v) then
    return false
  end
  for k, size in pairs(list.is(v) and v:totable() or v) do
    if math.type(k) ~= "integer" or size ~= none and math.type(size) ~= "integer" then
      return false
    end
  end
  return true
end

--- As map_structure of one structure whose leaves are shapes: lists of whole numbers and tide.none.
---
---     tide.tree.map_shape_structure(function(s) return #s end, { a = { 2, 3 } }).a   --> 2
--- @param func function
--- @param structure any
function tree.map_shape_structure(func, structure)
  must_call("map_shape_structure", func)
  local function go(v, depth)
    too_deep(depth, "map_shape_structure")
    if is_shape(v) then
      return func(v)
    elseif nested(v) then
      return each(v, function(child) return go(child, depth + 1) end)
    end
    errors.raise("map_shape_structure", "leaves must be shapes (got %s)", check.show(v))
  end
  return go(structure, 1)
end

return require("tide.namespace").new("tide.tree", tree)
