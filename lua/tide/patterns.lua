--- Patterns of paths, as options take them that choose layers and weights: regular expressions as
--- Python's `re` reads them, for Keras' files hold such, or Lua patterns: a `%` tells one.
--
-- Only whether a text fits is asked, so an expression becomes a graph of states, and a search
-- visits each pair of a state and a place once: no expression takes more than its size times the
-- text's. Therefore nothing can refer back to what a group matched.
local check = require "tide.check"
local errors = require "tide.errors"

local patterns = {}

local MOST_STATES = 20000 -- of one expression, whose counts are written out

-- ---- sets of characters ----

local function range(first, last)
  return function(c)
    return c >= first and c <= last
  end
end

local function any_of(tests, negated)
  return function(c)
    for i = 1, #tests do
      if tests[i](c) then
        return not negated
      end
    end
    return negated
  end
end

local function one(c)
  return range(c, c)
end

local b = string.byte
local digit = range(b "0", b "9")
-- what lies beyond ASCII is taken for letters
local word = any_of({ digit, range(b "a", b "z"), range(b "A", b "Z"), one(b "_"),
  range(128, math.huge) }, false)
local space = any_of({ one(32), range(9, 13) }, false)
local CLASSES = { d = digit, w = word, s = space, D = any_of({ digit }, true),
  W = any_of({ word }, true), S = any_of({ space }, true) }
local CONTROLS = { n = 10, t = 9, r = 13, f = 12, v = 11, a = 7 }

local function folded(test)
  return function(c)
    local letter = c < 128 and string.char(c)
    return test(c) or letter and (test(b(letter:upper())) or test(b(letter:lower())))
  end
end

-- ---- reading an expression ----
--
-- A parser holds the characters, the place, the flags. What it reads is a function of the state
-- that follows, which returns the state to begin with; so counts can make a part several times.

local function fail(p, why, ...)
  error({ why = why:format(...) .. (" at character %d"):format(p.at) }, 0)
end

-- Counts what an expression is made of: its states and the rounds that are written out.
local function state(p, s)
  p.states = p.states + 1
  if p.states > MOST_STATES then
    fail(p, "it is too large")
  end
  return s
end

