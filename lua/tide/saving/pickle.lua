--- Pickles read without running what they ask for: tables, numbers, text and what a reader says
--- stands for the names that it knows; everything else is refused by its name.
local errors = require "tide.errors"

local pickle = {}

local PLENTY = 16 << 10 -- kB that the values of a pickle may take beside those of its bytes
local MARK = {}

-- A dictionary: its keys in order, and the values by key.
function pickle.dictionary()
  return { keys = {}, values = {}, dictionary = true }
end

local dictionary = pickle.dictionary

local function set(d, k, v, refuse)
  if type(d) ~= "table" or not d.dictionary then
    refuse "sets an item of what is no dictionary"
  elseif type(k) ~= "string" and math.type(k) ~= "integer" then
    refuse "has a dictionary whose keys are neither text nor whole numbers"
  end
  if d.values[k] == nil then
    d.keys[#d.keys + 1] = k
  end
  d.values[k] = v
end

-- What the opcodes of whole numbers of one and two bytes are: long lists hold little else.
local ONE, TWO = ("KM"):byte(1, 2)

--- The value of a pickle's text. `o`: `owner` opens the messages, `where` names the file, of which
--- `stored` bytes make the text (a compressed text of many values would take much more than
--- `factor` times them, 8), `classes(name, refuse)` gives what stands for a name (`call`: what it
--- gives for its arguments), `persistent(id, refuse)` what stands for an object kept elsewhere,
--- `build(object, state, refuse)` an object with its state; `kind` and `advice` end the messages of
--- what is refused.
function pickle.parse(text, o)
  local where = o.where
  local stack, memo, memoized, at = {}, {}, 0, o.at or 1
  local begun, opcodes = collectgarbage "count", 0
  local most = PLENTY + (o.factor or 8) * o.stored / 1024
  local looked = begun + most
  local function refuse(what, ...)
    errors.raise(o.owner, "%s " .. what, where, ...)
  end
  local function damaged()
    refuse "is damaged: its pickle ends early or makes no sense"
  end
  local function take(format)
    local ok, v, next_at = pcall(string.unpack, format, text, at)
    if not ok then
      damaged()
    end
    at = next_at
    return v
  end
  local function line()
    local stop = text:find("\n", at, true) or damaged()
    local v = text:sub(at, stop - 1)
    at = stop + 1
    return v
  end
  local function push(v)
    stack[#stack + 1] = v
  end
  local function pop()
    local v = stack[#stack]
    if v == nil or v == MARK then
      damaged()
    end
    stack[#stack] = nil
    return v
  end
  -- What stands above the last mark, which goes, behind the end of a list.
  local function above(to)
    local n = #stack
    local from = n
    while from > 0 and stack[from] ~= MARK do
      from = from - 1
    end
    if from == 0 then
      damaged()
    end
    to = to or (type(stack[from - 1]) == "table" and stack[from - 1] ~= MARK and stack[from - 1])
      or damaged()
    table.move(stack, from + 1, n, #to + 1, to)
    for i = n, from, -1 do
      stack[i] = nil
    end
    return to
  end
  local function top()
    local v = stack[#stack]
    return type(v) == "table" and v ~= MARK and v or damaged()
  end
  local function global(module, name)
    local full = module .. "." .. name
    push(o.classes(full) or refuse("asks for %s, which would run code; %s",
      (full:gsub("%c", "?")), o.advice))
  end
  local function get(key)
    local v = memo[key]
    if v == nil then
      damaged()
    end
    push(v)
  end
  local none = { none = true }
  local codes = {
    ["\x80"] = function() take "B" end, -- protocol
    ["\x95"] = function() take "<i8" end, -- frame
    ["}"] = function() push(dictionary()) end,
    ["]"] = function() push {} end,
    [")"] = function() push {} end,
    ["("] = function() stack[#stack + 1] = MARK end,
    ["0"] = function() pop() end,
    ["N"] = function() push(none) end,
    ["\x88"] = function() push(true) end,
    ["\x89"] = function() push(false) end,
    ["K"] = function() push(take "B") end,
    ["M"] = function() push(take "<I2") end,
    ["J"] = function() push(take "<i4") end,
    ["G"] = function() push(take ">d") end,
    ["\x8a"] = function()
      local n = take "B"
      push(n == 0 and 0 or n <= 8 and take("<i" .. n)
        or refuse "holds a number of more than 64 bits")
    end,
    ["X"] = function() push(take "<s4") end,
    ["\x8c"] = function() push(take "s1") end,
    ["q"] = function() memo[take "B"] = stack[#stack] end,
    ["r"] = function() memo[take "<I4"] = stack[#stack] end,
    ["\x94"] = function()
      memo[memoized] = stack[#stack]
      memoized = memoized + 1
    end,
    ["h"] = function() get(take "B") end,
    ["j"] = function() get(take "<I4") end,
    ["t"] = function() push(above {}) end,
    ["\x85"] = function() push { pop() } end,
    ["\x86"] = function()
      local b = pop()
      push { pop(), b }
    end,
    ["\x87"] = function()
      local c, b = pop(), pop()
      push { pop(), b, c }
    end,
    ["c"] = function()
      local module = line()
      global(module, line())
    end,
    ["\x93"] = function()
      local name = pop()
      global(tostring(pop()), tostring(name))
    end,
    ["Q"] = function()
      push(o.persistent and o.persistent(pop(), refuse) or damaged())
    end,
    ["R"] = function()
      local args, f = pop(), pop()
      if type(f) ~= "table" or not f.call or type(args) ~= "table" then
        damaged()
      end
      push(f.call(args, refuse))
    end,
    ["b"] = function()
      local state = pop()
      if o.build then
        push(o.build(pop(), state, refuse) or damaged())
      end -- else: attributes of a dictionary
    end,
    ["I"] = function() -- 00 and 01 are false and true
      local v = line()
      push(v == "01" or v ~= "00" and (math.tointeger(tonumber(v)) or damaged()))
    end,
    ["U"] = function() push(take "s1") end, -- bytes, and Python 2's text
    ["T"] = function() push(take "<s4") end,
    ["C"] = function() push(take "s1") end,
    ["B"] = function() push(take "<s4") end,
    ["\x8e"] = function() push(take "<s8") end,
    ["s"] = function()
      local v, k = pop(), pop()
      set(top(), k, v, refuse)
    end,
    ["u"] = function()
      local items = above {}
      for i = 1, #items - 1, 2 do
        set(top(), items[i], items[i + 1], refuse)
      end
    end,
    ["a"] = function()
      local v = pop()
      table.insert(top(), v)
    end,
    ["e"] = function()
      above()
    end,
  }
  local byte = string.byte
  while true do
    local op, low, high = byte(text, at, at + 2)
    local n = #stack
    while low and (op == ONE or op == TWO and high) and opcodes % 4096 < 4095 do
      n = n + 1
      stack[n] = op == ONE and low or low | high << 8
      at, opcodes = at + (op == ONE and 2 or 3), opcodes + 1
      op, low, high = byte(text, at, at + 2)
    end
    local code = text:sub(at, at)
    at, opcodes = at + 1, opcodes + 1
    if opcodes % 4096 == 0 and collectgarbage "count" > looked then
      collectgarbage()
      looked = collectgarbage "count" + most
      if looked - most > begun + most then
        refuse("describes more values than a %s of its size has", o.kind)
      end
    end
    if code == "." then
      return pop()
    end
    local f = codes[code]
    if not f then
      if code == "" then
        damaged()
      end
      refuse("holds the pickle's opcode 0x%02x, which a %s does not need", code:byte(), o.kind)
    end
    f()
  end
end

return pickle
