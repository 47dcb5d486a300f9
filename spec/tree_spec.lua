-- tide.tree: nested structures, in Lua's form of what keras.tree does.
local list = require "tide.list"
local none = require "tide.none"
local tide = require "tide"

local tree = tide.tree

local function says(text, f, ...)
  local ok, e = pcall(f, ...)
  assert.is_false(ok)
  assert.is_truthy(tostring(e):find(text, 1, true), tostring(e))
end

describe("tide.tree", function()
  local x = tide.tensor { 1, 2 }

  it("takes tables and lists for structures, everything else for leaves", function()
    assert.is_true(tree.is_nested {})
    assert.is_true(tree.is_nested(list.new { 1 }))
    for _, leaf in ipairs { 1, "a", x, none, true, tide.layers.Identity(), print } do
      assert.is_false(tree.is_nested(leaf))
    end
  end)

  it("flattens by number, then by name, and packs again", function()
    local structure = { b = { 3, { 4, 5 } }, a = x, c = {} }
    local flat = tree.flatten(structure)
    assert.equal(4, #flat)
    assert.equal(x, flat[1])
    assert.same({ 3, 4, 5 }, { flat[2], flat[3], flat[4] })
    assert.same({ b = { "q", { "r", "s" } }, a = "p", c = {} },
      tree.pack_sequence_as(structure, { "p", "q", "r", "s" }))
    assert.same({ 7 }, tree.flatten(7))
    assert.equal(8, tree.pack_sequence_as(7, { 8 }))
    assert.same({}, tree.flatten {})
    local paths = tree.flatten_with_path { a = { 5, { b = 6 } } }
    assert.same({ "a", 1 }, paths[1][1]:totable())
    assert.same({ "a", 2, "b" }, paths[2][1]:totable())
    assert.equal(6, paths[2][2])
  end)

  it("maps one structure, or several that are alike", function()
    local function add(a, b) return a + b end
    assert.same({ 4, { k = 6 } }, tree.map_structure(add, { 1, { k = 2 } }, { 3, { k = 4 } }))
    assert.is_true(list.is(tree.map_structure(function(v) return v end, list.new { 1 })))
    assert.same({ none, 2 }, tree.map_structure(function(v) return v > 1 and v or nil end,
      { 1, 2 }))
    local seen = 0
    local function count(v)
      seen = seen + 1
      return v
    end
    tree.map_structure(count, { 1, none }, { none_is_leaf = false })
    assert.equal(1, seen)
    tree.map_structure(count, { 1, none })
    assert.equal(3, seen)
    assert.same({ 2, 1 }, tree.map_structure_up_to({ 0, 0 }, function(v) return #v end,
      { { 1, 2 }, { 3 } }))
    assert.same({ a = 5 }, tree.map_structure_up_to({ a = 0 }, function(v, w) return #v + #w end,
      { a = { 1, 2 } }, { a = { 1, 2, 3 } }))
  end)

  it("traverses from the top or from the leaves, replacing parts", function()
    local order = {}
    tree.traverse(function(v) order[#order + 1] = type(v) end, { 1, { "a" } })
    assert.same({ "table", "number", "table", "string" }, order)
    order = {}
    tree.traverse(function(v) order[#order + 1] = type(v) end, { 1, { "a" } }, false)
    assert.same({ "number", "string", "table", "table" }, order)
    assert.same({ 1, "cut" }, tree.traverse(function(v)
      return type(v) == "table" and #v == 1 and "cut" or nil
    end, { 1, { 5 } }))
    assert.same({ none, 2 }, tree.traverse(function(v)
      return v == 1 and tree.MAP_TO_NONE or nil
    end, { 1, 2 }))
    local before = { 1, { 2 } }
    tree.traverse(function(v) return type(v) == "number" and v * 2 or nil end, before)
    assert.same({ 1, { 2 } }, before)
  end)

  it("compares structures and paths, and says where they differ", function()
    tree.assert_same_structure({ a = 1, b = { 2 } }, { a = x, b = { "s" } })
    says("only one has b[2]", tree.assert_same_structure, { b = { 2 } }, { b = { 2, 3 } })
    says("at a (expected a leaf", tree.assert_same_structure, { a = 1 }, { a = { 1 } })
    says("expected a table", tree.assert_same_structure, { a = { 1 } }, { a = 1 })
    tree.assert_same_paths({ a = 1, b = {} }, { a = 2 })
    says("expected b[1], got no more", tree.assert_same_paths, { a = 1, b = { 2 } }, { a = 1 })
    says("differ", tree.map_structure, print, { 1 }, { 1, 2 })
  end)

  it("knows shapes as leaves", function()
    assert.same({ a = 2, b = { 1, 3 } }, tree.map_shape_structure(function(s) return #s end,
      { a = { 2, none }, b = { { 4 }, list.new { 1, 2, 3 } } }))
    says("leaves must be shapes", tree.map_shape_structure, print, { a = "x" })
  end)

  it("refuses what has no end, and what is no function", function()
    local loop = {}
    loop[1] = loop
    for _, f in ipairs { tree.flatten, tree.lists_to_tuples } do
      says("nested at most", f, loop)
    end
    says("nested at most", tree.traverse, function() end, loop)
    says("func must be a function", tree.map_structure, 1, { 1 })
    says("wrong length (expected 2, got 1)", tree.pack_sequence_as, { 1, 2 }, { 1 })
    says("needs a structure", tree.map_structure, print)
  end)
end)
