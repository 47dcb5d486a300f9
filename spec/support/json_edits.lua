-- Wrong values in JSON: at random, for the fuzzers, or each place of a value in turn.
local json = require "tide.utils.json"
local none = require "tide.none"

local edits = {}

-- What stands in the place of a value.
edits.words = { "null", "true", "false", "-1", "0", "2.5", "1e308", "9007199254740993",
  "4611686018427387904", '""', '"x"', "[]", "{}", "[null, 3]", "[[]]", '{"x": {"y": [1]}}',
  '{"class_name": "Dense", "config": {}}', '{"class_name": "__keras_tensor__"}', '"Dense"',
  '"Lambda"', '[["a", 0, 0]]' }

-- The same for every place of many: one of each kind.
local few = { "null", "true", "-1", "4611686018427387904", '"x"', "[]", '{"x": {"y": [1]}}' }

--- Replaces up to three values of a JSON text, so that most of it stays well-formed.
function edits.random(text)
  for _ = 1, math.random(3) do
    local places = {}
    for from, to in text:gmatch "()%-?[%d.]+()" do
      places[#places + 1] = { from, to }
    end
    for from, to in text:gmatch '()"[^"\\]*"()' do
      places[#places + 1] = { from, to }
    end
    for from, to in text:gmatch "()%b[]()" do
      places[#places + 1] = { from, to }
    end
    local p = places[math.random(#places)]
    if p then
      text = text:sub(1, p[1] - 1) .. edits.words[math.random(#edits.words)] .. text:sub(p[2])
    end
  end
  return text
end

-- The containers of a value with a key each, the value's own first: calls f(container, key).
local function each_place(v, f)
  local keys = {}
  for k in pairs(v) do
    keys[#keys + 1] = k
  end
  table.sort(keys, function(a, b)
    return tostring(a) < tostring(b)
  end)
  for _, k in ipairs(keys) do
    f(v, k)
    if type(v[k]) == "table" and v[k] ~= none then
      each_place(v[k], f)
    end
  end
end

--- Each place of a JSON value in turn with each wrong value there, and without what stands there:
--- calls f(text, place), place for messages.
--- @param value table as tide.utils.json decodes it; it is left as it was
--- @param words table|nil texts of the wrong values
function edits.all(value, f, words)
  local mark = "@@place@@"
  each_place(value, function(container, key)
    local was = container[key]
    container[key] = mark
    local text = json.encode(value)
    container[key] = was
    local before, after = text:match('^(.*)"' .. mark .. '"(.*)$')
    local place = tostring(key) .. " = "
    for _, word in ipairs(words or few) do
      f(before .. word .. after, place .. word)
    end
    if type(key) == "string" then
      container[key] = nil
      f(json.encode(value), place .. "nothing")
    else
      table.remove(container, key)
      f(json.encode(value), place .. "nothing")
      table.insert(container, key, was)
    end
    container[key] = was
  end)
  for _, word in ipairs(words or few) do
    f(word, "all = " .. word)
  end
end

return edits
