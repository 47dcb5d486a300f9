--- Texts as ids for TextGenerator: by any tokenizer, kept from pass to pass, and made ahead of the
--- step by worker threads where a tokenizer of tide.tokenizers makes them.
--
-- `self` is an iterator of texts (generator.lua).
local ahead = require "tide.ahead"
local check = require "tide.check"
local core = require "tide.core"
local errors = require "tide.errors"

local numbers = {}

local KEPT_TOKENS = 4 << 20 -- of texts that are kept as ids from pass to pass
local STRETCH = 64 -- texts that are handed to workers at a time where all are wanted

-- ---- tokenizers of any kind ----

--- The method of an object by its name, nil where it has none.
local function method(v, name)
  local ok, f = pcall(function()
    return v[name]
  end)
  return ok and type(f) == "function" and f or nil
end

numbers.method = method

--- A function of a list of texts that gives lists of ids, from what a person calls a tokenizer.
--- Beside it, for a tokenizer of tide.tokenizers: what begins and what takes them by workers.
function numbers.encoder(tokenizer, where)
  if type(tokenizer) == "function" then
    return function(texts)
      local out = {}
      for i, s in ipairs(texts) do
        out[i] = tokenizer(s)
        if type(out[i]) ~= "table" then
          errors.raise(where, "a tokenizer must give a list of ids (got %s)", check.show(out[i]))
        end
      end
      return out
    end
  end
  for _, name in ipairs { "ids", "texts_to_sequences" } do
    local f = method(tokenizer, name)
    if f then
      return function(texts)
        return f(tokenizer, texts)
      end, method(tokenizer, "_begin_ids") and tokenizer or nil
    end
  end
  if not method(tokenizer, "call") and not method(tokenizer, "adapt") then
    errors.raise(where, "tokenizer must be a tokenizer, a layer of text or a function (got %s)",
      check.show(tokenizer))
  end
  return function(texts) -- a layer gives rows that are filled with 0
    local out = tokenizer(texts):tolist()
    for _, row in ipairs(out) do
      while row[#row] == 0 do
        row[#row] = nil
      end
    end
    return out
  end
end

-- ---- sources of texts ----

--- Text i of a source, as it is in memory or in its file.
local function read(self, i)
  local s = self._texts and self._texts[i]
  if not s then
    s = core.read_file(self.filepaths[i], self._most)
    if s:sub(1, 3) == "\xef\xbb\xbf" then
      s = s:sub(4)
    end
  end
  return s
end

numbers.read = read

-- Keeps the ids of a text from pass to pass, while there is room.
local function keep(self, i, ids)
  if self._kept_tokens + #ids <= KEPT_TOKENS then
    self._kept[i], self._kept_tokens = ids, self._kept_tokens + #ids
    self._kept_n = self._kept_n + 1
  end
  return ids
end

-- The ids of a text that workers have in hand.
local function taken(self, i, entry)
  local job = entry.job
  self._begun[i] = nil
  if not job.ids then
    job.ids, job.handle = self._by_workers:_take_ids(job.handle), nil
  end
  return keep(self, i, job.ids[entry.at])
end

--- The ids of text i in this pass.
function numbers.ids_of(self, i)
  local kept, begun = self._kept[i], self._begun and self._begun[i]
  if kept then
    return kept
  elseif begun then
    return taken(self, i, begun)
  end
  local s, g = read(self, i), self.text_generator
  if g.augment and self._train then
    local draw = 0
    s = g.augment(s, function()
      draw = draw + 1
      return self:_chance(i, draw)
    end)
    if type(s) ~= "string" then
      errors.raise(self._where, "augment must give a string (got %s)", check.show(s))
    end
  end
  local ids = self._encode({ s })[1]
  return g.augment and self._train and ids or keep(self, i, ids)
end

-- ---- ahead of the step ----

--- Whether there is anything for workers to do: not where a function changes texts in each pass, or
--- where all are kept.
function numbers.begins(self)
  return self._by_workers and self._kept_n ~= self._texts_n
    and not (self.text_generator.augment and self._train)
end

--- Lets workers make the ids of these texts, of those that are not there yet.
function numbers.begin(self, texts)
  self._begun = self._begun or {}
  local read_now, which = {}, {}
  for _, i in ipairs(texts) do
    if not self._kept[i] and not self._begun[i] then
      local ok, s = pcall(read, self, i) -- what cannot be read is said when its turn comes
      if ok then
        read_now[#read_now + 1], which[#which + 1] = s, i
      end
    end
  end
  if #which > 0 then
    self._share = self._share or ahead.take()
    local job = { handle = self._by_workers:_begin_ids(self._share:workers(), read_now) }
    for at, i in ipairs(which) do
      self._begun[i] = { job = job, at = at }
    end
  end
end

--- Who takes the texts 1 to n in order says at each i that it is there: workers are two stretches
--- ahead.
function numbers.walk(self, i, n)
  if i % STRETCH ~= 1 or not numbers.begins(self) then
    return
  end
  for first = i, math.min(i + 2 * STRETCH, n), STRETCH do
    local texts = {}
    for k = first, math.min(first + STRETCH - 1, n) do
      texts[#texts + 1] = k
    end
    numbers.begin(self, texts)
  end
end

--- Drops what workers have in hand, and them.
function numbers.close(self)
  self._begun = nil
  if self._share then
    self._share:close()
    self._share = nil
  end
end

return numbers