local function peek(p, text)
  return p.source:sub(p.at, p.at + #text - 1) == text
end

local function take(p, text)
  if peek(p, text) then
    p.at = p.at + #text
    return true
  end
end

-- One character as a code point.
local function point(p)
  local c = p.utf8 and utf8.codepoint(p.source, p.at) or p.source:byte(p.at)
  p.at = p.at + (p.utf8 and #utf8.char(c) or 1)
  return c
end

local function hexadecimal(p, n)
  local text = p.source:match("^" .. ("%x"):rep(n), p.at)
  if not text then
    fail(p, "an escape needs %d hexadecimal digits", n)
  end
  p.at = p.at + n
  return tonumber(text, 16)
end

-- What stands behind a backslash, as a test of a character.
local function escape(p, in_set)
  if p.at > #p.source then
    fail(p, "a backslash ends it")
  end
  local c = p.source:sub(p.at, p.at)
  if CLASSES[c] then
    p.at = p.at + 1
    return CLASSES[c]
  elseif CONTROLS[c] or in_set and c == "b" then
    p.at = p.at + 1
    return one(CONTROLS[c] or 8), CONTROLS[c] or 8
  elseif c == "x" or c == "u" or c == "U" then
    p.at = p.at + 1
    local v = hexadecimal(p, c == "x" and 2 or c == "u" and 4 or 8)
    return one(v), v
  elseif c == "0" then
    p.at = p.at + 1
    return one(0), 0
  elseif c:find "%d" then
    fail(p, "it refers back to a group")
  elseif c:find "%a" then
    fail(p, "it has the unknown escape \\%s", c)
  end
  local v = point(p)
  return one(v), v
end

local function set(p)
  local tests, negated, first = {}, take(p, "^") or false, true
  while first or not peek(p, "]") do
    if p.at > #p.source then
      fail(p, "a '[' has no ']'")
    end
    first = false
    local test, low
    if take(p, "\\") then
      test, low = escape(p, true)
    else
      low = point(p)
      test = one(low)
    end
    if low and peek(p, "-") and p.source:sub(p.at + 1, p.at + 1) ~= "]" then
      p.at = p.at + 1
      if p.at > #p.source then
        fail(p, "a '[' has no ']'")
      end
      local high, _
      if take(p, "\\") then
        _, high = escape(p, true)
      else
        high = point(p)
      end
      if not high or high < low then
        fail(p, "a range in '[]' is empty")
      end
      test = range(low, high)
    end
    tests[#tests + 1] = p.flags.i and folded(test) or test
  end
  p.at = p.at + 1
  return any_of(tests, negated)
end

local function consume(p, test)
  return function(next_state)
    return state(p, { test = test, next = next_state })
  end
end

-- A place that must be so: `holds(chars, i)`.
local function place(p, holds)
  return function(next_state)
    return state(p, { holds = holds, next = next_state })
  end
end

local function is_boundary(chars, i)
  local left, right = chars[i - 1], chars[i]
  return (left ~= nil and word(left)) ~= (right ~= nil and word(right))
end
local PLACES = {
  A = function(_, i) return i == 1 end,
  Z = function(chars, i) return i == #chars + 1 end,
  b = is_boundary,
  B = function(chars, i) return #chars > 0 and not is_boundary(chars, i) end, -- as Python to 3.13
}
local function line_begins(chars, i)
  return i == 1 or chars[i - 1] == 10
end
local function line_ends(chars, i)
  return i == #chars + 1 or chars[i] == 10
end
local function ends(chars, i) -- a last newline may follow
  return i == #chars + 1 or i == #chars and chars[i] == 10
end

local alternatives

local function flags_of(p, text)
  local out = { i = p.flags.i, s = p.flags.s, m = p.flags.m }
  local on, off = text:match "^(%a*)%-?(%a*)$"
  for c in on:gmatch "." do
    if not ("ismau"):find(c, 1, true) then
      fail(p, "the flag '%s' is not read", c)
    end
    out[c] = true
  end
  for c in off:gmatch "." do
    out[c] = nil
  end
  return out
end

-- What follows a "(".
local function group(p)
  local outside, behind, negated = p.flags, nil, nil
  local look = false
  if take(p, "?") then
    local flags, after = p.source:match("^([%a%-]+)([:)])", p.at)
    if take(p, "P<") or (not p.source:find("^<[=!]", p.at) and take(p, "<")) then
      local name = p.source:match("^([%a_][%w_]*)>", p.at)
      if not name then
        fail(p, "a group has no name")
      end
      p.at = p.at + #name + 1
    elseif peek(p, "P=") or peek(p, "(") then
      fail(p, "it refers back to a group")
    elseif take(p, "#") then
      p.at = (p.source:find(")", p.at, true) or fail(p, "a '(' has no ')'")) + 1
      return function(next_state) return next_state end
    elseif flags and flags:sub(1, 1) ~= "P" then
      p.at = p.at + #flags + 1
      p.flags = flags_of(p, flags)
      if after == ")" then -- for the rest
        return function(next_state) return next_state end
      end
    elseif not take(p, ":") then
      look = true
      behind = take(p, "<")
      negated = take(p, "!")
      if not negated and not take(p, "=") then
        fail(p, "an unknown kind of group begins")
      end
    end
  end
  local inside = alternatives(p)
  p.flags = outside
  if not take(p, ")") then
    fail(p, "a '(' has no ')'")
  end
  if not look then
    return inside
  end
  local first = inside(state(p, { accepts = true }))
  return function(next_state)
    return state(p, { look = first, behind = behind, negated = negated, next = next_state })
  end
end

local function literal(p, c)
  local test = one(c)
  return consume(p, p.flags.i and folded(test) or test)
end

local function atom(p)
  if take(p, "(") then
    return group(p)
  elseif take(p, "[") then
    return consume(p, set(p))
  elseif take(p, ".") then
    return consume(p, p.flags.s and range(0, math.huge) or any_of({ one(10) }, true))
  elseif take(p, "^") then
    return place(p, p.flags.m and line_begins or PLACES.A), true
  elseif take(p, "$") then
    return place(p, p.flags.m and line_ends or ends), true
  elseif take(p, "\\") then
    local at = PLACES[p.source:sub(p.at, p.at)]
    if at then
      p.at = p.at + 1
      return place(p, at), true
    end
    local test = escape(p)
    return consume(p, p.flags.i and folded(test) or test)
  elseif p.source:find("^[*+?]", p.at) then
    fail(p, "there is nothing to repeat")
  end
  return literal(p, point(p))
end

-- From `least` to `most` (none: any number) times.
local function repeated(p, part, least, most)
  return function(next_state)
    local first
    if most then
      first = next_state
      for _ = least + 1, most do
        first = state(p, { split = { part(first), next_state } })
      end
    else
      first = state(p, { split = { false, next_state } })
      first.split[1] = part(first)
    end
    for _ = 1, least do
      first = state(p, part(first))
    end
    return first
  end
end

local function counts(p)
  if take(p, "*") then
    return 0
  elseif take(p, "+") then
    return 1
  elseif take(p, "?") then
    return 0, 1
  end
  local low, comma, high, behind = p.source:match("^{(%d*)(,?)(%d*)}()", p.at)
  if not low or low == "" and high == "" then
    return nil -- a brace that stands for itself
  end
  p.at = behind
  local least = tonumber(low) or 0
  local most = comma == "" and least or tonumber(high)
  if most and most < least then
    fail(p, "a count ends before it begins")
  elseif math.max(least, most or 0) > MOST_STATES then
    fail(p, "it is too large")
  end
  return least, most
end

local function sequence(p)
  local parts = {}
  while p.at <= #p.source and not peek(p, "|") and not peek(p, ")") do
    local part, fixed = atom(p)
    local least, most = counts(p)
    if least then
      if fixed then
        fail(p, "there is nothing to repeat")
      elseif peek(p, "+") then
        fail(p, "possessive counts are not read")
      end
      take(p, "?") -- as few as can be: the same texts fit
      if p.source:find("^[*+?]", p.at) then
        fail(p, "a count follows a count")
      end
      part = repeated(p, part, least, most)
    end
    parts[#parts + 1] = part
  end
  return function(next_state)
    for i = #parts, 1, -1 do
      next_state = parts[i](next_state)
    end
    return next_state
  end
end

function alternatives(p)
  p.depth = p.depth + 1
  if p.depth > 100 then
    fail(p, "its groups are too deep")
  end
  local all = { sequence(p) }
  while take(p, "|") do
    all[#all + 1] = sequence(p)
  end
  p.depth = p.depth - 1
  if #all == 1 then
    return all[1]
  end
  return function(next_state)
    local split = {}
    for i, part in ipairs(all) do
      split[i] = part(next_state)
    end
    return state(p, { split = split })
  end
end

-- ---- searching ----

-- Whether a state that accepts can be reached from `first` at one of the places `from` to `to`;
-- `last`: the place where it must stand, nil: any.
local function reaches(chars, first, from, to, last)
  local seen, stack, n = {}, {}, 0
  local function push(s, i)
    local places = seen[s]
    if not places then
      places = {}
      seen[s] = places
    end
    if not places[i] then
      places[i], n = true, n + 2
      stack[n - 1], stack[n] = s, i
    end
  end
  for start = from, to do
    push(first, start)
    while n > 0 do
      local s, i = stack[n - 1], stack[n]
      n = n - 2
      if s.accepts then
        if not last or i == last then
          return true
        end
      elseif s.split then
        for k = #s.split, 1, -1 do
          push(s.split[k], i)
        end
      elseif s.test then
        if chars[i] and s.test(chars[i]) then
          push(s.next, i + 1)
        end
      elseif s.holds then
        if s.holds(chars, i) then
          push(s.next, i)
        end
      else
        local found
        if s.behind then
          found = reaches(chars, s.look, 1, i, i)
        else
          found = reaches(chars, s.look, i, i)
        end
        if found ~= (s.negated or false) then
          push(s.next, i)
        end
      end
    end
  end
  return false
end

local function characters(text, as_points)
  local out = {}
  if as_points then
    for _, c in utf8.codes(text) do
      out[#out + 1] = c
    end
  else
    for i = 1, #text do
      out[i] = text:byte(i)
    end
  end
  return out
end

-- The function of text and `whole` for a regular expression; nil and why it is none.
local function expression(source)
  local as_points = utf8.len(source) ~= nil
  local p = { source = source, at = 1, flags = {}, states = 0, depth = 0, utf8 = as_points }
  local ok, got = pcall(function()
    local all = alternatives(p)
    if p.at <= #source then
      fail(p, "a ')' has no '('")
    end
    return all(state(p, { accepts = true }))
  end)
  if not ok then
    if type(got) ~= "table" or not got.why then
      error(got, 0)
    end
    return nil, got.why
  end
  return function(text, whole)
    local chars = characters(text, as_points and utf8.len(text) ~= nil)
    return reaches(chars, got, 1, whole and 1 or #chars + 1, whole and #chars + 1 or nil)
  end
end

local function lua_pattern(source)
  local ok, why = pcall(string.find, "", source)
  if not ok then
    return nil, (tostring(why):gsub("^.-: ", ""))
  end
  local anchored = "^" .. source:gsub("^%^", ""):gsub("%$$", "") .. "$"
  return function(text, whole)
    return text:find(whole and anchored or source) ~= nil
  end
end

--- A function of a text that tells whether the pattern fits a part of it, or with `true` behind,
--- all of it.
---
--- Regular expressions have what Python's have but for references to groups and possessive counts;
--- those with a `%` are Lua patterns.
--- @param owner string who asks, for the error
--- @param source string
--- @return function
function patterns.compile(owner, source)
  if type(source) ~= "string" then
    errors.raise(owner, "a pattern must be a string (got %s)", check.show(source))
  end
  local is_lua = source:find("%", 1, true)
  local found, why = (is_lua and lua_pattern or expression)(source)
  if not found then
    errors.raise(owner, "%s is no %s (%s)", check.show(source),
      is_lua and "Lua pattern" or "regular expression", why)
  end
  return found
end

return patterns
