--- What lookups know: the terms of a vocabulary in order, the numbers of all that stands before
--- them, and the counts from which a vocabulary is learnt. Terms are strings or whole numbers.
--
-- Inside, numbers are 1, 2, ...: those of unknown values first, then the terms; 0 is nothing, the
-- mask. Where a layer speaks otherwise (zero_based), it shifts what it gives.
local core = require "tide.core"
local errors = require "tide.errors"
local list = require "tide.list"
local strings = require "tide.strings"

local Vocabulary = {}
Vocabulary.__index = Vocabulary

--- @param o table owner (in messages), unknown: numbers for unknown values, mask and oov: the
---   values that stand for nothing and for the unknown, max: most terms and unknown ones together,
---   masks: 1 where numbers of the mask count among them, whole: terms are whole numbers
function Vocabulary.new(o)
  local out = setmetatable({ terms = {}, index = {}, counts = {}, documents = {}, total = 0 },
    Vocabulary)
  for k, v in pairs(o) do
    out[k] = v
  end
  return out
end

--- Whether it holds no term.
function Vocabulary:is_empty()
  return #self.terms == 0
end

--- Numbers in use: those of unknown values and of the terms.
function Vocabulary:size()
  return self.unknown + #self.terms
end

--- The value of a number, for the way back.
function Vocabulary:value(id)
  if id == 0 then
    return self.mask ~= nil and self.mask or self.oov
  end
  local v = self.terms[id - self.unknown]
  if v == nil then
    return self.oov
  end
  return v
end

--- The values by number, from 1.
--- @param special boolean whether unknown ones come first
function Vocabulary:list(special)
  local out = {}
  for i = 1, special and self.unknown or 0 do
    out[i] = self.oov
  end
  return table.move(self.terms, 1, #self.terms, #out + 1, out)
end

local function shown(v)
  return type(v) == "string" and ("'%s'"):format(v) or tostring(v)
end

-- A given term as it is kept.
local function term_of(self, v, i)
  local term = v
  if self.whole then
    term = math.tointeger(v)
  elseif type(v) ~= "string" then
    term = nil
  end
  if term == nil then
    errors.raise(self.owner, "the vocabulary holds %s (expected %s, got %s at position %d)",
      self.whole and "whole numbers" or "strings", self.whole and "a whole number" or "a string",
      shown(v), i)
  end
  return term
end

-- How many values at the beginning of a given list stand for what is special: Keras' lists begin
-- with the mask where there is one, then come the unknown ones.
local function special_count(self, given)
  for _, masks in ipairs(self.mask ~= nil and { 1, 0 } or { 0 }) do
    local fits = masks == 0 or given[1] == self.mask
    fits = fits and masks + self.unknown <= #given
    for i = masks + 1, fits and masks + self.unknown or 0 do
      fits = fits and given[i] == self.oov
    end
    if fits and masks + self.unknown > 0 then
      return masks + self.unknown, masks
    end
  end
  return 0, 0
end

--- Takes terms that were checked.
function Vocabulary:set(terms)
  local index = {}
  for i, term in ipairs(terms) do
    index[term] = self.unknown + i
  end
  self.terms, self.index = terms, index
end

--- The terms of a given list, which may have what is special first.
--- @param way_back boolean whether numbers become values, so that the unknown one must not be a
---   term
--- @return table terms, how many values at the beginning were special, and how many of them masks
function Vocabulary:checked(given, way_back)
  if #given == 0 then
    errors.raise(self.owner, "the vocabulary is empty (expected at least one term)")
  end
  local skip, masks = special_count(self, given)
  local terms, at = {}, {}
  for i = skip + 1, #given do
    local term = term_of(self, given[i], i)
    local special = self.mask ~= nil and term == self.mask and "mask_token"
      or way_back and term == self.oov and "oov_token"
    if special then
      errors.raise(self.owner, "the vocabulary holds the %s %s at position %d; leave what is \z
        special out, or have it all first", special, shown(term), i)
    elseif at[term] then
      errors.raise(self.owner, "the vocabulary holds %s twice (positions %d and %d)", shown(term),
        at[term], i)
    end
    at[term] = i
    terms[#terms + 1] = term
  end
  local most = self.max
  if most and self.unknown + #terms + self.masks > most then
    errors.raise(self.owner, "the vocabulary has %d values, what is special among them (expected \z
      at most max_tokens = %d)", self.unknown + #terms + self.masks, most)
  end
  return terms, skip, masks
end

--- Whether a file with a term in each line holds the terms: no term has lines, and the last is not
--- empty, since what ends a file is no term.
function Vocabulary:fits_lines()
  for i = 1, self.whole and 0 or #self.terms do
    local v = self.terms[i] -- Keras ends lines wherever Python does
    if v:find "[\n-\r\x1c-\x1e]" or v:find "\xc2\x85" or v:find "\xe2\x80[\xa8\xa9]" then
      return false
    end
  end
  return self.terms[#self.terms] ~= ""
end

--- The terms of a file that a person wrote: one in each line. A mark of UTF-8 in front of them is
--- none.
function Vocabulary:read(path)
  return self:parse(strings.without_mark(core.read_file(path)), path)
end

--- The terms of a file's text.
function Vocabulary:parse(text, what)
  local out = {}
  for line in (text .. "\n"):gmatch "([^\n]*)\n" do
    out[#out + 1] = (line:gsub("\r$", ""))
  end
  while out[#out] == "" do
    out[#out] = nil
  end
  for i = 1, self.whole and #out or 0 do
    out[i] = math.tointeger(tonumber(out[i])) or errors.raise(self.owner,
      "%s: line %d is no whole number (got '%.40s')", what, i, out[i])
  end
  return out
end

-- ---- learning ----

--- Forgets what was counted.
function Vocabulary:reset()
  self.counts, self.documents, self.total = {}, {}, 0
end

--- Counts the values of documents: a list of lists.
function Vocabulary:count(documents)
  local counts, seen_in = self.counts, self.documents
  for _, document in ipairs(documents) do
    local seen = {}
    for i = 1, #document do
      local v = document[i]
      counts[v] = (counts[v] or 0) + 1
      if not seen[v] then
        seen[v] = true
        seen_in[v] = (seen_in[v] or 0) + 1
      end
    end
  end
  self.total = self.total + #documents
end

--- Makes the vocabulary of what was counted: the most frequent terms first, equally frequent ones
--- from high to low, as Keras orders them; then forgets the counts.
--- @return table for each term in how many documents it was found, and the number of documents
function Vocabulary:learn()
  local counts, terms = self.counts, {}
  for v in pairs(counts) do
    if v ~= self.mask and v ~= self.oov then
      terms[#terms + 1] = v
    end
  end
  table.sort(terms, function(a, b)
    if counts[a] ~= counts[b] then
      return counts[a] > counts[b]
    elseif self.whole then
      return a > b
    end
    return core.text_before(b, a)
  end)
  local most = self.max and math.max(0, self.max - self.unknown - self.masks) or #terms
  for i = #terms, most + 1, -1 do
    terms[i] = nil
  end
  self:set(terms)
  local found, total = {}, self.total
  for i, v in ipairs(terms) do
    found[i] = self.documents[v]
  end
  self:reset()
  return list.new(found), total
end

return Vocabulary
